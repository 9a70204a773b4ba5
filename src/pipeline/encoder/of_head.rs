//! The encoder that a head was trained on, wherever it is used: to score, to predict, to judge, to export.

use std::path::Path;

use super::calibration::CalibrateFrom;
use super::planned::Planned;
use super::target::Target;
use crate::encode::{PrecisionChoice, ProviderChoice};
use crate::head::Bundle;
use crate::pipeline::{DeviceOptions, Error, Result};
use crate::telemetry::Terminal;

/// The encoder that a bundle's head was trained on, computing as in its training unless something else is asked for.
pub(crate) fn encoder_of(
    bundle: &Bundle,
    dir: &Path,
    model: Option<&str>,
    device: &DeviceOptions,
    calibrate: CalibrateFrom<'_>,
    terminal: Terminal,
) -> Result<Planned> {
    let trained = &bundle.encoder;
    let asked = device.precision;
    // What was trained on a GPU may be scored on a CPU, and the other way round, each as is best there.
    let elsewhere = device.device.gpus().is_some() != trained.numerics.is_of_gpu();
    let as_trained = if elsewhere { PrecisionChoice::Auto } else { trained.numerics.precision.into() };
    let precision = asked.unwrap_or(as_trained);
    let provider = match device.provider {
        given if elsewhere => given,
        // Another precision may be one that the provider of the training does not have.
        ProviderChoice::Auto if precision == trained.numerics.precision.into() => trained.numerics.provider_choice(),
        given => given,
    };
    let device = DeviceOptions { precision: Some(precision), provider, ..device.clone() };
    let target = target_of(bundle, dir, model, terminal)?;
    let calibrate = trained.calibration.as_ref().map_or(calibrate, CalibrateFrom::Head);
    let mut planned = Planned::of(target, &device, calibrate, terminal)?;
    if asked.is_none() && !elsewhere {
        planned.chosen.reason = "as the head was trained".to_owned();
    }
    if planned.numerics != trained.numerics {
        terminal.warn(&format!(
            "the head was trained on {} vectors, this run makes {} ones: probabilities may differ a little",
            trained.numerics, planned.numerics
        ));
    }
    Ok(planned)
}

/// The encoder that a bundle's head was trained on, by its name or as `model`.
pub(crate) fn target_of(bundle: &Bundle, dir: &Path, model: Option<&str>, terminal: Terminal) -> Result<Target> {
    let trained = &bundle.encoder;
    let (window, readout) = (trained.identity.window(), trained.identity.readout());
    let name = model.unwrap_or(&trained.model);
    let target = Target::find(name, window, trained.identity.clean, readout, terminal)?;
    let differences = target.identity.differences(&trained.identity);
    match differences.is_empty() {
        true => Ok(target),
        false => Err(Error::OtherEncoder { head: dir.to_owned(), differences: differences.join("; ") }),
    }
}
