//! An encoder that a stage is going to open: how it computes is settled, so that its run can be compared and its output
//! claimed before anything large is loaded.

use std::sync::Arc;

use super::calibration::{CalibrateFrom, calibration};
use super::target::Target;
use crate::encode::{Calibration, Chosen, Encoder, Numerics, Precision};
use crate::engine::Opened;
use crate::pipeline::{DeviceOptions, Result};
use crate::report::{EncoderReport, EncoderRun};
use crate::telemetry::Terminal;
use crate::tokenize::Pool;

/// An encoder that a stage is going to open.
pub(crate) struct Planned {
    pub(crate) target: Target,
    pub(crate) numerics: Numerics,
    pub(crate) chosen: Chosen,
    calibration: Option<Arc<Calibration>>,
}

impl Planned {
    /// Settles what runs; an int8 encoder that has no calibration yet is calibrated.
    pub(crate) fn of(
        target: Target,
        device: &DeviceOptions,
        from: CalibrateFrom<'_>,
        terminal: Terminal,
    ) -> Result<Planned> {
        let chosen = target.choose(device.wanted())?;
        let calibration = match chosen.precision {
            Precision::Int8 => Some(Arc::new(calibration(&target, &chosen, from, terminal)?)),
            _ => None,
        };
        let numerics = chosen.numerics(calibration.as_deref().map(Calibration::digest));
        Ok(Planned { target, numerics, chosen, calibration })
    }

    /// What a run report says of it.
    pub(crate) fn report(&self) -> EncoderReport {
        EncoderReport::of(&self.target.model.name, &self.target.identity, &self.numerics, &self.chosen)
    }

    /// Loads it.
    pub(crate) fn open(&self, terminal: Terminal) -> Result<Opened> {
        let encoder = self.target.open(&self.chosen, self.calibration.clone())?;
        terminal.say(&format!(
            "encoder: {} on {}, {} ({}); {} ({})",
            self.target.model.name,
            encoder.device(),
            encoder.numerics(),
            self.chosen.reason,
            self.chosen.plan,
            self.chosen.plan_source,
        ));
        warn_of_cpu(&encoder, terminal);
        let pool = Pool::new(self.chosen.plan.sessions * self.chosen.plan.threads)?;
        Ok(Opened { encoder, pool })
    }

    /// What of the encoder determines the output.
    pub(crate) fn run(&self) -> EncoderRun {
        EncoderRun {
            model: self.target.model.name.clone(),
            encoder: self.target.identity.clone(),
            encoder_id: self.target.identity.id(),
            numerics: self.numerics.to_string(),
            numerics_parts: self.numerics.clone(),
            calibration: self.calibration.as_deref().cloned(),
        }
    }
}

/// Says what a GPU leaves to the CPU.
pub(crate) fn warn_of_cpu(encoder: &Encoder, terminal: Terminal) {
    if let Some(nodes) = encoder.on_cpu() {
        terminal.warn(&format!("{nodes} of the ready-made graph run on the CPU, which may slow the GPU down"));
    }
}
