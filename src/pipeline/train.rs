//! The stage `train`: cached features become a head bundle, with zero encoder calls.
//!
//! It runs in the binary `bertline-train`, the only one that is linked to libtorch: the library takes the trainer as a
//! function, so that nothing else is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::stage::Outcome;
use super::{Error, Result, TrainOptions};
use crate::cache::{FeatureSet, Output, Resolved, State, UnitRecord, UnitStats, check_same_encoder, load_features};
use crate::head::{self, Bundle, BundleEncoder, EpochMetrics, Examples, Overrides, Recipe, Trainer, TrainingReport};
use crate::report::{EncoderReport, Input, Start, ThisRun};
use crate::telemetry::Terminal;

/// Runs the stage; `trainer` is the part of it that needs libtorch.
pub fn train(options: &TrainOptions, trainer: Trainer, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("train");
    let recipe = recipe(options)?;
    let resolved = resolve(options, &recipe)?;
    let inputs: Vec<PathBuf> = options.inputs.iter().chain(&options.validation).cloned().collect();
    let (mut output, state) = Output::open(&options.out.out, &resolved, options.out.overwrite, &inputs)?;
    if state == State::Complete {
        return super::stage::already_done("train", &options.out.out, terminal);
    }
    if state == State::Partial {
        // A head is made in one go: half of one is none.
        output.start_over(&resolved);
    }
    let set = load_features(&options.inputs)?;
    let labels: Vec<String> =
        set.rows.iter().filter_map(|row| row.label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if labels.is_empty() {
        let inputs = options.inputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("`, `");
        return Err(Error::NoLabels { inputs });
    }
    let (features, classes) = labelled(&set, &labels).map_err(|label| unknown(&options.inputs[0], label, &labels))?;
    let validation = match &options.validation {
        None => None,
        Some(dir) => {
            let held_out = load_features(std::slice::from_ref(dir))?;
            check_same_encoder((&options.inputs[0], &set.run), (dir, &held_out.run))?;
            Some(labelled(&held_out, &labels).map_err(|label| unknown(dir, label, &labels))?)
        }
    };
    let unlabelled = set.rows.len() - classes.len();
    say_data(terminal, &labels, &classes, unlabelled);
    let examples = examples(&features, &classes, set.width, labels.len());
    let validation =
        validation.as_ref().map(|(features, classes)| self::examples(features, classes, set.width, labels.len()));
    let trained = trainer(&examples, validation.as_ref(), &recipe, &mut |epoch| say_epoch(terminal, epoch))?;
    let bundle = Bundle {
        version: head::BUNDLE_VERSION,
        labels,
        encoder: encoder(&set)?,
        training: trained.report,
        head_digest: String::new(),
        created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    };
    // Only now: until there is a new head, an old one that is to be overwritten stays.
    output.begin()?;
    let bundle = bundle.save(&trained.head, &options.out.out)?;
    finish(&start, &mut output, &set, &bundle, options, unlabelled)
}

fn recipe(options: &TrainOptions) -> Result<Recipe> {
    let overrides = Overrides {
        epochs: options.epochs,
        learning_rate: options.learning_rate,
        batch_size: options.batch_size,
        hidden: options.hidden,
        dropout: options.dropout,
        val_fraction: Some(options.val_fraction),
        seed: Some(options.seed),
    };
    Ok(options.recipe.recipe().with(overrides)?)
}

fn resolve(options: &TrainOptions, recipe: &Recipe) -> Result<Resolved> {
    let mut resolved = Resolved::new();
    resolved.insert("command".to_owned(), json!("train"));
    resolved.insert("recipe".to_owned(), json!(recipe));
    let inputs: Vec<Value> =
        options.inputs.iter().chain(&options.validation).map(|dir| input_state(dir)).collect::<Result<_>>()?;
    resolved.insert(
        "input".to_owned(),
        json!({ "inputs": options.inputs, "validation": options.validation, "state": inputs }),
    );
    Ok(resolved)
}

/// A digest of the parts of an embed output: the vectors themselves need not be read to know them.
fn input_state(dir: &Path) -> Result<Value> {
    match crate::cache::Manifest::read(dir)? {
        Some(manifest) => Ok(json!(parts_digest(&manifest)[..16].to_owned())),
        None => Err(crate::cache::Error::NotOutput {
            dir: dir.to_owned(),
            wanted: "embed".to_owned(),
            missing: "manifest.jsonl".to_owned(),
        }
        .into()),
    }
}

fn parts_digest(manifest: &crate::cache::Manifest) -> String {
    let mut hasher = blake3::Hasher::new();
    manifest.every_part().for_each(|part| {
        hasher.update(part.path.as_bytes()).update(part.digest.as_bytes());
    });
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The labelled rows: their vectors, row-major, and class indices. The error is a label that is not among `labels`.
fn labelled(set: &FeatureSet, labels: &[String]) -> std::result::Result<(Vec<f32>, Vec<u32>), String> {
    let mut features = Vec::with_capacity(set.rows.len() * set.width);
    let mut classes = Vec::with_capacity(set.rows.len());
    for row in &set.rows {
        let Some(label) = &row.label else { continue };
        let class = labels.binary_search(label).map_err(|_| label.clone())?;
        classes.push(class as u32);
        let start = row.vector as usize * set.width;
        features.extend_from_slice(&set.vectors[start..start + set.width]);
    }
    Ok((features, classes))
}

fn unknown(dir: &Path, label: String, labels: &[String]) -> Error {
    Error::UnknownLabel { dir: dir.to_owned(), label, known: format!("`{}`", labels.join("`, `")) }
}

fn examples<'a>(features: &'a [f32], labels: &'a [u32], width: usize, classes: usize) -> Examples<'a> {
    Examples { features, width, labels, classes }
}

fn encoder(set: &FeatureSet) -> Result<BundleEncoder> {
    let field = |key: &str| set.run.get(key).cloned().unwrap_or(Value::Null);
    let damaged = |source| crate::cache::Error::Damaged { path: "manifest.jsonl".into(), line: 1, source };
    Ok(BundleEncoder {
        model: serde_json::from_value(field("model")).map_err(damaged)?,
        identity: serde_json::from_value(field("encoder")).map_err(damaged)?,
        numerics: serde_json::from_value(field("numerics_parts")).map_err(damaged)?,
        calibration: serde_json::from_value(field("calibration")).map_err(damaged)?,
    })
}

fn say_data(terminal: Terminal, labels: &[String], classes: &[u32], unlabelled: usize) {
    let mut counts = vec![0usize; labels.len()];
    classes.iter().for_each(|class| counts[*class as usize] += 1);
    let parts: Vec<String> = labels.iter().zip(&counts).map(|(label, count)| format!("`{label}` {count}")).collect();
    let rest = if unlabelled > 0 { format!("; {unlabelled} rows without a label are left out") } else { String::new() };
    terminal.say(&format!("data: {} labelled rows, {}{rest}", classes.len(), parts.join(", ")));
}

fn say_epoch(terminal: Terminal, epoch: &EpochMetrics) {
    terminal.say(&format!(
        "epoch {:>3}: train loss {:.4}, validation loss {:.4}, validation accuracy {:.4}",
        epoch.epoch, epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy
    ));
}

fn finish(
    start: &Start,
    output: &mut Output,
    set: &FeatureSet,
    bundle: &Bundle,
    options: &TrainOptions,
    unlabelled: usize,
) -> Result<Outcome> {
    let rows = set.rows.len() as u64;
    let stats = UnitStats { rows_out: rows, seconds: start.seconds(), ..UnitStats::default() };
    let source = options.inputs[0].display().to_string();
    output.commit(UnitRecord {
        unit: bundle.head_digest[..32].to_owned(),
        source,
        rows_in: rows,
        parts: Vec::new(),
        stats,
    })?;
    let encoder = EncoderReport {
        model: Some(bundle.encoder.model.clone()),
        encoder_id: Some(bundle.encoder.identity.id()),
        numerics: Some(bundle.encoder.numerics.to_string()),
        max_length: Some(bundle.encoder.identity.max_length),
        ..EncoderReport::default()
    };
    let inputs = options.inputs.iter().chain(&options.validation).map(|dir| input(dir)).collect::<Result<Vec<_>>>()?;
    let this_run = ThisRun { units: 1, rows, ..ThisRun::default() };
    let mut report = start.report(output.manifest(), this_run, encoder, inputs);
    report.extra = metrics(&bundle.training, unlabelled, &bundle.labels, &bundle.head_digest);
    output.complete(&json!(report))?;
    Ok(Outcome::Done(Box::new(report)))
}

fn input(dir: &Path) -> Result<Input> {
    let manifest = crate::cache::Manifest::read(dir)?.unwrap_or_default();
    let parts: Vec<_> = manifest.every_part().collect();
    Ok(Input {
        path: dir.display().to_string(),
        files: parts.len() as u64,
        bytes: parts.iter().map(|part| part.bytes).sum(),
        digest: parts_digest(&manifest),
    })
}

fn metrics(training: &TrainingReport, unlabelled: usize, labels: &[String], digest: &str) -> Map<String, Value> {
    let mut extra = Map::new();
    extra.insert("labels".to_owned(), json!(labels));
    extra.insert("rows_without_label".to_owned(), json!(unlabelled));
    extra.insert("head_digest".to_owned(), json!(digest));
    extra.insert("metrics".to_owned(), json!(training));
    extra
}
