//! Options of the stages, which write a folder.

use std::path::PathBuf;

use clap::{Args, ValueHint, value_parser};

use super::groups::{share, size};
use super::{CacheOptions, DeviceOptions, OutOptions, UnitOptions};
use super::{DEVICE, EVALUATION, INPUT, MODEL, OUTPUT, RECIPE, max_length};
use crate::encode::{DeviceChoice, Layers, Pooling, Readout};
use crate::head::{self, RecipeName};
use crate::ingest::ReadOptions;
use crate::tokenize::{Truncation, Window};

/// `bertline ingest`
#[derive(Args, Clone, Debug)]
pub(crate) struct IngestOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// Further columns of the input to keep: a,b,c or all or none
    #[arg(long, default_value = "none", value_name = "COLUMNS", help_heading = OUTPUT)]
    pub keep_columns: String,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
}

/// `bertline embed`
#[derive(Args, Clone, Debug)]
pub(crate) struct EmbedOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Reject rows without a label instead of embedding them
    ///
    /// They are rejects (missing_label), and count for --max-reject-share.
    #[arg(long, help_heading = INPUT)]
    pub require_label: bool,
    /// Encoder: a known name, a hub id, or a folder
    ///
    /// A hub id is org/name[@revision]; a folder has tokenizer.json and either config.json and model.safetensors or
    /// model.onnx.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: String,
    /// Tokens of a text that the encoder sees, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = max_length(), help_heading = MODEL)]
    pub max_length: u32,
    /// What is kept of a longer text
    #[arg(long, default_value = "head", value_name = "WHICH", help_heading = MODEL)]
    pub truncation: Truncation,
    /// Which token rows make a text's vector
    #[arg(long, default_value = "cls", value_name = "WHICH", help_heading = MODEL)]
    pub pooling: Pooling,
    /// Which layers these rows are of
    #[arg(long, default_value = "last", value_name = "WHICH", help_heading = MODEL)]
    pub layers: Layers,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
}

impl EmbedOptions {
    /// The tokens of a text that are read.
    pub(in crate::pipeline) fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }

    /// What becomes its vector.
    pub(in crate::pipeline) fn readout(&self) -> Readout {
        Readout { pooling: self.pooling, layers: self.layers }
    }
}

/// `bertline train`
#[derive(Args, Clone, Debug)]
pub(crate) struct TrainOptions {
    /// Output folders of `bertline embed`
    #[arg(required = true, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath)]
    pub inputs: Vec<PathBuf>,
    /// Output of `bertline embed` to validate on, instead of a part of the inputs
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath, help_heading = INPUT)]
    pub validation: Option<PathBuf>,
    /// Recipe to start from
    #[arg(long, default_value = "default", value_name = "RECIPE", help_heading = RECIPE)]
    pub recipe: RecipeName,
    /// Passes over the training rows [default: the recipe's]
    #[arg(long, value_name = "N", help_heading = RECIPE)]
    pub epochs: Option<usize>,
    /// Learning rate of AdamW [default: the recipe's]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = RECIPE)]
    pub learning_rate: Option<f64>,
    /// Rows of a training step [default: the recipe's]
    #[arg(long, value_name = "N", help_heading = RECIPE)]
    pub batch_size: Option<usize>,
    /// Units of the hidden layers, 0 for a linear head [default: the recipe's]
    ///
    /// 512, or 512,128 for two layers.
    #[arg(long, value_name = "N,...", value_delimiter = ',', help_heading = RECIPE)]
    pub hidden: Option<Vec<usize>>,
    /// Dropout behind the hidden layers [default: the recipe's]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = RECIPE)]
    pub dropout: Option<f64>,
    /// Share of the rows that is kept for validation
    #[arg(long, default_value_t = 0.2, value_name = "SHARE", allow_negative_numbers = true, help_heading = RECIPE)]
    pub val_fraction: f64,
    /// Seed of the split, the initialisation and the shuffling
    #[arg(long, default_value_t = 42, value_name = "N", allow_negative_numbers = true, help_heading = RECIPE)]
    pub seed: u64,
    /// Try many recipes at once, and train the best one
    ///
    /// They differ in learning rate, weight decay and dropout, with and without a hidden layer; the best one has the
    /// lowest cross-validated log loss.
    #[arg(long, help_heading = RECIPE)]
    pub sweep: bool,
    /// Also cross-validate, in K folds
    ///
    /// Trains on all folds but one, and validates on that one, for each of them: says what to expect of new texts.
    #[arg(long, value_name = "K", help_heading = EVALUATION)]
    pub folds: Option<usize>,
    /// Also train with N seeds, and say how much the figures vary
    ///
    /// The seeds are those from --seed on.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(2..=1000), help_heading = EVALUATION)]
    pub repeats: Option<u64>,
    /// Find the confidence from which on this share of the answers is right
    ///
    /// Says below which confidence the head had better not answer.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = EVALUATION)]
    pub target_precision: Option<f64>,
    /// Where to train: auto (the CPU), cpu, or cuda or cuda:N for one GPU
    ///
    /// `make deps-cuda-train` prepares for GPUs.
    #[arg(long, default_value = "auto", value_name = "DEVICE", help_heading = DEVICE)]
    pub device: DeviceChoice,
    /// Memory for the features
    ///
    /// What takes more than a third of it is read from disk in every epoch, part by part in another order, instead of
    /// being held.
    #[arg(long, default_value = "4GiB", value_name = "SIZE", value_parser = size, help_heading = DEVICE)]
    pub memory: u64,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
}

impl TrainOptions {
    /// The GPU to train on, where there is to be one.
    ///
    /// # Errors
    /// Where it is several.
    pub(crate) fn gpu(&self) -> head::Result<Option<u32>> {
        let Some(gpus) = self.device.gpus() else { return Ok(None) };
        match gpus.count() {
            1 => Ok(gpus.numbers().next()),
            count => Err(head::Error::SeveralGpus { count }),
        }
    }
}

/// `bertline score`
#[derive(Args, Clone, Debug)]
pub(crate) struct ScoreOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Finished output of `bertline embed` to take vectors from
    ///
    /// May be given more than once.
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath, help_heading = INPUT)]
    pub features: Vec<PathBuf>,
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = MODEL)]
    pub head: PathBuf,
    /// Encoder, if it is no longer where the head's bundle says
    ///
    /// A name or a folder; it must be the same encoder.
    #[arg(long, value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: Option<String>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// Columns of the input to copy to the predictions: a,b,c or all or none
    #[arg(long, default_value = "none", value_name = "COLUMNS", help_heading = OUTPUT)]
    pub keep_columns: String,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
}

/// `bertline evaluate`
#[derive(Args, Clone, Debug)]
pub(crate) struct EvaluateOptions {
    /// What to judge the head on: outputs of `embed` or `score`, or labelled reviews
    #[command(flatten)]
    pub read: ReadOptions,
    /// Finished output of `bertline embed` to take vectors of reviews from
    ///
    /// May be given more than once.
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath, help_heading = INPUT)]
    pub features: Vec<PathBuf>,
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = MODEL)]
    pub head: PathBuf,
    /// Encoder of reviews, if it is no longer where the head's bundle says
    #[arg(long, value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: Option<String>,
    /// Find the confidence from which on this share of the answers is right
    ///
    /// Says below which confidence the head had better not answer.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = EVALUATION)]
    pub target_precision: Option<f64>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// How reviews are cut, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
}
