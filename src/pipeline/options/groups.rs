//! Options that several commands share.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueHint, value_parser};

use super::{DEVICE, INPUT, LIMITS, OUTPUT, threads};
use crate::encode::{DeviceChoice, PrecisionChoice, ProviderChoice, Wanted};

/// How the work is cut, and how much of it may be rejected.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = LIMITS)]
pub(crate) struct UnitOptions {
    /// Text of a unit of work
    ///
    /// A unit is committed in one go: with smaller ones less is lost when a run is killed.
    #[arg(long, default_value = "2MiB", value_name = "SIZE", value_parser = unit_bytes)]
    pub unit_bytes: u64,
    /// Memory for the units in flight
    ///
    /// Three of them at most, and three more for each GPU. The encoder and 24 bytes a distinct text come on top, and
    /// one unit alone may take more.
    #[arg(long, default_value = "512MiB", value_name = "SIZE", value_parser = size)]
    pub memory: u64,
    /// Fail where more rows than this are rejected
    ///
    /// Rows without text do not count.
    #[arg(long, value_name = "N")]
    pub max_rejects: Option<u64>,
    /// Fail where more than this share of the rows is rejected
    ///
    /// Rows without text do not count.
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
pub(crate) fn size(given: &str) -> Result<u64, String> {
    let size: ByteSize = given.parse().map_err(|_| "not a size such as 512KiB, 2MiB or 64GB".to_owned())?;
    Ok(size.as_u64())
}

pub(super) fn share(given: &str) -> Result<f64, String> {
    let share = given.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a share between 0 and 1".to_owned())
}

/// Where a stage's output goes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct OutOptions {
    /// Folder for the output
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Start over if the folder holds the output of an earlier run
    #[arg(long)]
    pub overwrite: bool,
}

/// What is shared between runs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct CacheOptions {
    /// Store of vectors to take from and to add to
    ///
    /// Texts that were encoded before are taken from it, and new ones are added; see `bertline cache`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cache: Option<PathBuf>,
}

/// What the encoder runs on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = DEVICE)]
pub(crate) struct DeviceOptions {
    /// Arithmetic of the encoder [default: the head's where there is one, else auto]
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<PrecisionChoice>,
    /// Where the encoder runs: auto (the CPU), cpu, cuda or cuda:N,N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Kernels of the encoder on the CPU
    #[arg(long, default_value = "auto", value_name = "PROVIDER")]
    pub provider: ProviderChoice,
    /// Threads of the encoder and of the tokenizer [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<u16>,
    /// Encoder sessions that share the threads, or of each GPU
    ///
    /// [default: what `bertline tune` found, else 1 or 2]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub sessions: Option<u16>,
    /// Tokens of a micro-batch, with its padding where there is any
    ///
    /// [default: what `bertline tune` found, else by provider]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(8..=1_048_576))]
    pub token_budget: Option<u32>,
}

impl DeviceOptions {
    /// The same for the encoder.
    pub(in crate::pipeline) fn wanted(&self) -> Wanted {
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
#[command(next_help_heading = INPUT)]
pub(crate) struct SampleOptions {
    /// Texts to try it on: a file, folder or glob
    ///
    /// [default: built-in reviews of IMDB's lengths]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub texts: Vec<String>,
    /// Column that holds the text [default: found by its usual names]
    #[arg(long, value_name = "COLUMN", requires = "texts")]
    pub text_column: Option<String>,
}
