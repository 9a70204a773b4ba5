//! The command `evaluate`: how good a head is on labelled reviews.
//!
//! Features and scored rows are judged as they are, with zero encoder calls. Other inputs are scored first, into the
//! same folder, as `score` would: it can be interrupted and goes on, and its predictions stay.

use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use crate::cache::{
    self, Key, Manifest, Output, Resolved, State, UnitRecord, UnitStats, load_features, write_atomically,
};
use crate::evaluate::{self, Evaluation};
use crate::head::Bundle;
use crate::pipeline::rows::judged::JudgedRows;
use crate::pipeline::rows::lookup::{add_texts, command_of, labelled_among};
use crate::pipeline::stages::page;
use crate::pipeline::stages::score::{check_features, score_labelled};
use crate::pipeline::stages::units::Outcome;
use crate::pipeline::{Error, EvaluateOptions, Result, ScoreOptions};
use crate::report::{EncoderReport, Start, ThisRun};
use crate::telemetry::Terminal;

/// The file with all figures.
pub(crate) const EVALUATION: &str = "evaluation.json";
/// Seeds the bootstrap: the same rows give the same intervals.
pub(crate) const SEED: u64 = 42;

/// What can be judged as it is.
enum Kind {
    Features,
    Predictions,
}

/// Runs the command.
pub fn evaluate(options: &EvaluateOptions, terminal: Terminal) -> Result<Outcome> {
    match kind(&options.read.inputs)? {
        Some(kind) => judge(options, &kind, terminal),
        None => score_and_judge(options, terminal),
    }
}

/// What the inputs are: all outputs of `embed` or all of `score`, else reviews.
fn kind(inputs: &[String]) -> Result<Option<Kind>> {
    let mut commands = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        let manifest = if path.is_dir() { Manifest::read(path)? } else { None };
        commands.push(manifest.and_then(|manifest| command_of(&manifest.run).map(str::to_owned)));
    }
    let all = |command: &str| commands.iter().all(|found| found.as_deref() == Some(command));
    Ok(if all("embed") {
        Some(Kind::Features)
    } else if all("score") {
        Some(Kind::Predictions)
    } else {
        None
    })
}

/// Judges what a stage left, in one go.
fn judge(options: &EvaluateOptions, kind: &Kind, terminal: Terminal) -> Result<Outcome> {
    let start = Start::now("evaluate");
    let (bundle, head) = Bundle::load(&options.head)?;
    let dirs: Vec<PathBuf> = options.read.inputs.iter().map(PathBuf::from).collect();
    let resolved = resolve(options, &bundle, &dirs)?;
    let (mut output, state) = Output::open(&options.out.out, &resolved, options.out.overwrite, &dirs)?;
    if state == State::Complete {
        return crate::pipeline::stages::units::already_done("evaluate", &options.out.out, terminal);
    }
    output.start_over(&resolved);
    let (rows, run, leaked) = match kind {
        Kind::Features => {
            // Each vector is looked at once: nothing is gained by keeping them.
            let set = load_features(&dirs, 0)?;
            check_features(&bundle, &options.head, &dirs[0], &set.run)?;
            let leaked = trained_on(&bundle)?.map(|known| {
                set.rows.iter().filter(|row| row.label.is_some() && known.contains(&set.key(row))).count() as u64
            });
            (JudgedRows::of_features(&set, &head, &bundle.labels)?, set.run, leaked)
        }
        Kind::Predictions => {
            let (rows, run) = predictions(&dirs, &bundle)?;
            let leaked = if dirs.len() == 1 { leaked(&run, &bundle)? } else { None };
            (rows, run, leaked)
        }
    };
    warn_of(leaked, terminal);
    rows.check(&dirs, &bundle.labels)?;
    let mut evaluation = evaluation(&rows, &bundle.labels, options.target_precision);
    if dirs.len() == 1 {
        add_texts(&mut evaluation.mistakes, &run)?;
    }
    output.begin()?;
    save(&options.out.out, &evaluation)?;
    let count = rows.places.len() as u64;
    let unit = blake3::hash(json!(evaluation).to_string().as_bytes()).to_hex()[..32].to_owned();
    let stats = UnitStats { rows_out: count, seconds: start.seconds(), ..UnitStats::default() };
    let source = options.read.inputs[0].clone();
    output.commit(UnitRecord { unit, source, rows_in: count, parts: Vec::new(), stats })?;
    let this_run = ThisRun { units: 1, rows: count, ..ThisRun::default() };
    let encoder = EncoderReport::behind(&bundle.encoder);
    let mut report = start.report(output.manifest(), this_run, encoder, Vec::new());
    report.extra = extra(options, &bundle, &rows, &evaluation);
    report.extra.insert("leaked_rows".to_owned(), json!(leaked));
    let run = json!(report);
    let lengths = page::lengths(&rows.places, bundle.encoder.identity.max_length);
    page::write(&options.out.out, &run, output.manifest(), None, Some(&evaluation), Some(&lengths))?;
    output.complete(&run)?;
    Ok(Outcome::Done(Box::new(report)))
}

fn resolve(options: &EvaluateOptions, bundle: &Bundle, dirs: &[PathBuf]) -> Result<Resolved> {
    let mut resolved = Resolved::new();
    resolved.insert("command".to_owned(), json!("evaluate"));
    resolved.insert("head_digest".to_owned(), json!(bundle.head_digest));
    resolved.insert("inputs".to_owned(), json!(options.read.inputs));
    resolved.insert("target_precision".to_owned(), json!(options.target_precision));
    let states =
        dirs.iter().map(|dir| crate::pipeline::stages::train::input_state(dir)).collect::<Result<Vec<Value>>>()?;
    resolved.insert("state".to_owned(), json!(states));
    Ok(resolved)
}

