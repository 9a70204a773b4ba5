//! Options of the commands that answer at once or write a file.

use std::path::PathBuf;

use clap::{Args, ValueHint, value_parser};

use super::{DEVICE, INPUT, LIMITS, MODEL, OUTPUT, max_length, threads};
use super::{DeviceOptions, SampleOptions};
use crate::encode::{DeviceChoice, Precision};
use crate::ingest::ReadOptions;
use crate::tokenize::{Truncation, Window};

/// `bertline predict`
#[derive(Args, Clone, Debug)]
pub(crate) struct PredictOptions {
    /// Texts to judge [default: standard input, one text a line]
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = MODEL)]
    pub head: PathBuf,
    /// Encoder, if it is no longer where the head's bundle says
    #[arg(long, value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: Option<String>,
    /// What to run on
    #[command(flatten)]
    pub device: DeviceOptions,
}

/// `bertline export`
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportOptions {
    /// Head bundle, as `bertline train` leaves it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = MODEL)]
    pub head: PathBuf,
    /// Encoder, if it is no longer where the head's bundle says
    ///
    /// A name or a folder; it must be the same encoder.
    #[arg(long, value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: Option<String>,
    /// ONNX file to write; tokenizer.json goes beside it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = OUTPUT)]
    pub out: PathBuf,
    /// Replace the files if they are there
    #[arg(long, help_heading = OUTPUT)]
    pub overwrite: bool,
}

/// `bertline tokenize`
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenizeOptions {
    /// What to read
    #[command(flatten)]
    pub read: ReadOptions,
    /// Encoder whose tokenizer it is: a known name, a hub id, or a folder
    ///
    /// A hub id is org/name[@revision]; a folder has tokenizer.json.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: String,
    /// Ids that a text keeps, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = max_length(), help_heading = MODEL)]
    pub max_length: u32,
    /// What is kept of a longer text
    #[arg(long, default_value = "head", value_name = "WHICH", help_heading = MODEL)]
    pub truncation: Truncation,
    /// Threads of the tokenizer [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = DEVICE)]
    pub threads: Option<u16>,
}

impl TokenizeOptions {
    /// The tokens of a text that are read.
    pub(in crate::pipeline) fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }
}

/// `bertline tune`
#[derive(Args, Clone, Debug)]
pub(crate) struct TuneOptions {
    /// What to take for it
    #[command(flatten)]
    pub sample: SampleOptions,
    /// Encoder: a known name, a hub id, or a folder
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: String,
    /// Tokens of a text that the encoder sees, specials included
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = max_length(), help_heading = MODEL)]
    pub max_length: u32,
    /// Threads to tune for [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = DEVICE)]
    pub threads: Option<u16>,
}

/// `bertline verify`
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyOptions {
    /// What to take for it
    #[command(flatten)]
    pub sample: SampleOptions,
    /// Texts at most
    #[arg(
        long, default_value_t = 64, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000),
        help_heading = INPUT
    )]
    pub limit: u32,
    /// Encoder: a known name, a hub id, or a folder
    ///
    /// [default: the head's, else all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR", help_heading = MODEL)]
    pub model: Option<String>,
    /// A head bundle, to count the labels that would change
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = MODEL)]
    pub head: Option<PathBuf>,
    /// Tokens of a text that the encoder sees, specials included
    ///
    /// A head's own where there is a head.
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = max_length(), help_heading = MODEL)]
    pub max_length: u32,
    /// Look at one precision alone
    #[arg(long, value_name = "PRECISION", help_heading = DEVICE)]
    pub precision: Option<Precision>,
    /// Look at the vectors of: auto (the CPU), cpu, cuda or cuda:N,N
    #[arg(long, default_value = "auto", value_name = "DEVICE", help_heading = DEVICE)]
    pub device: DeviceChoice,
    /// The most threads to compare with [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = DEVICE)]
    pub threads: Option<u16>,
    /// Cosine that the worst text must keep [default: by precision]
    ///
    /// 0.99999 in fp32, 0.9999 in bf16, 0.999 in fp16, 0.99 in int8.
    #[arg(long, value_name = "COSINE", help_heading = LIMITS)]
    pub worst: Option<f64>,
    /// Mean cosine to keep [default: by precision]
    ///
    /// 0.99999 in fp32, 0.9999 in bf16, 0.999 in fp16, 0.9985 in int8.
    #[arg(long, value_name = "COSINE", help_heading = LIMITS)]
    pub mean: Option<f64>,
}
