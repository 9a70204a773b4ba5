//! The stage `evaluate`: how good a head is on labelled reviews.
//!
//! Features and scored rows are judged as they are, with zero encoder calls. Other inputs are scored first, into the
//! same folder, as `score` would: it can be interrupted and goes on, and its predictions stay. The figures come when that
//! run is finished, and are made anew each time.

use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use serde_json::json;

use super::explain::{Existing, Explained, explain_units};
use super::output::{Taken, finish, in_one_go, take};
use super::page::{self, Sections};
use super::score::plan_labelled;
use super::units::UnitsPlan;
use super::{Outcome, judging};
use crate::cache::{self, Key, Manifest, RecordedRun, UnitRecord, UnitStats, load_features};
use crate::evaluate::Evaluation;
use crate::head::{Bundle, Head};
use crate::pipeline::encoder::Purpose;
use crate::pipeline::rows::judged::JudgedRows;
use crate::pipeline::rows::lookup::{add_texts, labelled_among};
use crate::pipeline::{Error, EvaluateOptions, Result, ScoreOptions};
use crate::report::{
    EncoderReport, EncoderRun, EvaluateReport, EvaluateRun, EvaluationReport, HeadReport, Judgement, Run, RunReport,
    StageReport, Start, ThisRun,
};
use crate::telemetry::Terminal;

/// A head to judge.
pub(crate) struct EvaluatePlan {
    start: Start,
    options: EvaluateOptions,
    bundle: Bundle,
    head: Head,
    subject: Subject,
}

/// What it is judged on.
enum Subject {
    /// What a stage left, as it is.
    Left(Box<LeftOutputs>),
    /// Reviews, which are scored first.
    Reviews(Box<UnitsPlan>),
}

/// Outputs of a stage.
struct LeftOutputs {
    kind: Left,
    dirs: Vec<PathBuf>,
    run: Run,
    /// Rows of all.
    rows: u64,
}

/// What can be judged as it is.
#[derive(Clone, Copy)]
enum Left {
    Features,
    Predictions,
}

impl Left {
    /// The stage that leaves it.
    fn stage(self) -> &'static str {
        match self {
            Left::Features => "embed",
            Left::Predictions => "score",
        }
    }
}

/// Rows whose truth is known, where they came from, and how many of them the head was trained on.
struct Found {
    rows: JudgedRows,
    run: RecordedRun,
    leaked: Option<u64>,
}

/// Plans the stage.
pub(super) fn plan(options: &EvaluateOptions, purpose: Purpose, terminal: Terminal) -> Result<EvaluatePlan> {
    let start = Start::now();
    let (bundle, head) = Bundle::load(&options.head)?;
    let subject = match left(&options.read.inputs)? {
        Some(kind) => subject(options, &bundle, kind)?,
        None => Subject::Reviews(Box::new(plan_labelled(&scoring(options), purpose, terminal)?)),
    };
    Ok(EvaluatePlan { start, options: options.clone(), bundle, head, subject })
}

/// What the inputs are: all outputs of `embed` or all of `score`, else reviews.
fn left(inputs: &[String]) -> Result<Option<Left>> {
    let mut commands = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        let manifest = if path.is_dir() { Manifest::read(path)? } else { None };
        commands.push(manifest.and_then(|manifest| manifest.run.command().map(str::to_owned)));
    }
    let all = |command: &str| commands.iter().all(|found| found.as_deref() == Some(command));
    Ok(match (all("embed"), all("score")) {
        (true, _) => Some(Left::Features),
        (_, true) => Some(Left::Predictions),
        _ => None,
    })
}

fn subject(options: &EvaluateOptions, bundle: &Bundle, kind: Left) -> Result<Subject> {
    let dirs: Vec<PathBuf> = options.read.inputs.iter().map(PathBuf::from).collect();
    let manifests = dirs.iter().map(|dir| Ok(Manifest::of_output(dir, kind.stage())?)).collect::<Result<Vec<_>>>()?;
    let run = Run::Evaluate(EvaluateRun {
        head_digest: bundle.head_digest.clone(),
        inputs: options.read.inputs.clone(),
        target_precision: options.target_precision,
        state: manifests.iter().map(|manifest| manifest.digest()[..16].to_owned()).collect(),
    });
    let rows = manifests.iter().map(|manifest| manifest.totals().1.rows_out).sum();
    Ok(Subject::Left(Box::new(LeftOutputs { kind, dirs, run, rows })))
}

