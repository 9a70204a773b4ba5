//! The stage `score`: every input row gets the head's answer, without an embedding ever being written.

use std::sync::Arc;

use super::units::{Encoding, Kind, ScoredBy};
use super::{Purpose, UnitsPlan};
use crate::engine::{self, Mode};
use crate::head::Bundle;
use crate::ingest::Clean;
use crate::pipeline::encoder::{Cached, CalibrateFrom, encoder_of};
use crate::pipeline::inputs::{Inputs, Labels};
use crate::pipeline::{Error, ReadOptions, Result, ScoreOptions};
use crate::report::{HeadReport, Run, ScoreRun, Start};
use crate::telemetry::Terminal;

/// Plans the stage.
pub(super) fn plan(options: &ScoreOptions, purpose: Purpose, terminal: Terminal) -> Result<UnitsPlan> {
    plan_with(options, Labels::OnDemand, purpose, terminal)
}

/// Plans it for reviews whose labels are wanted too, wherever they stand.
pub(super) fn plan_labelled(options: &ScoreOptions, purpose: Purpose, terminal: Terminal) -> Result<UnitsPlan> {
    plan_with(options, Labels::Found, purpose, terminal)
}

fn plan_with(options: &ScoreOptions, labels: Labels, purpose: Purpose, terminal: Terminal) -> Result<UnitsPlan> {
    let start = Start::now();
    let (bundle, head) = Bundle::load(&options.head)?;
    let read = read_options(options, &bundle)?;
    let inputs = Arc::new(Inputs::find(&read, &options.keep_columns, labels, options.units.unit_bytes)?);
    let calibrate = CalibrateFrom::inputs(&inputs, purpose);
    let model = options.model.as_deref();
    let planned = encoder_of(&bundle, &options.head, model, &options.device, calibrate, terminal)?;
    let true_label = labels == Labels::Found || options.read.label_column.is_some();
    let mode = mode(&bundle, head.width(), true_label);
    let run = ScoreRun {
        input: inputs.run(),
        encoder: planned.run(),
        head_digest: bundle.head_digest.clone(),
        // Where a head has none, nothing is said of it: what heads of the first format scored stays theirs.
        temperature: (bundle.temperature != 1.0).then_some(bundle.temperature),
        threshold: bundle.threshold,
    };
    let kind = Kind::Score(ScoredBy {
        head: HeadReport { path: options.head.clone(), digest: bundle.head_digest.clone() },
        threshold: bundle.threshold,
        true_label,
        max_length: bundle.encoder.identity.max_length,
    });
    let least_confidence = bundle.least_confidence();
    let head = engine::Head { head, labels: bundle.labels, least_confidence };
    let cached = Cached { store: options.cached.cache.clone(), features: options.features.clone() };
    Ok(UnitsPlan {
        start,
        kind,
        inputs,
        out: options.out.clone(),
        units: options.units.clone(),
        run: Run::Score(Box::new(run)),
        encoding: Some(Encoding { planned, mode, head: Some(head), cached }),
    })
}

/// What the operator makes of the head's answers.
fn mode(bundle: &Bundle, width: usize, true_label: bool) -> Mode {
    let optional = [("abstained", bundle.threshold.is_some()), ("true_label", true_label)];
    let optional = optional.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
    Mode::Score { width, classes: bundle.labels.len(), optional }
}

/// How the input is read: cleaned as the texts were that the head was trained on.
fn read_options(options: &ScoreOptions, bundle: &Bundle) -> Result<ReadOptions> {
    let mut read = options.read.clone();
    let trained = bundle.encoder.identity.clean;
    if read.clean != Clean::None && read.clean != trained {
        return Err(Error::OtherCleaning { asked: read.clean, trained });
    }
    read.clean = trained;
    Ok(read)
}
