//! What each stage can be told: one definition for the command line and for pipeline files.
//!
//! The doc comment of a field is its `--help`. Nothing here touches a file; resolving (models, inputs, devices) is the
//! stages' work.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueHint};

use crate::encode::{DeviceChoice, Layers, Pooling, Precision, PrecisionChoice, ProviderChoice, Readout, Wanted};
use crate::head::{self, RecipeName};
use crate::ingest::ReadOptions;
use crate::tokenize::{Truncation, Window};

/// How the work is cut, and how much of it may be rejected.
#[derive(Args, Clone, Debug)]
pub struct UnitOptions {
    /// Text of a unit of work, which is committed in one go: with smaller ones less is lost when a run is killed
    #[arg(long, default_value = "2MiB", value_name = "SIZE", value_parser = unit_bytes)]
    pub unit_bytes: u64,
    /// Memory for the units in flight (three of them at most, and three more for each GPU), beside the encoder and 24 bytes a distinct text; one unit
    /// alone may take more
    #[arg(long, default_value = "512MiB", value_name = "SIZE", value_parser = size)]
    pub memory: u64,
    /// Fail where more rows than this are rejected (rows without text do not count)
    #[arg(long, value_name = "N")]
    pub max_rejects: Option<u64>,
    /// Fail where more than this share of the rows is rejected (rows without text do not count)
    #[arg(long, default_value = "0.01", value_name = "SHARE", value_parser = share)]
    pub max_reject_share: f64,
}

fn unit_bytes(given: &str) -> Result<u64, String> {
    match size(given)? {
        bytes if (1 << 10..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("not between 1KiB and 1GiB".to_owned()),
    }
}

/// A number of bytes as people type it.
pub fn size(given: &str) -> Result<u64, String> {
    let size: ByteSize = given.parse().map_err(|_| "not a size such as 512KiB, 2MiB or 64GB".to_owned())?;
    Ok(size.as_u64())
}

fn share(given: &str) -> Result<f64, String> {
    let share = given.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a share between 0 and 1".to_owned())
}

/// Where a stage's output goes.
#[derive(Args, Clone, Debug)]
pub struct OutOptions {
    /// Folder for the output
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Start over if the folder holds the output of an earlier run
    #[arg(long)]
    pub overwrite: bool,
}

/// What is shared between runs.
#[derive(Args, Clone, Debug, Default)]
pub struct CacheOptions {
    /// Take texts that were encoded before from this store, and add new ones; see `bertline cache`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cache: Option<PathBuf>,
}

/// What the encoder runs on.
#[derive(Args, Clone, Debug)]
pub struct DeviceOptions {
    /// Arithmetic of the encoder: auto, fp32, bf16, int8, or fp16 on a GPU
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<PrecisionChoice>,
    /// Where the encoder runs: auto (the CPU), cpu, cuda or cuda:N,N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Kernels of the encoder on the CPU: auto, openvino, mlas (ONNX Runtime's own: fp32 and int8) or packed (the GPU's graph, to check it: fp32 and fp16)
    #[arg(long, default_value = "auto", value_name = "PROVIDER")]
    pub provider: ProviderChoice,
    /// Threads of the encoder and of the tokenizer [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Encoder sessions that share the threads, or of each GPU [default: what `bertline tune` found, else 1 or 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub sessions: Option<u16>,
    /// Tokens of a micro-batch, with its padding where there is any [default: what `bertline tune` found, else by provider]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub token_budget: Option<u32>,
}

impl DeviceOptions {
    /// The same for the encoder.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            precision: self.precision.unwrap_or_default(),
            device: self.device,
            provider: self.provider,
            threads: self.threads.map(usize::from),
            sessions: self.sessions.map(usize::from),
            token_budget: self.token_budget.map(|budget| budget as usize),
            ready_made: false,
            large: false,
        }
    }
}

/// The texts that the encoder is tried on.
#[derive(Args, Clone, Debug)]
pub struct SampleOptions {
    /// Texts to try it on: a file, folder or glob [default: built-in reviews of IMDB's lengths]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub texts: Vec<String>,
    /// Column that holds the text [default: found by its usual names]
    #[arg(long, value_name = "COLUMN", requires = "texts")]
    pub text_column: Option<String>,
}

/// `bertline tune`
#[derive(Args, Clone, Debug)]
pub struct TuneOptions {
    /// Encoder: a known name, a hub id, or a folder
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub model: String,
    /// Tokens of a text that the encoder sees, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=8192))]
    pub max_length: u32,
    /// Threads to tune for [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// What to take for it
    #[command(flatten)]
    pub sample: SampleOptions,
}

/// `bertline verify`
#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// Encoder: a known name, a hub id, or a folder [default: the head's, else all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// Tokens of a text that the encoder sees, specials included (a head's own where there is a head)
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=8192))]
    pub max_length: u32,
    /// What to take for it
    #[command(flatten)]
    pub sample: SampleOptions,
    /// Texts at most
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// A head bundle, to count the labels that would change
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub head: Option<PathBuf>,
    /// Look at one precision alone: fp32, bf16, int8, or fp16 (a GPU's graph, on the CPU by the CPU's kernels)
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Precision>,
    /// Look at the vectors of: auto (the CPU), cpu, cuda or cuda:N,N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// The most threads to compare with [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Cosine that the worst text must keep [default: 0.99999 in fp32, 0.9999 in bf16, 0.999 in fp16, 0.99 in int8]
    #[arg(long, value_name = "COSINE")]
    pub worst: Option<f64>,
    /// Mean cosine to keep [default: 0.99999 in fp32, 0.9999 in bf16, 0.999 in fp16, 0.9985 in int8]
    #[arg(long, value_name = "COSINE")]
    pub mean: Option<f64>,
}

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
    pub(super) fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }

    /// What becomes its vector.
    pub(super) fn readout(&self) -> Readout {
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

/// `bertline predict`
#[derive(Args, Clone, Debug)]
pub struct PredictOptions {
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub head: PathBuf,
    /// Texts to judge [default: standard input, one text a line]
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Encoder, if it is no longer where the head's bundle says
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
}

/// `bertline export`
#[derive(Args, Clone, Debug)]
pub struct ExportOptions {
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub head: PathBuf,
    /// ONNX file to write; tokenizer.json goes beside it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// Encoder, if it is no longer where the head's bundle says: a name or a folder; it must be the same encoder
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// Replace the files if they are there
    #[arg(long)]
    pub overwrite: bool,
}

/// `bertline tokenize`
#[derive(Args, Clone, Debug)]
pub struct TokenizeOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Encoder whose tokenizer it is: a known name, a hub id such as org/name[@revision], or a folder with tokenizer.json
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub model: String,
    /// Ids that a text keeps, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=8192))]
    pub max_length: u32,
    /// What is kept of a longer text: head, tail, or head-tail (a quarter from its beginning, the rest from its end)
    #[arg(long, default_value = "head", value_name = "WHICH")]
    pub truncation: Truncation,
    /// Threads of the tokenizer [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl TokenizeOptions {
    /// The tokens of a text that are read.
    pub(super) fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }
}
