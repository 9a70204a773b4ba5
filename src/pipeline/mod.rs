//! Stages and pipelines: what is computed, from what, into which folder.
//!
//! Useful for: running a stage from code, reading a pipeline file, explaining what a run would do.
//! Not for: how a unit runs (`engine`), how flags are typed (`cli`).

mod cached;
mod columns;
mod cross_validate;
mod embed;
mod epochs;
mod error;
mod evaluate;
mod examples;
mod explain;
mod export;
mod ingest;
mod inputs;
mod judged;
mod kept;
mod lookup;
mod options;
mod page;
mod predict;
mod rejects;
mod sample;
mod score;
mod show;
mod spec;
mod stage;
mod tokenize;
mod train;
mod tune;
mod verify;

pub use embed::embed;
pub use error::{Error, Result};
pub use evaluate::evaluate;
pub use explain::{Explained, explain};
pub use export::{Exported, export};
pub use ingest::ingest;
pub use options::{
    CacheOptions, DeviceOptions, EmbedOptions, EvaluateOptions, ExportOptions, IngestOptions, OutOptions,
    PredictOptions, SampleOptions, ScoreOptions, TokenizeOptions, TrainOptions, TuneOptions, UnitOptions,
    VerifyOptions, size,
};
pub use predict::{Prediction, Predictor};
pub use rejects::summary as summary_of_rejects;
pub use score::score;
pub use show::{Shown, show};
pub use spec::{NamedStage, Stage, load};
pub use stage::{Outcome, say_event};
pub use tokenize::{TokenizeTotals, tokenize};
pub use train::train;
pub use tune::{Tuning, tune};
pub use verify::{Verification, Verified, verify};

pub use crate::ingest::ReadOptions;
