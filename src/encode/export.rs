//! An encoder as an ONNX model for other programs.

use std::path::Path;

use super::graph::{self, Lowering};
use super::identity::graph_digest;
use super::model::{Description, Model, WeightsFile};
use super::{Calibration, EncoderIdentity, Error, Result};
use crate::onnx::ModelProto;

/// The encoder of this identity in standard operators: `input_ids` and `attention_mask` (int64, [rows, width], padded at
/// the end of a row) in, vectors (float, [rows, width of a vector]) out. A calibration quantises it.
///
/// # Errors
/// A usage error where the graph is a ready-made one; else where the weights cannot be read, or the calibration is
/// another model's.
pub(crate) fn exported(
    model_dir: &Path,
    identity: &EncoderIdentity,
    calibration: Option<&Calibration>,
) -> Result<ModelProto> {
    let Model::Built(architecture) = Model::load(model_dir)? else {
        return Err(Error::ReadyMadeExport { model_dir: model_dir.to_owned() });
    };
    if calibration.is_some_and(|calibration| !calibration.fits(&graph_digest(identity))) {
        return Err(Error::OtherCalibration { model_dir: model_dir.to_owned() });
    }
    let file = WeightsFile::read(model_dir)?;
    let description = Description::read(&architecture, &file.tensors(architecture.prefix())?)?;
    drop(file);
    let sites = calibration.map_or(&[][..], Calibration::sites);
    let model = graph::lower(&description, identity.readout(), Lowering::Standard, sites);
    Ok(graph::taking_a_mask(model))
}
