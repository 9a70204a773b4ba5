//! What can be typed: the commands, and the flags that all of them take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

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
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub general: General,
    /// Print the version
    #[arg(long, short = 'V', action = ArgAction::Version)]
    version: Option<bool>,
}

/// What every command takes. The help flag is among them because clap's own would stand before all headings.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "General")]
pub(super) struct General {
    /// Say nothing but warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print this help; --help says more than -h
    #[arg(long, short, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

impl General {
    pub(super) fn terminal(self) -> Terminal {
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
#[command(disable_help_flag = true)]
pub(super) struct TrainCli {
    #[command(flatten)]
    pub options: TrainOptions,
    #[command(flatten)]
    pub general: General,
}

#[cfg(test)]
mod tests {
    use clap::{Command as Built, CommandFactory as _};

    use super::*;

    /// Commands with so many flags that they are printed in groups.
    const GROUPED: [&str; 10] =
        ["ingest", "embed", "train", "score", "evaluate", "predict", "export", "tokenize", "tune", "verify"];

    /// The headings of a command's flags, in the order of the help, with the flags under each.
    fn headings(command: &Built) -> Vec<(String, Vec<String>)> {
        let mut headings: Vec<(String, Vec<String>)> = Vec::new();
        for flag in command.get_arguments().filter(|argument| !argument.is_positional()) {
            let heading = flag.get_help_heading().unwrap_or_default();
            if !headings.iter().any(|(known, _)| known == heading) {
                headings.push((heading.to_owned(), Vec::new()));
            }
            let under = headings.iter_mut().find(|(known, _)| known == heading);
            under.unwrap().1.push(flag.get_long().unwrap().to_owned());
        }
        headings
    }

    #[test]
    fn the_flags_of_every_stage_are_under_headings() {
        let mut cli = Cli::command();
        cli.build();
        for name in GROUPED {
            let headings = headings(cli.find_subcommand(name).unwrap());
            assert!(headings.iter().all(|(heading, _)| !heading.is_empty()), "{name}: {headings:?}");
            assert!(headings.last().is_some_and(|(heading, _)| heading == "General"), "{name}: {headings:?}");
        }
        let listed = |name| {
            let lines = headings(cli.find_subcommand(name).unwrap()).into_iter();
            lines.map(|(heading, flags)| format!("{heading}: {}\n", flags.join(" "))).collect::<String>()
        };
        insta::assert_snapshot!(listed("embed"), @"
        Input: text-column label-column format no-header encoding clean limit require-label
        Model: model max-length truncation pooling layers
        Device: precision device provider threads sessions token-budget
        Output: out overwrite cache
        Limits: unit-bytes memory max-rejects max-reject-share
        General: quiet json help
        ");
        insta::assert_snapshot!(listed("train"), @"
        Input: validation
        Recipe: recipe epochs learning-rate batch-size hidden dropout val-fraction seed sweep
        Evaluation: folds repeats target-precision
        Device: device memory
        Output: out overwrite
        General: quiet json help
        ");
    }

    #[test]
    fn the_short_help_has_a_line_for_each_flag_where_there_is_room() {
        let mut cli = Cli::command();
        cli.build();
        for name in GROUPED {
            for argument in cli.find_subcommand(name).unwrap().get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && help.len() <= 80, "{name}: {help}");
            }
        }
    }
}
