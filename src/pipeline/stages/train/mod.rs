//! The stage `train`: cached features become a head bundle, with zero encoder calls.
//!
//! It runs in the binary `bertline-train`, the only one that is linked to libtorch: the library takes the trainer as a
//! function, so that nothing else is.

mod cross_validate;
mod data;
mod epochs;

use self::cross_validate::{cross_validate, sweep};
use self::data::{Features, all, inputs, remembered, say_hygiene};
use self::epochs::Epochs;
use super::explain::{Existing, Explained};
use super::output::{Taken, finish, in_one_go, take};
use super::page::{self, Sections};
use super::{Outcome, judging};
use crate::cache::{Manifest, Output, UnitRecord, UnitStats};
use crate::evaluate::Evaluation;
use crate::head::{self, Bundle, OnDevice, Overrides, Recipe, RecipeName, Trained, Trainers};
use crate::pipeline::rows::judged::JudgedRows;
use crate::pipeline::rows::labelled::LabelledRows;
use crate::pipeline::rows::lookup::add_texts;
use crate::pipeline::{Result, TrainOptions};
use crate::report::html::Distributions;
use crate::report::{
    EncoderReport, EvaluationReport, Repetitions, Run, StageReport, Start, ThisRun, TrainInput, TrainReport, TrainRun,
};
use crate::telemetry::Terminal;

/// A head to train: what determines it is settled, its features are not read yet.
pub(crate) struct TrainPlan {
    start: Start,
    options: TrainOptions,
    recipe: Recipe,
    repetitions: Option<Repetitions>,
    run: Run,
    /// Rows of the features.
    rows: u64,
}

/// A trained head and what is known of it.
struct Judged {
    trained: Trained,
    temperature: f64,
    evaluation: Evaluation,
    lengths: Distributions,
}

impl TrainPlan {
    /// Plans the stage.
    ///
    /// # Errors
    /// Where the recipe does not hold together, or an input is no output of `embed`.
    pub(crate) fn of(options: &TrainOptions) -> Result<TrainPlan> {
        let (start, recipe) = (Start::now(), recipe(options)?);
        let manifests = all(options).map(|dir| Ok(Manifest::of_output(dir, "embed")?)).collect::<Result<Vec<_>>>()?;
        let (folds, repeats) = (options.folds, options.repeats);
        let repetitions = (folds.is_some() || repeats.is_some()).then_some(Repetitions { folds, repeats });
        let run = Run::Train(Box::new(TrainRun {
            recipe: recipe.clone(),
            target_precision: options.target_precision,
            sweep: options.sweep,
            // A GPU adds in another order.
            device: options.device.gpus().map(|_| "cuda".to_owned()),
            cross_validation: repetitions,
            input: TrainInput {
                inputs: options.inputs.iter().map(|dir| dir.display().to_string()).collect(),
                validation: options.validation.as_ref().map(|dir| dir.display().to_string()),
                state: manifests.iter().map(|manifest| manifest.digest()[..16].to_owned()).collect(),
            },
        }));
        let rows = manifests.iter().map(|manifest| manifest.totals().1.rows_out).sum();
        Ok(TrainPlan { start, options: options.clone(), recipe, repetitions, run, rows })
    }

    /// It has no units: it reads whole features.
    pub(super) fn explain(&self) -> Result<Explained> {
        let features: Vec<String> = self.options.inputs.iter().map(|dir| dir.display().to_string()).collect();
        let plan = format!("features of {} -> {} head", features.join(", "), self.options.recipe);
        Ok(Explained::at_once("train", plan, self.rows, &Existing::of(&self.options.out.out, &self.run)?))
    }

