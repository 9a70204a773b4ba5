//! Stages and pipelines: what is computed, from what, into which folder.
//!
//! Useful for: running a stage from code, reading a pipeline file, explaining what a run would do.
//! Not for: how a unit runs (`engine`), how flags are typed (`cli`).

mod commands;
mod encoder;
mod error;
mod inputs;
mod options;
mod pipeline_file;
mod rows;
mod stages;

pub(crate) use commands::predict::{Prediction, Predictor};
pub(crate) use commands::show::show;
pub(crate) use commands::tokenize::{TokenizeTotals, tokenize};
pub(crate) use commands::tune::tune;
pub(crate) use commands::verify::{Verified, verify};
pub(crate) use encoder::{Purpose, say_event};
pub(crate) use error::{Error, Result};
pub(crate) use options::{
    DeviceOptions, EmbedOptions, EvaluateOptions, ExportOptions, IngestOptions, OutOptions, PredictOptions,
    SampleOptions, ScoreOptions, TokenizeOptions, TrainOptions, TuneOptions, UnitOptions, VerifyOptions, size,
};
pub(crate) use pipeline_file::{NamedStage, load};
pub(crate) use stages::{Explained, Exported, Outcome, Stage, TrainPlan, summary_of_rejects};

pub(crate) use crate::ingest::ReadOptions;
