//! The stage `ingest`: whatever is in a folder becomes the datasets `reviews` and `rejects`.

use std::sync::Arc;

use super::UnitsPlan;
use super::units::Kind;
use crate::pipeline::inputs::{Inputs, Labels};
use crate::pipeline::{IngestOptions, Result};
use crate::report::{Run, Start};

/// Plans the stage.
pub(super) fn plan(options: &IngestOptions) -> Result<UnitsPlan> {
    let start = Start::now();
    let inputs = Arc::new(Inputs::find(&options.read, &options.keep_columns, Labels::Found, options.units.unit_bytes)?);
    let run = Run::Ingest(inputs.run());
    let (out, units) = (options.out.clone(), options.units.clone());
    Ok(UnitsPlan { start, kind: Kind::Ingest, inputs, out, units, run, encoding: None })
}