    /// Trains; `on_device` gives the part of it that needs libtorch.
    ///
    /// # Errors
    /// Where the features do not make a training set, or training fails; an old head then stays.
    pub(crate) fn run(self, on_device: OnDevice, terminal: Terminal) -> Result<Outcome> {
        let options = &self.options;
        let sources: Vec<_> = all(options).cloned().collect();
        let claimed = match take(&self.run, &options.out, &sources, terminal)? {
            Taken::Finished(outcome) => return Ok(outcome),
            Taken::Open(claimed) => in_one_go(claimed, &self.run.record()),
        };
        let trainers = on_device(options.gpu()?)?;
        let features = Features::load(options)?;
        let (rows, validation) = (features.rows(options)?, features.validation(options)?);
        let unlabelled = features.set.rows.len() - rows.len();
        features.say(rows.classes(), unlabelled, terminal);
        let hygiene = rows.hygiene(validation.as_ref());
        say_hygiene(terminal, hygiene);
        let examples = rows.examples();
        let (recipe, swept) = match options.sweep {
            true => sweep(&examples, &self.recipe, options, trainers.sweep, terminal)?,
            false => (self.recipe.clone(), None),
        };
        let crossed = cross_validate(&examples, &recipe, self.repetitions, trainers.train, terminal)?;
        let judged = self.train(&features, (&rows, validation.as_ref()), &recipe, trainers, terminal)?;
        let bundle = self.bundle(&features, &judged)?;
        // Only now: until there is a new head, an old one that is to be overwritten stays.
        let output = claimed.begin()?;
        let bundle = bundle.save(&judged.trained.head, &options.out.out)?;
        judging::save(&options.out.out, &judged.evaluation)?;
        let report = TrainReport {
            labels: bundle.labels.clone(),
            rows_without_label: unlabelled,
            head_digest: bundle.head_digest.clone(),
            metrics: bundle.training.clone(),
            temperature: bundle.temperature,
            evaluation: EvaluationReport::of(&judged.evaluation),
            features_in_memory: features.set.vectors.in_memory(),
            text_hygiene: hygiene,
            sweep: swept,
            cross_validation: crossed,
        };
        self.finish(output, &features, &bundle, report, &judged)
    }

    fn train(
        &self,
        features: &Features,
        (rows, validation): (&LabelledRows<'_>, Option<&LabelledRows<'_>>),
        recipe: &Recipe,
        trainers: Trainers,
        terminal: Terminal,
    ) -> Result<Judged> {
        let examples = validation.map(LabelledRows::examples);
        let mut epochs = Epochs::new(terminal);
        let trained =
            (trainers.train)(&rows.examples(), examples.as_ref(), recipe, &mut |progress| epochs.hear(progress))?;
        drop(epochs);
        self.judge(trained, validation.unwrap_or(rows), features)
    }

    /// Calibrates the answers on the rows that were held out, and judges them there. The article's recipe stays as it is.
    fn judge(&self, mut trained: Trained, rows: &LabelledRows<'_>, features: &Features) -> Result<Judged> {
        let options = &self.options;
        let mut judged = JudgedRows::of_held_out(&mut trained.held_out, rows, features.labels.len());
        let temperature = match trained.report.recipe.name {
            RecipeName::Article => 1.0,
            RecipeName::Default => judged.calibrate(),
        };
        let mut evaluation = judging::evaluation(&judged, &features.labels, options.target_precision);
        // Of several outputs each has inputs of its own, and rows do not say which.
        if options.inputs.len() == 1 || options.validation.is_some() {
            add_texts(&mut evaluation.mistakes, rows.run())?;
        }
        let lengths = page::lengths(&judged.places, features.encoder.encoder.max_length);
        Ok(Judged { trained, temperature, evaluation, lengths })
    }

    fn bundle(&self, features: &Features, judged: &Judged) -> Result<Bundle> {
        Ok(Bundle {
            version: head::BUNDLE_VERSION,
            labels: features.labels.clone(),
            encoder: features.bundle_encoder(),
            training: judged.trained.report.clone(),
            temperature: judged.temperature,
            threshold: judged.evaluation.threshold,
            data: remembered(&self.options)?,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            head_digest: String::new(),
            created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        })
    }

    fn finish(
        &self,
        mut output: Output,
        features: &Features,
        bundle: &Bundle,
        report: TrainReport,
        judged: &Judged,
    ) -> Result<Outcome> {
        let rows = features.set.rows.len() as u64;
        let stats = UnitStats { rows_out: rows, seconds: self.start.seconds(), ..UnitStats::default() };
        let source = self.options.inputs[0].display().to_string();
        let unit = bundle.head_digest[..32].to_owned();
        output.commit(UnitRecord { unit, source, rows_in: rows, parts: Vec::new(), stats })?;
        let device = self.options.gpu()?.map_or_else(|| "cpu".to_owned(), |number| format!("cuda:{number}"));
        let encoder = EncoderReport { device: Some(device), ..EncoderReport::behind(&bundle.encoder) };
        let this_run = ThisRun { units: 1, rows, ..ThisRun::default() };
        let stage = StageReport::Train(Box::new(report));
        let report = self.start.report(stage, output.manifest(), this_run, encoder, inputs(&self.options)?);
        let sections = Sections {
            training: Some(&bundle.training),
            evaluation: Some(&judged.evaluation),
            distributions: Some(&judged.lengths),
        };
        finish(output, report, Some(sections))
    }
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
