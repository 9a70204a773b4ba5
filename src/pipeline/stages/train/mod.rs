//! The stage `train`: cached features become a head bundle, with zero encoder calls.
//!
//! It runs in the binary `bertline-train`, the only one that is linked to libtorch: the library takes the trainer as a
//! function, so that nothing else is.

mod cross_validate;
mod epochs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cache::{FeatureSet, Output, Resolved, State, UnitRecord, UnitStats, check_same_encoder, load_features};
use crate::evaluate::Evaluation;
use crate::head::{
    self, Bundle, BundleEncoder, OnDevice, Overrides, Recipe, RecipeName, Trained, TrainingData, TrainingReport,
};
use crate::pipeline::rows::judged::JudgedRows;
use crate::pipeline::rows::labelled::{Hygiene, LabelledRows};
use crate::pipeline::rows::lookup::add_texts;
use crate::pipeline::stages::page;
use crate::pipeline::stages::train::cross_validate::{cross_validate, sweep};
use crate::pipeline::stages::train::epochs::Epochs;
use crate::pipeline::stages::units::Outcome;
use crate::pipeline::{Error, Result, TrainOptions};
use crate::report::html::Distributions;
use crate::report::{EncoderReport, Input, Start, ThisRun};
use crate::telemetry::Terminal;

/// How often vectors are in memory while a head is trained on them: as they were read, and as tensors of both sides.
const COPIES: u64 = 3;

