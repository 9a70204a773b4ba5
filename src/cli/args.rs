//! What can be typed: the commands, and the flags that all of them take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueHint};

use super::age;
use crate::pipeline::{PredictOptions, Stage, TokenizeOptions, TrainOptions, TuneOptions, VerifyOptions};
use crate::telemetry::Terminal;

const AFTER: &str = "\
Examples:
  bertline embed reviews/ --out features           a folder of reviews, whatever is in it
  bertline train features --out head               a classifier on the cached features
  bertline score new.parquet --head head --out scored
  bertline predict --head head \"a fine little film\"
  bertline run pipelines/imdb-sentiment.toml       all of it, from a file

Exit codes: 0 done, 1 data or environment, 2 usage, 130 interrupted.";

/// Turns piles of reviews into scored data with a frozen BERT encoder.
#[derive(Debug, Parser)]
#[command(name = "bertline", version, about, after_help = AFTER, max_term_width = 110)]
pub(super) struct Cli {
    /// Say nothing but warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    pub(super) fn terminal(&self) -> Terminal {
        Terminal { quiet: self.quiet, json: self.json }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Stage(Stage),
    /// Judge a few texts at once
    #[command(after_help = "Examples:\n  bertline predict --head head \"not bad at all\"\n  \
                            cut -f2 notes.tsv | bertline predict --head head --json")]
    Predict(PredictOptions),
    /// Print the token ids that the encoder would see, one JSON line a text, and the rate
    #[command(after_help = "Examples:\n  bertline tokenize reviews/ > ids.jsonl\n  \
                            bertline tokenize tweets.csv --max-length 64 --threads 1 | head")]
    Tokenize(TokenizeOptions),
    /// Run the stages of a pipeline file
    #[command(after_help = "Example:\n  bertline run pipelines/imdb-sentiment.toml --set embed-train.precision=bf16")]
    Run {
        /// The pipeline file
        #[arg(value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Change an option of a stage: stage.key=value
        #[arg(long, value_name = "STAGE.KEY=VALUE")]
        set: Vec<String>,
    },
    /// Show what a pipeline or a stage would do and cost, without doing it
    #[command(after_help = "Examples:\n  bertline explain pipelines/bulk-score.toml\n  \
                            bertline explain embed reviews/ --out features")]
    Explain {
        /// A pipeline file (and --set as in `run`), or a stage and its flags
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "PIPELINE | STAGE FLAGS"
        )]
        what: Vec<String>,
    },
    /// Show the first rows of any input, or of any stage's output
    #[command(after_help = "Examples:\n  bertline show reviews/\n  bertline show scored -n 20")]
    Show {
        /// A file, a folder of reviews, or a stage's output folder
        #[arg(value_hint = ValueHint::AnyPath)]
        path: String,
        /// Rows to show of each dataset
        #[arg(short = 'n', long = "rows", default_value_t = 5)]
        rows: usize,
    },
    /// List, pull and locate encoder models
    #[command(after_help = "Example:\n  bertline models pull all-MiniLM-L6-v2")]
    Models {
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// Measure what is fastest for a model on this machine, and keep it for later runs
    #[command(after_help = "Examples:\n  bertline tune\n  bertline tune --model bge-base/ --texts reviews/")]
    Tune(TuneOptions),
    /// Compare every precision, provider, micro-batch and thread count with fp32 alone; exit code 1 where a bound breaks
    #[command(after_help = "Examples:\n  bertline verify --texts reviews/ --head head\n  \
                            bertline verify --precision int8 --worst 0.995\n  \
                            bertline verify --device cuda")]
    Verify(VerifyOptions),
    /// Look after a store of vectors that runs share (`--cache DIR` of embed and score)
    #[command(after_help = "Examples:\n  bertline cache ls vectors/\n  bertline cache verify vectors/\n  \
                            bertline cache gc vectors/ --older-than 90d --max-bytes 50GB\n  bertline cache compact vectors/")]
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Say what was found: libraries, versions, providers, CPU features, devices, models
    #[command(after_help = "Example:\n  bertline doctor --json")]
    Doctor,
}

#[derive(Debug, Subcommand)]
pub(super) enum CacheAction {
    /// One line for each encoder and numerics: what is cached, and how much
    #[command(after_help = "Example:\n  bertline cache ls vectors/ --json")]
    Ls {
        /// The store
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Read every part and compare digests; prints damaged parts, exit code 1 where there are any
    #[command(after_help = "Examples:\n  bertline cache verify vectors/\n  bertline cache verify features")]
    Verify {
        /// A store, or the output folder of a stage
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Remove what was never sealed, damaged parts, and parts beyond an age or a size
    #[command(after_help = "Examples:\n  bertline cache gc vectors/\n  bertline cache gc vectors/ --max-bytes 50GB")]
    Gc {
        /// The store
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Remove parts that were written longer ago: 90d, 12h, 30m or 45s
        #[arg(long, value_name = "AGE", value_parser = age::age)]
        older_than: Option<Duration>,
        /// Remove the oldest parts until the store is no larger: 500MiB, 50GB or plain bytes
        #[arg(long, value_name = "SIZE", value_parser = crate::pipeline::size)]
        max_bytes: Option<u64>,
    },
    /// Put small parts together, each text once
    #[command(after_help = "Example:\n  bertline cache compact vectors/")]
    Compact {
        /// The store
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelsAction {
    /// The known models and those in the model cache
    List,
    /// Get a model into the model cache
    Pull {
        /// A known name, or a hub id: org/name[@revision]
        name: String,
    },
    /// Print the folder of a model that is in the model cache
    Path {
        /// A known name, or a hub id: org/name[@revision]
        name: String,
    },
}

/// The command line of `bertline-train`; `bertline train` hands on what was typed.
#[derive(Debug, Parser)]
#[command(name = "bertline train", version, about = "Train a classifier head on cached features")]
pub(super) struct TrainCli {
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the run report as JSON on standard output
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub options: TrainOptions,
}
