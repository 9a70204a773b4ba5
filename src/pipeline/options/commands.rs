//! Options of the commands that answer at once or write a file.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{DeviceOptions, ReadOptions, SampleOptions};
use crate::encode::{DeviceChoice, Precision};
use crate::tokenize::{Truncation, Window};

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
    pub(in crate::pipeline) fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }
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