/// The texts that a head was trained on; `None` where what it was trained on is no longer there as it was.
fn trained_on(bundle: &Bundle) -> Result<Option<HashSet<Key>>> {
    let mut known = HashSet::new();
    for data in &bundle.data {
        let dir = Path::new(&data.path);
        let manifest = if dir.is_dir() { Manifest::read(dir)? } else { None };
        match manifest.filter(|manifest| crate::pipeline::stages::train::parts_digest(manifest) == data.digest) {
            Some(manifest) => known.extend(cache::committed_keys(dir, &manifest)?),
            None => return Ok(None),
        }
    }
    Ok((!bundle.data.is_empty()).then_some(known))
}

/// Labelled rows, of the inputs of a run of `score`, whose text the head was trained on; `None` where it cannot be told.
fn leaked(run: &Resolved, bundle: &Bundle) -> Result<Option<u64>> {
    trained_on(bundle)?.map_or(Ok(None), |known| labelled_among(run, &known))
}

fn warn_of(leaked: Option<u64>, terminal: Terminal) {
    if let Some(leaked) = leaked.filter(|rows| *rows > 0) {
        terminal.warn(&format!(
            "{leaked} labelled rows have a text that the head was trained on: its figures are too good"
        ));
    }
}

/// Rows that this very head has scored.
fn predictions(dirs: &[PathBuf], bundle: &Bundle) -> Result<(JudgedRows, Resolved)> {
    let mut all: Option<(JudgedRows, Resolved)> = None;
    for dir in dirs {
        let manifest = Manifest::read(dir)?.unwrap_or_default();
        if manifest.complete.is_none() {
            return Err(cache::Error::Incomplete { dir: dir.clone() }.into());
        }
        let by = manifest.run.get("head_digest").and_then(Value::as_str).unwrap_or_default();
        if by != bundle.head_digest {
            return Err(Error::OtherHead {
                dir: dir.clone(),
                found: by.to_owned(),
                expected: bundle.head_digest.clone(),
            });
        }
        let report: Value = crate::report::read(dir)?;
        if report.get("metrics").is_none() {
            return Err(Error::NoTruth { dir: dir.clone() });
        }
        let rows = JudgedRows::of_predictions(dir, &manifest, &bundle.labels)?;
        match &mut all {
            Some((known, _)) => known.extend(rows),
            None => all = Some((rows, manifest.run)),
        }
    }
    Ok(all.unwrap_or_default())
}

/// Scores reviews into the output folder, then judges what is there.
fn score_and_judge(options: &EvaluateOptions, terminal: Terminal) -> Result<Outcome> {
    let scoring = ScoreOptions {
        read: options.read.clone(),
        head: options.head.clone(),
        out: options.out.clone(),
        units: options.units.clone(),
        keep_columns: "none".to_owned(),
        model: options.model.clone(),
        cached: options.cached.clone(),
        features: options.features.clone(),
        device: options.device.clone(),
    };
    let outcome = score_labelled(&scoring, terminal)?;
    let (bundle, _) = Bundle::load(&options.head)?;
    let dir = options.out.out.clone();
    let (rows, run) = predictions(std::slice::from_ref(&dir), &bundle)?;
    rows.check(&options.read.inputs.iter().map(PathBuf::from).collect::<Vec<_>>(), &bundle.labels)?;
    let mut evaluation = evaluation(&rows, &bundle.labels, options.target_precision);
    add_texts(&mut evaluation.mistakes, &run)?;
    save(&dir, &evaluation)?;
    let leaked = leaked(&run, &bundle)?;
    warn_of(leaked, terminal);
    let mut report = outcome.json();
    if let Some(report) = report.as_object_mut() {
        report.extend(extra(options, &bundle, &rows, &evaluation));
        report.insert("leaked_rows".to_owned(), json!(leaked));
    }
    let manifest = Manifest::read(&dir)?.unwrap_or_default();
    let found = page::of_predictions(&dir, &manifest, bundle.encoder.identity.max_length)?;
    page::write(&dir, &report, &manifest, None, Some(&evaluation), Some(&found))?;
    Ok(Outcome::Judged(report))
}

/// Judges rows.
pub(crate) fn evaluation(rows: &JudgedRows, labels: &[String], target_precision: Option<f64>) -> Evaluation {
    evaluate::evaluate(rows.judged(), &rows.places, labels, target_precision, SEED)
}

/// Writes the figures.
pub(crate) fn save(dir: &Path, evaluation: &Evaluation) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(evaluation).expect("an evaluation is plain data; this is a bug");
    text.push(b'\n');
    Ok(write_atomically(&dir.join(EVALUATION), &text)?)
}

fn extra(options: &EvaluateOptions, bundle: &Bundle, rows: &JudgedRows, evaluation: &Evaluation) -> Map<String, Value> {
    let mut extra = Map::new();
    extra.insert("head".to_owned(), json!({ "path": options.head, "digest": bundle.head_digest }));
    extra.insert("left_out".to_owned(), json!(rows.left_out));
    extra.insert("evaluation".to_owned(), brief(evaluation));
    extra
}

/// What of an evaluation a run report repeats.
pub(crate) fn brief(evaluation: &Evaluation) -> Value {
    json!({
        "rows": evaluation.rows,
        "metrics": evaluation.metrics,
        "temperature": evaluation.temperature,
        "threshold": evaluation.threshold,
    })
}