/// The scoring that comes before reviews are judged.
fn scoring(options: &EvaluateOptions) -> ScoreOptions {
    ScoreOptions {
        read: options.read.clone(),
        head: options.head.clone(),
        out: options.out.clone(),
        units: options.units.clone(),
        keep_columns: "none".to_owned(),
        model: options.model.clone(),
        cached: options.cached.clone(),
        features: options.features.clone(),
        device: options.device.clone(),
    }
}

impl EvaluatePlan {
    pub(super) fn explain(&self) -> Result<Explained> {
        match &self.subject {
            Subject::Left(left) => {
                let LeftOutputs { kind, run, rows, .. } = left.as_ref();
                let inputs = self.options.read.inputs.join(", ");
                let plan = format!("what `{}` left in {inputs} -> figures", kind.stage());
                Ok(Explained::at_once("evaluate", plan, *rows, &Existing::of(&self.options.out.out, run)?))
            }
            Subject::Reviews(scoring) => explain_units(scoring),
        }
    }

    pub(super) fn run(self, terminal: Terminal) -> Result<Outcome> {
        let EvaluatePlan { start, options, bundle, head, subject } = self;
        match subject {
            Subject::Left(left) => judge_left(&start, &options, (&bundle, &head), &left, terminal),
            Subject::Reviews(scoring) => judge_reviews(*scoring, &options, &bundle, terminal),
        }
    }
}

/// Judges what a stage left, in one go.
fn judge_left(
    start: &Start,
    options: &EvaluateOptions,
    (bundle, head): (&Bundle, &Head),
    left: &LeftOutputs,
    terminal: Terminal,
) -> Result<Outcome> {
    let LeftOutputs { kind, dirs, run, .. } = left;
    let claimed = match take(run, &options.out, dirs, terminal)? {
        Taken::Finished(outcome) => return Ok(outcome),
        Taken::Open(claimed) => in_one_go(claimed, &run.record()),
    };
    let found = match kind {
        Left::Features => features(options, bundle, head, dirs)?,
        Left::Predictions => {
            let (rows, run) = predictions(dirs, bundle)?;
            let leaked = if dirs.len() == 1 { leaked(&run, bundle)? } else { None };
            Found { rows, run, leaked }
        }
    };
    warn_of(found.leaked, terminal);
    found.rows.check(dirs, &bundle.labels)?;
    let mut evaluation = judging::evaluation(&found.rows, &bundle.labels, options.target_precision);
    if dirs.len() == 1 {
        add_texts(&mut evaluation.mistakes, &found.run)?;
    }
    let mut output = claimed.begin()?;
    judging::save(&options.out.out, &evaluation)?;
    let count = found.rows.places.len() as u64;
    let unit = blake3::hash(json!(evaluation).to_string().as_bytes()).to_hex()[..32].to_owned();
    let stats = UnitStats { rows_out: count, seconds: start.seconds(), ..UnitStats::default() };
    let source = options.read.inputs[0].clone();
    output.commit(UnitRecord { unit, source, rows_in: count, parts: Vec::new(), stats })?;
    let stage = StageReport::Evaluate(Box::new(EvaluateReport {
        head: HeadReport { path: options.head.clone(), digest: bundle.head_digest.clone() },
        judgement: judgement(&found, &evaluation),
    }));
    let this_run = ThisRun { units: 1, rows: count, ..ThisRun::default() };
    let encoder = EncoderReport::behind(&bundle.encoder);
    let report = start.report(stage, output.manifest(), this_run, encoder, Vec::new());
    let lengths = page::lengths(&found.rows.places, bundle.encoder.identity.max_length);
    let sections = Sections { training: None, evaluation: Some(&evaluation), distributions: Some(&lengths) };
    finish(output, report, Some(sections))
}

