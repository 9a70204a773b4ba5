//! The stage `score`: every input row gets the head's answer, without an embedding ever being written.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::cached::Cached;
use super::inputs::{Inputs, Labels};
use super::page;
use super::stage::{CalibrateFrom, Job, Loaded, Outcome, Planned, Target};
use super::{DeviceOptions, Error, ReadOptions, Result, ScoreOptions};
use crate::cache::{self, Resolved, UnitStats};
use crate::encode::{EncoderIdentity, Numerics, PrecisionChoice, ProviderChoice};
use crate::engine::{self, Mode};
use crate::head::Bundle;
use crate::ingest::Clean;
use crate::report::Start;
use crate::telemetry::Terminal;

/// Runs the stage.
pub fn score(options: &ScoreOptions, terminal: Terminal) -> Result<Outcome> {
    score_with(options, Labels::OnDemand, terminal)
}

/// Runs the stage on reviews whose labels are wanted too, wherever they stand.
pub(super) fn score_labelled(options: &ScoreOptions, terminal: Terminal) -> Result<Outcome> {
    score_with(options, Labels::Found, terminal)
}

fn score_with(options: &ScoreOptions, labels: Labels, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("score");
    let (bundle, head) = Bundle::load(&options.head)?;
    let read = read_options(options, &bundle)?;
    let inputs = Arc::new(Inputs::find(&read, &options.keep_columns, labels, options.units.unit_bytes)?);
    let planned = encoder_of(
        &bundle,
        &options.head,
        options.model.as_deref(),
        &options.device,
        CalibrateFrom::Inputs(&inputs),
        terminal,
    )?;
    let true_label = labels == Labels::Found || options.read.label_column.is_some();
    let mode = mode(&bundle, head.width(), true_label);
    let resolved = resolve(&bundle, &inputs, &planned);
    let job = Job { start, command: "score", terminal, inputs, out: &options.out, units: &options.units, resolved };
    let head_report = json!({ "path": options.head, "digest": bundle.head_digest });
    let least_confidence = bundle.least_confidence();
    let behind = engine::Head { head, labels: bundle.labels, least_confidence };
    let cached = Cached { store: options.cached.cache.clone(), features: options.features.clone() };
    let (dir, max_length) = (options.out.out.clone(), bundle.encoder.identity.max_length);
    let extra = |stats: &UnitStats| {
        let mut extra = Map::new();
        extra.insert("head".to_owned(), head_report);
        if let Some(threshold) = bundle.threshold {
            extra.insert("abstained".to_owned(), json!({ "rows": stats.rows_abstained, "threshold": threshold }));
        }
        if true_label {
            extra.insert("metrics".to_owned(), metrics(stats));
        }
        extra
    };
    job.run(Some(Loaded { planned, mode, head: Some(behind), cached }), extra, |run, manifest| {
        let distributions = page::of_predictions(&dir, manifest, max_length)?;
        page::write(&dir, run, manifest, None, None, Some(&distributions))
    })
}

/// What the operator makes of the head's answers.
pub(super) fn mode(bundle: &Bundle, width: usize, true_label: bool) -> Mode {
    let optional = [("abstained", bundle.threshold.is_some()), ("true_label", true_label)];
    let optional = optional.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
    Mode::Score { width, classes: bundle.labels.len(), optional }
}

/// Everything that the run's answers depend on. Where a head has no temperature or threshold, nothing is said of them: what
/// heads of the first format scored stays theirs.
pub(super) fn resolve(bundle: &Bundle, inputs: &Inputs, planned: &Planned) -> Resolved {
    let mut resolved = Job::resolve("score", inputs);
    planned.resolve_into(&mut resolved);
    resolved.insert("head_digest".to_owned(), json!(bundle.head_digest));
    if bundle.temperature != 1.0 {
        resolved.insert("temperature".to_owned(), json!(bundle.temperature));
    }
    if let Some(threshold) = bundle.threshold {
        resolved.insert("threshold".to_owned(), json!(threshold));
    }
    resolved
}

/// Refuses features (the run that made `dir`) that the head was not trained on the like of.
pub(super) fn check_features(bundle: &Bundle, head: &Path, dir: &Path, run: &Resolved) -> Result<()> {
    let field = |key: &str| run.get(key).cloned().unwrap_or(Value::Null);
    let damaged = |source| cache::Error::Damaged { path: cache::Manifest::path(dir), line: 1, source };
    let identity: EncoderIdentity = serde_json::from_value(field("encoder")).map_err(damaged)?;
    let numerics: Numerics = serde_json::from_value(field("numerics_parts")).map_err(damaged)?;
    let mut differences = identity.differences(&bundle.encoder.identity);
    differences.extend(numerics.differences(&bundle.encoder.numerics));
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Error::OtherEncoder { head: head.to_owned(), differences: differences.join("; ") }),
    }
}

/// How the input is read: cleaned as the texts were that the head was trained on.
pub(super) fn read_options(options: &ScoreOptions, bundle: &Bundle) -> Result<ReadOptions> {
    let mut read = options.read.clone();
    let trained = bundle.encoder.identity.clean;
    if read.clean != Clean::None && read.clean != trained {
        return Err(Error::OtherCleaning { asked: read.clean, trained });
    }
    read.clean = trained;
    Ok(read)
}

/// The encoder that a bundle's head was trained on, computing as in its training unless something else is asked for.
pub(super) fn encoder_of(
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
pub(super) fn target_of(bundle: &Bundle, dir: &Path, model: Option<&str>, terminal: Terminal) -> Result<Target> {
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

fn metrics(stats: &UnitStats) -> Value {
    let share = |sum: f64| (stats.labelled > 0).then(|| sum / stats.labelled as f64);
    json!({
        "rows": stats.labelled,
        "accuracy": share(stats.correct as f64),
        "log_loss": share(stats.log_loss_sum),
        "rows_with_unknown_label": stats.unknown_labels,
    })
}
