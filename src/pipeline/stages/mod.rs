//! The stages: each is planned from its options, nothing being written, and the plan is explained or run.
//!
//! ```text
//! Stage (options) --plan--> StagePlan --explain--> Explained      what it would do and cost
//!                                     --run------> Outcome        its output folder, finished
//! ```
//! A new stage is an options struct (`pipeline::options`), a variant of [`Stage`] and of [`StagePlan`] with a file here, a
//! run and a report (`report`), what is said at its end (`cli::summary`), and the names of what it leaves
//! (`cache::output`). The command line and pipeline files need no more.

mod embed;
mod evaluate;
mod explain;
mod export;
mod ingest;
mod judging;
mod output;
mod page;
mod rejects;
mod score;
mod train;
mod units;

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

pub(crate) use self::explain::Explained;
use self::explain::explain_units;
pub(crate) use self::export::Exported;
pub(crate) use self::rejects::summary as summary_of_rejects;
pub(crate) use self::train::TrainPlan;
pub(crate) use self::units::UnitsPlan;
use super::{EmbedOptions, EvaluateOptions, ExportOptions, IngestOptions, Result, ScoreOptions, TrainOptions};
use crate::pipeline::Error;
use crate::pipeline::encoder::Purpose;
use crate::report::RunReport;
use crate::telemetry::Terminal;

/// A stage with its options: a command of the command line, a table in a pipeline file.
///
/// Doc comments are the command's help.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Stage {
    /// Read reviews from any folder into Parquet: datasets `reviews` and `rejects`
    #[command(after_help = "Example:\n  bertline ingest reviews/ more.csv.gz --out ingested")]
    Ingest(IngestOptions),
    /// Embed reviews: datasets `rows`, `features` (vectors, one a distinct text) and `rejects`
    #[command(after_help = "Examples:\n  bertline embed aclImdb/train --out features\n  \
                            bertline embed tweets.csv --label-column airline_sentiment --out features\n  \
                            bertline embed reviews/ --out features --pooling cls-mean --layers last4\n  \
                            bertline embed reviews/ --out features-today --cache vectors/")]
    Embed(EmbedOptions),
    /// Train a classifier head on cached features
    #[command(after_help = "Examples:\n  bertline train features --out head\n  \
                            bertline train features --recipe article --out head\n  bertline train features --sweep --folds 5 --out head")]
    Train(TrainOptions),
    /// Score reviews in bulk: dataset `predictions`, one row an input row
    #[command(
        after_help = "Examples:\n  bertline score reviews.parquet --head head --out scored --keep-columns id,date\n  \
                            bertline score test.csv --head head --out scored --label-column sentiment\n  \
                            bertline score reviews/ --head head --out scored --features features"
    )]
    Score(ScoreOptions),
    /// Judge a head on labelled reviews, features or scored rows: figures with intervals, curves, mistakes
    #[command(after_help = "Examples:\n  bertline evaluate test-features --head head --out judged\n  \
                            bertline evaluate test.csv --head head --out judged --target-precision 0.95")]
    Evaluate(EvaluateOptions),
    /// Write a head and its encoder as one ONNX file for other programs, the tokenizer beside it
    #[command(after_help = "Example:\n  bertline export --head head --out served/model.onnx")]
    Export(ExportOptions),
}

/// What a stage is going to do; nothing is written yet.
pub(crate) enum StagePlan {
    /// Units of reviews, through `ingest`, `embed` or `score`.
    Units(Box<UnitsPlan>),
    /// A head to train.
    Train(Box<TrainPlan>),
    /// A head to judge.
    Evaluate(Box<evaluate::EvaluatePlan>),
    /// A head to export.
    Export(Box<export::ExportPlan>),
}

/// How a stage ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran; the report is in `run.json` too.
    Done(Box<RunReport>),
    /// The output was there already; this is its `run.json`.
    AlreadyDone(Box<RunReport>),
    /// Reviews were scored, now or before, and judged; this is their `run.json` and what was found.
    Judged(Box<RunReport>),
    /// Files for other programs were written.
    Exported(Exported),
}

impl Outcome {
    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        match self {
            Outcome::Done(report) | Outcome::AlreadyDone(report) | Outcome::Judged(report) => json!(report),
            Outcome::Exported(exported) => json!(exported),
        }
    }
}

impl Stage {
    /// Where its output goes.
    pub(crate) fn out(&self) -> &Path {
        match self {
            Stage::Ingest(options) => &options.out.out,
            Stage::Embed(options) => &options.out.out,
            Stage::Train(options) => &options.out.out,
            Stage::Score(options) => &options.out.out,
            Stage::Evaluate(options) => &options.out.out,
            Stage::Export(options) => &options.out,
        }
    }

    /// Finds the inputs, resolves model, precision and device, and settles what determines the output.
    ///
    /// # Errors
    /// Where the options do not fit together, or what they name is not there.
    pub(crate) fn plan(&self, purpose: Purpose, terminal: Terminal) -> Result<StagePlan> {
        match self {
            Stage::Ingest(options) => Ok(StagePlan::Units(Box::new(ingest::plan(options)?))),
            Stage::Embed(options) => Ok(StagePlan::Units(Box::new(embed::plan(options, purpose, terminal)?))),
            Stage::Train(options) => Ok(StagePlan::Train(Box::new(TrainPlan::of(options)?))),
            Stage::Score(options) => Ok(StagePlan::Units(Box::new(score::plan(options, purpose, terminal)?))),
            Stage::Evaluate(options) => Ok(StagePlan::Evaluate(Box::new(evaluate::plan(options, purpose, terminal)?))),
            Stage::Export(options) => Ok(StagePlan::Export(Box::new(export::plan(options, terminal)?))),
        }
    }
}

impl StagePlan {
    /// What would be done, and what it would cost.
    ///
    /// # Errors
    /// Where the input cannot be read, or the encoder cannot be opened to see its rate.
    pub(crate) fn explain(&self) -> Result<Explained> {
        match self {
            StagePlan::Units(plan) => explain_units(plan),
            StagePlan::Train(plan) => plan.explain(),
            StagePlan::Evaluate(plan) => plan.explain(),
            StagePlan::Export(plan) => plan.explain(),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// Where it fails; what is committed stays, and the same stage goes on from there. [`Error::TrainsElsewhere`] for
    /// `train`, whose plan is run by [`TrainPlan::run`] in the binary that has a trainer.
    pub(crate) fn run(self, terminal: Terminal) -> Result<Outcome> {
        match self {
            StagePlan::Units(plan) => plan.run(terminal),
            StagePlan::Train(_) => Err(Error::TrainsElsewhere),
            StagePlan::Evaluate(plan) => plan.run(terminal),
            StagePlan::Export(plan) => plan.run(terminal),
        }
    }
}