/// Scores reviews into the output folder, then judges what is there.
fn judge_reviews(
    scoring: UnitsPlan,
    options: &EvaluateOptions,
    bundle: &Bundle,
    terminal: Terminal,
) -> Result<Outcome> {
    scoring.run(terminal)?;
    let dir = options.out.out.clone();
    let (rows, run) = predictions(std::slice::from_ref(&dir), bundle)?;
    rows.check(&options.read.inputs.iter().map(PathBuf::from).collect::<Vec<_>>(), &bundle.labels)?;
    let mut evaluation = judging::evaluation(&rows, &bundle.labels, options.target_precision);
    add_texts(&mut evaluation.mistakes, &run)?;
    judging::save(&dir, &evaluation)?;
    let leaked = leaked(&run, bundle)?;
    warn_of(leaked, terminal);
    let found = Found { rows, run, leaked };
    let mut report = RunReport::read(&dir)?;
    if let StageReport::Score(scored) = &mut report.stage {
        scored.judgement = Some(judgement(&found, &evaluation));
    }
    let manifest = Manifest::read(&dir)?.unwrap_or_default();
    let distributions = page::of_predictions(&dir, &manifest, bundle.encoder.identity.max_length)?;
    let sections = Sections { training: None, evaluation: Some(&evaluation), distributions: Some(&distributions) };
    page::write(&dir, &report, &manifest, sections)?;
    Ok(Outcome::Judged(Box::new(report)))
}

/// Rows of cached features, as the head answers them.
fn features(options: &EvaluateOptions, bundle: &Bundle, head: &Head, dirs: &[PathBuf]) -> Result<Found> {
    // Each vector is looked at once: nothing is gained by keeping them.
    let set = load_features(dirs, 0)?;
    let trained = &bundle.encoder;
    let differences = EncoderRun::of(&set.run, &dirs[0])?.differences(&trained.identity, &trained.numerics);
    if !differences.is_empty() {
        return Err(Error::OtherEncoder { head: options.head.clone(), differences: differences.join("; ") });
    }
    let leaked = trained_on(bundle)?
        .map(|known| set.rows.iter().filter(|row| row.label.is_some() && known.contains(&set.key(row))).count() as u64);
    let rows = JudgedRows::of_features(&set, head, &bundle.labels)?;
    Ok(Found { rows, run: set.run, leaked })
}

/// Rows that this very head has scored.
fn predictions(dirs: &[PathBuf], bundle: &Bundle) -> Result<(JudgedRows, RecordedRun)> {
    let mut all: Option<(JudgedRows, RecordedRun)> = None;
    for dir in dirs {
        let manifest = Manifest::read(dir)?.unwrap_or_default();
        if manifest.complete.is_none() {
            return Err(cache::Error::Incomplete { dir: dir.clone() }.into());
        }
        if let Run::Score(run) = manifest.run.read(dir)?
            && run.head_digest != bundle.head_digest
        {
            let (found, expected) = (run.head_digest, bundle.head_digest.clone());
            return Err(Error::OtherHead { dir: dir.clone(), found, expected });
        }
        let has_truth = matches!(RunReport::read(dir)?.stage, StageReport::Score(score) if score.metrics.is_some());
        if !has_truth {
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

fn judgement(found: &Found, evaluation: &Evaluation) -> Judgement {
    let evaluation = EvaluationReport::of(evaluation);
    Judgement { left_out: found.rows.left_out, evaluation, leaked_rows: found.leaked }
}

/// The texts that a head was trained on; `None` where what it was trained on is no longer there as it was.
fn trained_on(bundle: &Bundle) -> Result<Option<HashSet<Key>>> {
    let mut known = HashSet::new();
    for data in &bundle.data {
        let dir = Path::new(&data.path);
        let manifest = if dir.is_dir() { Manifest::read(dir)? } else { None };
        match manifest.filter(|manifest| manifest.digest() == data.digest) {
            Some(manifest) => known.extend(cache::committed_keys(dir, &manifest)?),
            None => return Ok(None),
        }
    }
    Ok((!bundle.data.is_empty()).then_some(known))
}

/// Labelled rows, of the inputs of a run of `score`, whose text the head was trained on; `None` where it cannot be told.
fn leaked(run: &RecordedRun, bundle: &Bundle) -> Result<Option<u64>> {
    trained_on(bundle)?.map_or(Ok(None), |known| labelled_among(run, &known))
}

fn warn_of(leaked: Option<u64>, terminal: Terminal) {
    if let Some(leaked) = leaked.filter(|rows| *rows > 0) {
        terminal.warn(&format!(
            "{leaked} labelled rows have a text that the head was trained on: its figures are too good"
        ));
    }
}
