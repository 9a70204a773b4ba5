//! The stage `ingest`: whatever is in a folder becomes the datasets `reviews` and `rejects`.

use std::sync::Arc;

use serde_json::Map;

use crate::pipeline::inputs::{Inputs, Labels};
use crate::pipeline::stages::units::{Job, Outcome};
use crate::pipeline::{IngestOptions, Result};
use crate::report::Start;
use crate::telemetry::Terminal;

/// Runs the stage.
pub fn ingest(options: &IngestOptions, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("ingest");
    let inputs = Arc::new(Inputs::find(&options.read, &options.keep_columns, Labels::Found, options.units.unit_bytes)?);
    let resolved = Job::resolve("ingest", &inputs);
    let job = Job { start, command: "ingest", terminal, inputs, out: &options.out, units: &options.units, resolved };
    job.run(None, |_| Map::new(), |_, _| Ok(()))
}