/// Runs the stage; `on_device` gives the part of it that needs libtorch.
pub fn train(options: &TrainOptions, on_device: OnDevice, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("train");
    let recipe = recipe(options)?;
    let resolved = resolve(options, &recipe)?;
    let inputs: Vec<PathBuf> = options.inputs.iter().chain(&options.validation).cloned().collect();
    let (mut output, state) = Output::open(&options.out.out, &resolved, options.out.overwrite, &inputs)?;
    if state == State::Complete {
        return crate::pipeline::stages::units::already_done("train", &options.out.out, terminal);
    }
    let trainers = on_device(options.gpu()?)?;
    if state == State::Partial {
        // A head is made in one go: half of one is none.
        output.start_over(&resolved);
    }
    let set = load_features(&options.inputs, options.memory / COPIES)?;
    let labels: Vec<String> =
        set.rows.iter().filter_map(|row| row.label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if labels.is_empty() {
        let inputs = options.inputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("`, `");
        return Err(Error::NoLabels { inputs });
    }
    let window = window(options, &set);
    let rows = LabelledRows::of(&set, &labels, window).map_err(|label| unknown(&options.inputs[0], label, &labels))?;
    let held_out = options.validation.as_deref().map(|dir| held_out(options, &set, dir)).transpose()?;
    let validation = match (&options.validation, &held_out) {
        (Some(dir), Some(set)) => {
            Some(LabelledRows::of(set, &labels, window).map_err(|label| unknown(dir, label, &labels))?)
        }
        _ => None,
    };
    let unlabelled = set.rows.len() - rows.len();
    say_data(terminal, &labels, rows.classes(), unlabelled);
    if !set.vectors.in_memory() {
        terminal.say(&format!(
            "data: more than --memory holds: every epoch reads them from disk, {window} vectors at a time, in another order"
        ));
    }
    let hygiene = rows.hygiene(validation.as_ref());
    say_hygiene(terminal, hygiene);
    let examples = rows.examples();
    let (recipe, swept) = match options.sweep {
        true => sweep(&examples, &recipe, options, trainers.sweep, terminal)?,
        false => (recipe, None),
    };
    let crossed = cross_validate(&examples, &recipe, (options.folds, options.repeats), trainers.train, terminal)?;
    let validation_examples = validation.as_ref().map(LabelledRows::examples);
    let mut epochs = Epochs::new(terminal);
    let mut trained =
        (trainers.train)(&examples, validation_examples.as_ref(), &recipe, &mut |progress| epochs.hear(progress))?;
    drop(epochs);
    let judged_by = validation.as_ref().unwrap_or(&rows);
    let (temperature, evaluation, lengths) = judge(&mut trained, judged_by, &labels, options)?;
    let bundle = Bundle {
        version: head::BUNDLE_VERSION,
        labels,
        encoder: encoder(&set)?,
        training: trained.report,
        temperature,
        threshold: evaluation.threshold,
        data: training_data(options)?,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        head_digest: String::new(),
        created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    };
    // Only now: until there is a new head, an old one that is to be overwritten stays.
    output.begin()?;
    let bundle = bundle.save(&trained.head, &options.out.out)?;
    crate::pipeline::stages::evaluate::save(&options.out.out, &evaluation)?;
    let mut extra = metrics(&bundle.training, unlabelled, &bundle.labels, &bundle.head_digest);
    extra.insert("temperature".to_owned(), json!(bundle.temperature));
    extra.insert("evaluation".to_owned(), crate::pipeline::stages::evaluate::brief(&evaluation));
    extra.insert("features_in_memory".to_owned(), json!(set.vectors.in_memory()));
    extra.insert("text_hygiene".to_owned(), json!(hygiene));
    extra.extend(swept.map(|swept| ("sweep".to_owned(), json!(swept))));
    extra.extend(crossed.map(|crossed| ("cross_validation".to_owned(), json!(crossed))));
    finish(&start, &mut output, &set, &bundle, options, (extra, &evaluation, &lengths))
}

/// Calibrates the answers on the rows that were held out, and judges them there. The article's recipe stays as it is.
fn judge(
    trained: &mut Trained,
    rows: &LabelledRows<'_>,
    labels: &[String],
    options: &TrainOptions,
) -> Result<(f64, Evaluation, Distributions)> {
    let mut judged = JudgedRows::of_held_out(&mut trained.held_out, rows, labels.len());
    let temperature = match trained.report.recipe.name {
        RecipeName::Article => 1.0,
        RecipeName::Default => judged.calibrate(),
    };
    let mut evaluation = crate::pipeline::stages::evaluate::evaluation(&judged, labels, options.target_precision);
    // Of several outputs each has inputs of its own, and rows do not say which.
    if options.inputs.len() == 1 || options.validation.is_some() {
        add_texts(&mut evaluation.mistakes, rows.run())?;
    }
    let max_length = rows.run()["encoder"]["max_length"].as_u64().unwrap_or(0) as u32;
    Ok((temperature, evaluation, page::lengths(&judged.places, max_length)))
}

fn training_data(options: &TrainOptions) -> Result<Vec<TrainingData>> {
    let data = |dir: &PathBuf| {
        let manifest = crate::cache::Manifest::read(dir)?.unwrap_or_default();
        Ok(TrainingData { path: dir.display().to_string(), digest: parts_digest(&manifest) })
    };
    options.inputs.iter().chain(&options.validation).map(data).collect()
}

fn recipe(options: &TrainOptions) -> Result<Recipe> {
    let overrides = Overrides {
        epochs: options.epochs,
        learning_rate: options.learning_rate,
        batch_size: options.batch_size,
        hidden: options.hidden.clone(),
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
    resolved.insert("target_precision".to_owned(), json!(options.target_precision));
    if options.sweep {
        resolved.insert("sweep".to_owned(), json!(true));
    }
    // A GPU adds in another order.
    if options.device.gpus().is_some() {
        resolved.insert("device".to_owned(), json!("cuda"));
    }
    if options.folds.is_some() || options.repeats.is_some() {
        let asked = json!({ "folds": options.folds, "repeats": options.repeats });
        resolved.insert("cross_validation".to_owned(), asked);
    }
    let inputs: Vec<Value> =
        options.inputs.iter().chain(&options.validation).map(|dir| input_state(dir)).collect::<Result<_>>()?;
    resolved.insert(
        "input".to_owned(),
        json!({ "inputs": options.inputs, "validation": options.validation, "state": inputs }),
    );
    Ok(resolved)
}

/// A digest of the parts of an embed output: the vectors themselves need not be read to know them.
pub(crate) fn input_state(dir: &Path) -> Result<Value> {
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

pub(crate) fn parts_digest(manifest: &crate::cache::Manifest) -> String {
    let mut hasher = blake3::Hasher::new();
    manifest.every_part().for_each(|part| {
        hasher.update(part.path.as_bytes()).update(part.digest.as_bytes());
    });
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The set that is validated on; its vectors must be of the same encoder.
fn held_out(options: &TrainOptions, set: &FeatureSet, dir: &Path) -> Result<FeatureSet> {
    let held_out = load_features(&[dir.to_owned()], options.memory / COPIES)?;
    check_same_encoder((&options.inputs[0], &set.run), (dir, &held_out.run))?;
    Ok(held_out)
}

/// How many vectors may be in memory at a time, one part of them as it is read aside.
fn window(options: &TrainOptions, set: &FeatureSet) -> usize {
    if set.vectors.in_memory() {
        return usize::MAX;
    }
    let vector = (set.vectors.width() * size_of::<f32>()).max(1) as u64;
    (options.memory / COPIES / vector).max(1) as usize
}

fn unknown(dir: &Path, label: String, labels: &[String]) -> Error {
    Error::UnknownLabel { dir: dir.to_owned(), label, known: format!("`{}`", labels.join("`, `")) }
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

fn say_hygiene(terminal: Terminal, hygiene: Hygiene) {
    let Hygiene { duplicate_rows, texts_with_several_labels, leaked_rows } = hygiene;
    if duplicate_rows > 0 {
        let several = match texts_with_several_labels {
            0 => String::new(),
            texts => format!("; {texts} texts have more than one label"),
        };
        terminal.say(&format!("data: {duplicate_rows} rows repeat the text of another{several}"));
    }
    if leaked_rows > 0 {
        terminal.warn(&format!(
            "{leaked_rows} rows of the validation set have a text that is trained on too: its figures are too good"
        ));
    }
}

fn finish(
    start: &Start,
    output: &mut Output,
    set: &FeatureSet,
    bundle: &Bundle,
    options: &TrainOptions,
    (extra, evaluation, lengths): (Map<String, Value>, &Evaluation, &Distributions),
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
    let device = options.gpu()?.map_or_else(|| "cpu".to_owned(), |number| format!("cuda:{number}"));
    let encoder = EncoderReport { device: Some(device), ..EncoderReport::behind(&bundle.encoder) };
    let inputs = options.inputs.iter().chain(&options.validation).map(|dir| input(dir)).collect::<Result<Vec<_>>>()?;
    let this_run = ThisRun { units: 1, rows, ..ThisRun::default() };
    let mut report = start.report(output.manifest(), this_run, encoder, inputs);
    report.extra = extra;
    let run = json!(report);
    let training = Some(&bundle.training);
    page::write(&options.out.out, &run, output.manifest(), training, Some(evaluation), Some(lengths))?;
    output.complete(&run)?;
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
