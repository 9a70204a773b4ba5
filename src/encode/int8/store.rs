//! Keeps calibrations in the model cache, one for each graph and way of computing, so that every later run quantises alike.

use std::path::{Path, PathBuf};

use super::Calibration;
use crate::encode::{Chosen, Error, Result};
use crate::files::write_shared;

/// The calibration kept for an encoder, if there is one.
///
/// # Errors
/// Where the file is there and cannot be read.
pub(in crate::encode) fn load(folder: &Path, graph: &str, chosen: &Chosen) -> Result<Option<Calibration>> {
    let path = path(folder, graph, chosen);
    let text = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(Error::read(&path))?,
    };
    let found: Calibration =
        serde_json::from_slice(&text).map_err(|source| Error::Calibration { path: path.clone(), source })?;
    Ok(Some(found).filter(|found| found.fits(graph)))
}

/// Keeps a calibration for its encoder.
///
/// # Errors
/// Where the folder cannot be written.
pub(in crate::encode) fn save(folder: &Path, calibration: &Calibration, chosen: &Chosen) -> Result<()> {
    let path = path(folder, &calibration.encoder, chosen);
    let json = serde_json::to_vec_pretty(calibration).expect("numbers and strings serialise; this is a bug");
    write_shared(&path, &json).map_err(|source| Error::Write { path, source })
}

/// What a product costs was measured on one provider, beside floats of one format.
fn path(folder: &Path, graph: &str, chosen: &Chosen) -> PathBuf {
    folder.join(format!("int8-{graph}-{}-{}.json", chosen.provider, chosen.floats()))
}
