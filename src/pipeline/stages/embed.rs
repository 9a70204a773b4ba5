//! The stage `embed`: reviews become embeddings, one line a distinct text, and rows that point at them.

use std::sync::Arc;

use super::units::{Encoding, Kind};
use super::{Purpose, UnitsPlan};
use crate::engine::Mode;
use crate::pipeline::encoder::{Cached, CalibrateFrom, Planned, Target};
use crate::pipeline::inputs::{Inputs, Labels};
use crate::pipeline::{EmbedOptions, Result};
use crate::report::{EmbedRun, Run, Start};
use crate::telemetry::Terminal;

/// Plans the stage.
pub(super) fn plan(options: &EmbedOptions, purpose: Purpose, terminal: Terminal) -> Result<UnitsPlan> {
    let start = Start::now();
    let inputs = Arc::new(Inputs::find(&options.read, "none", Labels::Found, options.units.unit_bytes)?);
    let target = Target::find(&options.model, options.window(), options.read.clean, options.readout(), terminal)?;
    let mode = Mode::Embed { width: target.width()?, require_label: options.require_label };
    let planned = Planned::of(target, &options.device, CalibrateFrom::inputs(&inputs, purpose), terminal)?;
    let run = EmbedRun { input: inputs.run(), encoder: planned.run(), require_label: options.require_label };
    let cached = Cached { store: options.cached.cache.clone(), features: Vec::new() };
    Ok(UnitsPlan {
        start,
        kind: Kind::Embed,
        inputs,
        out: options.out.clone(),
        units: options.units.clone(),
        run: Run::Embed(Box::new(run)),
        encoding: Some(Encoding { planned, mode, head: None, cached }),
    })
}
