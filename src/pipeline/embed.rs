//! The stage `embed`: reviews become embeddings, one line a distinct text, and rows that point at them.

use std::sync::Arc;

use serde_json::{Map, json};

use super::cached::Cached;
use super::inputs::{Inputs, Labels};
use super::stage::{CalibrateFrom, Job, Loaded, Outcome, Planned, Target};
use super::{EmbedOptions, Result};
use crate::cache::Resolved;
use crate::engine::Mode;
use crate::report::Start;
use crate::telemetry::Terminal;

/// Runs the stage.
pub fn embed(options: &EmbedOptions, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("embed");
    let inputs = Arc::new(Inputs::find(&options.read, "none", Labels::Found, options.units.unit_bytes)?);
    let target = Target::find(&options.model, options.window(), options.read.clean, options.readout(), terminal)?;
    let mode = mode(options, &target)?;
    let planned = Planned::of(target, &options.device, CalibrateFrom::Inputs(&inputs), terminal)?;
    let resolved = resolve(options, &inputs, &planned);
    let job = Job { start, command: "embed", terminal, inputs, out: &options.out, units: &options.units, resolved };
    let cached = Cached { store: options.cached.cache.clone(), features: Vec::new() };
    job.run(Some(Loaded { planned, mode, head: None, cached }), |_| Map::new(), |_, _| Ok(()))
}

/// What the operator makes.
pub(super) fn mode(options: &EmbedOptions, target: &Target) -> Result<Mode> {
    Ok(Mode::Embed { width: target.width()?, require_label: options.require_label })
}

/// What determines the output.
pub(super) fn resolve(options: &EmbedOptions, inputs: &Inputs, planned: &Planned) -> Resolved {
    let mut resolved = Job::resolve("embed", inputs);
    planned.resolve_into(&mut resolved);
    if options.require_label {
        resolved.insert("require_label".to_owned(), json!(true));
    }
    resolved
}
