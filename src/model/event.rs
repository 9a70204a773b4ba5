//! What a pull tells while it runs.
//!
//! Rooms do not print; the command line draws a bar from the numbers or prints the sentences.

use std::fmt;
use std::path::PathBuf;

/// One step of getting a model. Its `Display` is a sentence for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Event {
    /// Another process pulls the same model; this one waits for it.
    Waiting {
        /// The model.
        model: String,
    },
    /// A source is asked now.
    Source {
        /// The model.
        model: String,
        /// The hub's address, or the PyPI package.
        source: String,
        /// Why not the source before it; `None` for the first.
        because: Option<String>,
    },
    /// Part of a file has come. Sent about once a mebibyte, and once when the file is whole.
    Progress {
        /// File name.
        file: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where the source says so.
        total: Option<u64>,
    },
    /// The model is in the cache and checked.
    Ready {
        /// The model.
        model: String,
        /// Its folder.
        dir: PathBuf,
        /// Where it came from.
        source: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { model } => write!(formatter, "model `{model}`: waiting for another process that pulls it"),
            Self::Source { model, source, because: None } => {
                write!(formatter, "model `{model}`: pulling from {source}")
            }
            Self::Source { model, source, because: Some(reason) } => {
                write!(formatter, "model `{model}`: pulling from {source} instead ({reason})")
            }
            Self::Progress { file, bytes, total: Some(total) } => {
                write!(formatter, "{file}: {:.1} of {:.1} MB", megabytes(*bytes), megabytes(*total))
            }
            Self::Progress { file, bytes, total: None } => write!(formatter, "{file}: {:.1} MB", megabytes(*bytes)),
            Self::Ready { model, dir, source } => {
                write!(formatter, "model `{model}`: in {} (from {source}, SHA-256 checked)", dir.display())
            }
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
