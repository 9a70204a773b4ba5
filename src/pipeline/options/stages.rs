//! Options of the stages, which write a folder.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::groups::{share, size};
use super::{CacheOptions, DeviceOptions, OutOptions, ReadOptions, UnitOptions};
use crate::encode::{DeviceChoice, Layers, Pooling, Readout};
use crate::head::{self, RecipeName};
use crate::tokenize::{Truncation, Window};

/// `bertline ingest`
#[derive(Args, Clone, Debug)]
pub struct IngestOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
    /// Further columns of the input to keep: a,b,c or all or none
    #[arg(long, default_value = "none", value_name = "COLUMNS")]
    pub keep_columns: String,
}

/// `bertline embed`
#[derive(Args, Clone, Debug)]
pub struct EmbedOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
    /// Encoder: a known name, a hub id such as org/name[@revision], or a folder with tokenizer.json and either
    /// config.json and model.safetensors or model.onnx
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub model: String,
    /// Tokens of a text that the encoder sees, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=8192))]
    pub max_length: u32,
    /// What is kept of a longer text: head, tail, or head-tail (a quarter from its beginning, the rest from its end)
    #[arg(long, default_value = "head", value_name = "WHICH")]
    pub truncation: Truncation,
    /// Which token rows make a text's vector: cls, mean (of all tokens) or cls-mean (both, twice as long)
    #[arg(long, default_value = "cls", value_name = "WHICH")]
    pub pooling: Pooling,
    /// Of which layers: last, or last4 (the last four, four times as long)
    #[arg(long, default_value = "last", value_name = "WHICH")]
    pub layers: Layers,
    /// Reject rows without a label (missing_label) instead of embedding them; they count for --max-reject-share
    #[arg(long)]
    pub require_label: bool,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
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
pub struct TrainOptions {
    /// Output folders of `bertline embed`
    #[arg(required = true, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath)]
    pub inputs: Vec<PathBuf>,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// Output of `bertline embed` to validate on, instead of a part of the inputs
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath)]
    pub validation: Option<PathBuf>,
    /// default (chosen by evidence) or article (Linear-ReLU-dropout-Linear, AdamW 1e-5, 5 epochs)
    #[arg(long, default_value = "default", value_name = "RECIPE")]
    pub recipe: RecipeName,
    /// Passes over the training rows [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Learning rate of AdamW [default: the recipe's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Rows of a training step [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Units of the hidden layers (512 or 512,128), 0 for a linear head [default: the recipe's]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub hidden: Option<Vec<usize>>,
    /// Dropout behind the hidden layers [default: the recipe's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub dropout: Option<f64>,
    /// Try many recipes at once (learning rate, weight decay, dropout, with and without a hidden layer) and train the one
    /// with the lowest cross-validated log loss
    #[arg(long)]
    pub sweep: bool,
    /// Where to train: auto (the CPU), cpu, or cuda or cuda:N for one GPU, which `make deps-cuda-train` prepares for
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Also train on all folds but one, and validate on that one, for each of K folds: says what to expect of new texts
    #[arg(long, value_name = "K")]
    pub folds: Option<usize>,
    /// Also train with the N seeds from --seed on, and say how much the figures vary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub repeats: Option<u64>,
    /// Say below which confidence the head had better not answer, for this share of its answers to be right
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub target_precision: Option<f64>,
    /// Memory for the features: what takes more than a third of it is read from disk in every epoch, part by part in
    /// another order, instead of being held
    #[arg(long, default_value = "4GiB", value_name = "SIZE", value_parser = size)]
    pub memory: u64,
    /// Share of the rows that is kept for validation
    #[arg(long, default_value_t = 0.2, value_name = "SHARE", allow_negative_numbers = true)]
    pub val_fraction: f64,
    /// Seed of the split, the initialisation and the shuffling
    #[arg(long, default_value_t = 42, value_name = "N", allow_negative_numbers = true)]
    pub seed: u64,
}

impl TrainOptions {
    /// The GPU to train on, where there is to be one.
    ///
    /// # Errors
    /// Where it is several.
    pub fn gpu(&self) -> head::Result<Option<u32>> {
        let Some(gpus) = self.device.gpus() else { return Ok(None) };
        match gpus.count() {
            1 => Ok(gpus.numbers().next()),
            count => Err(head::Error::SeveralGpus { count }),
        }
    }
}

/// `bertline score`
#[derive(Args, Clone, Debug)]
pub struct ScoreOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub head: PathBuf,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// How to cut it, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
    /// Columns of the input to copy to the predictions: a,b,c or all or none
    #[arg(long, default_value = "none", value_name = "COLUMNS")]
    pub keep_columns: String,
    /// Encoder, if it is no longer where the head's bundle says: a name or a folder; it must be the same encoder
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// Finished output of `bertline embed` to take vectors from; may be given more than once
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath)]
    pub features: Vec<PathBuf>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
}

/// `bertline evaluate`
#[derive(Args, Clone, Debug)]
pub struct EvaluateOptions {
    /// What to judge the head on: outputs of `embed` or `score`, or labelled reviews
    #[command(flatten)]
    pub read: ReadOptions,
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub head: PathBuf,
    /// Where to write
    #[command(flatten)]
    pub out: OutOptions,
    /// Say below which confidence the head had better not answer, for this share of its answers to be right
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub target_precision: Option<f64>,
    /// How reviews are cut, and what may be rejected
    #[command(flatten)]
    pub units: UnitOptions,
    /// Encoder of reviews, if it is no longer where the head's bundle says
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// What is shared between runs
    #[command(flatten)]
    pub cached: CacheOptions,
    /// Finished output of `bertline embed` to take vectors of reviews from; may be given more than once
    #[arg(long, value_name = "EMBED_OUT", value_hint = ValueHint::DirPath)]
    pub features: Vec<PathBuf>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
}
