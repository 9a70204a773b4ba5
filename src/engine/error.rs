//! What can go wrong while a unit runs.

use std::path::PathBuf;

use datafusion_common::DataFusionError;
use thiserror::Error;

/// Errors of the engine room.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A Parquet file cannot be opened or its footer is not one.
    #[error("cannot read the parquet file `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A unit's plan failed.
    #[error("cannot process `{source_file}`")]
    Unit {
        /// The file that the unit reads.
        source_file: String,
        /// Why: our own error where an operator of ours failed, else DataFusion's.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A plan could not be made.
    #[error("cannot plan the scan of `{source_file}`")]
    Plan {
        /// The file that the unit reads.
        source_file: String,
        /// Why.
        #[source]
        source: DataFusionError,
    },
    /// Rows went missing or appeared: a bug, caught before anything counts.
    #[error(
        "`{source_file}`: {rows_in} rows in, but {rows_out} out and {rows_rejected} rejected; nothing of this unit was kept, please report this"
    )]
    RowsLost {
        /// The file that the unit reads.
        source_file: String,
        /// Records of the unit.
        rows_in: u64,
        /// Rows written.
        rows_out: u64,
        /// Rows rejected.
        rows_rejected: u64,
    },
    /// The output folder failed.
    #[error(transparent)]
    Cache(#[from] crate::cache::Error),
    /// Reading the input failed.
    #[error(transparent)]
    Ingest(#[from] crate::ingest::Error),
    /// The file system refused.
    #[error("cannot read or write a file of the run")]
    Io(#[from] std::io::Error),
    /// A file of the input is no longer what it was when the run began.
    #[error(
        "`{name}` changed while the run read it; start the same command again: only what has changed is done again"
    )]
    InputChanged {
        /// The file.
        name: String,
    },
    /// The same rows came twice: their unit has been committed already.
    #[error("`{source_file}` was found twice in the input; name each file or folder once")]
    UnitTwice {
        /// The file that the unit reads.
        source_file: String,
    },
    /// The run was interrupted by a signal.
    #[error("interrupted; {units} units are committed and stay, start the same command again to go on")]
    Interrupted {
        /// Units that the manifest names.
        units: usize,
    },
    /// A worker ended without an answer.
    #[error("a worker thread ended unexpectedly; please report this")]
    WorkerLost,
}

impl Error {
    /// A unit's failure, with what DataFusion wrapped around the cause taken off.
    pub(crate) fn unit(source_file: &str, error: DataFusionError) -> Error {
        let source = match error {
            DataFusionError::External(inner) => inner,
            other => Box::new(other),
        };
        Error::Unit { source_file: source_file.to_owned(), source }
    }

    /// Whether the command line is at fault (exit code 2) rather than data or environment (1).
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Error::Ingest(error) => error.is_usage(),
            Error::Cache(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// Result of this room.
pub(crate) type Result<T> = std::result::Result<T, Error>;
