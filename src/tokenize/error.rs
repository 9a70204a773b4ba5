//! What can go wrong between a model folder's `tokenizer.json` and token ids.

use std::path::PathBuf;

/// A failure of the tokenizer; every variant names the file or the setting at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or unreadable.
    #[error("cannot read the tokenizer `{path}`")]
    Read {
        /// The `tokenizer.json` asked for.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not JSON: truncated or corrupt.
    #[error("`{path}` is not a tokenizer: it is corrupt or cut short; fetch the model again")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The file is JSON, but not a form of tokenizer that the library can upgrade.
    #[error("`{path}` cannot be brought into the current tokenizer format")]
    Upgrade {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: tokenizers::ConvertError,
    },
    /// The file describes something that this build cannot run, or nothing at all.
    #[error("`{path}` is not a usable WordPiece tokenizer: {reason}")]
    Build {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        reason: String,
    },
    /// The post-processor does not put its special tokens around the text.
    #[error("`{path}` does not wrap a text in special tokens ([CLS] ... [SEP]); bertline needs a BERT tokenizer")]
    NoSpecials {
        /// The file.
        path: PathBuf,
    },
    /// No room for a single token between the specials.
    #[error("max_length {max_length} is too small: {specials} special tokens and one of the text need {least}")]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// How many special tokens the tokenizer adds.
        specials: usize,
        /// The smallest length that works.
        least: usize,
    },
    /// A truncation that Hugging Face's tokenizers do not have.
    #[error(
        "a tokenizer.json cannot say --truncation {truncation}, only head and tail: export a head that was trained on these"
    )]
    NoSuchCut {
        /// The truncation.
        truncation: super::Truncation,
    },
    /// Nothing that rows can be filled up with.
    #[error("`{path}` has no token for padding ([PAD] or <pad>)")]
    NoPadding {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused the worker threads.
    #[error("cannot start {threads} tokenizer threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

impl Error {
    /// Whether the user asked for something impossible (exit code 2), rather than the data or the machine failing.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::MaxLength { .. } | Self::NoSuchCut { .. })
    }
}

/// The result of this room's functions.
pub type Result<T> = std::result::Result<T, Error>;
