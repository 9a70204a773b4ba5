//! The calibration that an int8 encoder needs: the head's own, the one that is kept for the model, or made here.

use std::sync::Arc;

use super::target::Target;
use crate::encode::{self, Calibration, Chosen};
use crate::pipeline::inputs::Inputs;
use crate::pipeline::{Error, Result};
use crate::telemetry::Terminal;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be run: what an encoder needs is got and made.
    Run,
    /// To be looked at: an encoder that is not calibrated yet cannot be.
    Explain,
}

/// Where an int8 calibration comes from.
#[derive(Clone, Copy)]
pub(crate) enum CalibrateFrom<'a> {
    /// The one that is kept, else these inputs' first texts.
    Inputs(&'a Arc<Inputs>),
    /// The one that a head was trained with.
    Head(&'a Calibration),
    /// The one that is kept, or none.
    Kept,
}

impl<'a> CalibrateFrom<'a> {
    /// As a stage that reads `inputs` takes it.
    pub(crate) fn inputs(inputs: &'a Arc<Inputs>, purpose: Purpose) -> CalibrateFrom<'a> {
        match purpose {
            Purpose::Run => CalibrateFrom::Inputs(inputs),
            Purpose::Explain => CalibrateFrom::Kept,
        }
    }
}

/// The calibration of an int8 encoder, made where there is none.
pub(super) fn calibration(
    target: &Target,
    chosen: &Chosen,
    from: CalibrateFrom<'_>,
    terminal: Terminal,
) -> Result<Calibration> {
    if !target.is_built() {
        return Err(encode::Error::ReadyMadeInt8 { model_dir: target.model.dir.clone() }.into());
    }
    let kept = || -> Result<Option<Calibration>> { target.kept_calibration(chosen) };
    let inputs = match from {
        CalibrateFrom::Head(calibration) => return Ok(calibration.clone()),
        CalibrateFrom::Kept => return kept()?.ok_or(Error::Encode(encode::Error::NotCalibrated)),
        CalibrateFrom::Inputs(inputs) => match kept()? {
            Some(calibration) => return Ok(calibration),
            None => inputs,
        },
    };
    let texts = inputs.sample(encode::SAMPLE_TEXTS)?;
    terminal.say(&format!("int8: calibrating on {} texts of the input, once for this model ...", texts.len()));
    let mut progress = |share: f64| terminal.status(&format!("int8: {:.0} %", share * 100.0));
    let made = encode::calibrate(&target.options(chosen), &texts, &mut progress)?;
    terminal.say(&format!(
        "int8: {} products in 8 bits; on texts kept apart, cosine to fp32 {:.4} at worst, {:.5} on average",
        made.products(),
        made.worst_cosine,
        made.mean_cosine
    ));
    Ok(made)
}
