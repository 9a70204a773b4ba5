//! What can go wrong with an output folder or a cached dataset.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of the cache room; each message names the file or folder and the way out.
#[derive(Debug, Error)]
pub enum Error {
    /// The output folder holds files that bertline did not write.
    #[error("`{dir}` already holds something else ({found}); choose an empty folder for --out")]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// One of the things found in it.
        found: String,
    },
    /// The output folder was made by another run.
    #[error(
        "`{dir}` holds the output of another run: {differences}; choose another --out, or start over with --overwrite"
    )]
    OtherRun {
        /// The folder.
        dir: PathBuf,
        /// Each difference.
        differences: String,
    },
    /// The output folder is an input, or holds one.
    #[error("`{dir}` is or holds the input `{input}`, which the output would replace; choose another --out")]
    HoldsInput {
        /// The output folder.
        dir: PathBuf,
        /// The input.
        input: PathBuf,
    },
    /// A finished output has lost its manifest.
    #[error("`{dir}` has a run.json, but its manifest.jsonl is gone or empty; start over with --overwrite")]
    NoManifest {
        /// The folder.
        dir: PathBuf,
    },
    /// A committed part is gone, or no longer what was committed.
    #[error("`{path}` is gone or was changed after it was committed; start over with --overwrite")]
    PartChanged {
        /// The part.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("`{dir}` is in use by another bertline process (pid {pid}); wait for it, or choose another --out")]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The holder.
        pid: String,
    },
    /// A line of a manifest cannot be read.
    #[error("`{path}` is damaged at line {line}; start over with --overwrite")]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The folder is not the output of the stage that is wanted.
    #[error("`{dir}` is not the output of `bertline {wanted}`: it has no {missing}")]
    NotOutput {
        /// The folder.
        dir: PathBuf,
        /// The stage whose output is wanted.
        wanted: String,
        /// What is missing.
        missing: String,
    },
    /// The run that made the folder did not finish.
    #[error("`{dir}` is incomplete; run the command that made it again to finish it")]
    Incomplete {
        /// The folder.
        dir: PathBuf,
    },
    /// Two embedding datasets cannot be used together.
    #[error("`{a}` and `{b}` hold embeddings that must not be mixed: {differences}")]
    Mixed {
        /// The first folder.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// Each difference.
        differences: String,
    },
    /// A row names a key that no features part holds.
    #[error(
        "`{path}` names the text {key}, but no features part of that folder holds it; embed again with --overwrite"
    )]
    MissingKey {
        /// The rows part.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A part says another encoder or numerics than its run.
    #[error("`{path}` was made by {found}, but its folder's run says {expected}; embed again with --overwrite")]
    PartIdentity {
        /// The part.
        path: PathBuf,
        /// In the part's metadata.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// A part has another number of rows than the manifest says.
    #[error("`{path}` has {found} rows, the manifest says {expected}; embed again with --overwrite")]
    PartRows {
        /// The part.
        path: PathBuf,
        /// In the part.
        found: u64,
        /// In the manifest.
        expected: u64,
    },
    /// A folder given as a store holds other things.
    #[error("`{dir}` is no bertline cache and holds something else (`{found}`); choose an empty folder for --cache")]
    NotStore {
        /// The folder.
        dir: PathBuf,
        /// One of the things found in it.
        found: String,
    },
    /// A folder is no store.
    #[error("`{dir}` is no bertline cache: it has no store.json; `--cache {dir}` of embed or score makes one")]
    NoStore {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder is nothing that can be verified.
    #[error("`{dir}` is neither a bertline cache (no store.json) nor a stage's output (no manifest.jsonl)")]
    NeitherStoreNorOutput {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder of a store says that it is of another encoder.
    #[error(
        "`{folder}` holds vectors of {found}, its name says {expected}; remove the folder, or choose another --cache"
    )]
    StoreEncoder {
        /// The folder.
        folder: PathBuf,
        /// In its `encoder.json`.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A small file of a store cannot be read.
    #[error("`{path}` is damaged; remove its folder, or choose another --cache")]
    StoreFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A store of a format that this version does not know.
    #[error(
        "`{path}` says that the cache is of format {found}, and this bertline reads {known}; choose another --cache"
    )]
    StoreFormat {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: String,
        /// The format that is known.
        known: u32,
    },
    /// A run is using a folder of the store.
    #[error("`{folder}` is in use by another bertline process; try again when it is done")]
    StoreInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Vectors have another width than the encoder makes.
    #[error("`{path}` holds vectors of {found} values, the encoder makes {expected}")]
    VectorWidth {
        /// The part.
        path: PathBuf,
        /// In the part.
        found: usize,
        /// Of the encoder.
        expected: usize,
    },
    /// A dataset does not keep its contract.
    #[error(transparent)]
    Schema(#[from] crate::schema::Error),
    /// The file system refused; the cause names the path.
    #[error("cannot write or read an output folder")]
    Io(#[from] std::io::Error),
    /// A Parquet file cannot be read or written.
    #[error("cannot read or write the parquet file `{path}`")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A fault that does not exist was asked for.
    #[error(transparent)]
    UnknownFault(#[from] crate::files::UnknownFault),
    /// A unit that owned texts failed, so units that wait for it cannot go on.
    #[error("an earlier unit failed")]
    OwnerFailed,
}

impl Error {
    /// Whether the command line is at fault (exit code 2) rather than data or environment (1).
    pub fn is_usage(&self) -> bool {
        matches!(self, Error::HoldsInput { .. } | Error::UnknownFault(_))
    }
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;
