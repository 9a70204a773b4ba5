//! Stages and pipelines: what is computed, from what, into which folder.
//!
//! Useful for: running a stage from code, reading a pipeline file, explaining what a run would do.
//! Not for: how a unit runs (`engine`), how flags are typed (`cli`).

mod commands;
mod encoder;
mod error;
mod inputs;
mod options;
mod rows;
mod spec;
mod stages;

pub use commands::predict::{Prediction, Predictor};
pub use commands::show::{Shown, show};
pub use commands::tokenize::{TokenizeTotals, tokenize};
pub use commands::tune::{Tuning, tune};
pub use commands::verify::{Verification, Verified, verify};
pub use encoder::{Purpose, say_event};
pub use error::{Error, Result};
pub use options::{
    CacheOptions, DeviceOptions, EmbedOptions, EvaluateOptions, ExportOptions, IngestOptions, OutOptions,
    PredictOptions, SampleOptions, ScoreOptions, TokenizeOptions, TrainOptions, TuneOptions, UnitOptions,
    VerifyOptions, size,
};
pub use spec::{NamedStage, load};
pub use stages::{Explained, Exported, Outcome, Stage, StagePlan, TrainPlan, UnitsPlan, summary_of_rejects};

pub use crate::ingest::ReadOptions;
