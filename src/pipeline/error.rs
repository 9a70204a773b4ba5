//! What can stop a stage or a pipeline: the rooms' errors, and those of putting them together.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of the pipeline room.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// More rows were rejected than the budget allows.
    #[error(
        "{rows} of {rows_in} rows were rejected ({percent} %), more than {limit} allows: {reasons}; look at them with \
         `bertline show {}`, then mend the input or allow more, and start the same command again: what is done stays",
        out.display()
    )]
    Rejects {
        /// The output folder.
        out: PathBuf,
        /// Rows that count as rejected.
        rows: u64,
        /// Rows of the input so far.
        rows_in: u64,
        /// The share.
        percent: String,
        /// The flag that is exceeded, with its value.
        limit: String,
        /// All reasons with their rows.
        reasons: String,
    },
    /// Reading the input failed.
    #[error(transparent)]
    Ingest(#[from] crate::ingest::Error),
    /// Getting the model failed.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// The encoder failed.
    #[error(transparent)]
    Encode(#[from] crate::encode::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenize(#[from] crate::tokenize::Error),
    /// The head failed.
    #[error(transparent)]
    Head(#[from] crate::head::Error),
    /// A unit failed.
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    /// An output folder or cached dataset failed.
    #[error(transparent)]
    Cache(#[from] crate::cache::Error),
    /// The inputs hold no record.
    #[error("the input holds no records ({inputs}); nothing to {stage}")]
    NoRows {
        /// The inputs as given.
        inputs: String,
        /// The stage.
        stage: &'static str,
    },
    /// Texts to measure with could not be encoded.
    #[error("the encoder failed on a text of the sample: {reason}")]
    Sample {
        /// The provider's words.
        reason: String,
    },
    /// Nothing here computes in a precision.
    #[error(
        "nothing here computes in {precision}: bf16 needs a CPU that has it, int8 a calibration (`bertline embed --precision int8` makes one)"
    )]
    NothingToVerify {
        /// Its name.
        precision: String,
    },
    /// The head was trained on vectors of another encoder.
    #[error(
        "the head `{head}` was trained on another encoder: {differences}; score with the encoder that it was trained on (--model), or train a head on this one"
    )]
    OtherEncoder {
        /// The bundle's folder.
        head: PathBuf,
        /// Each difference.
        differences: String,
    },
    /// An embed output holds vectors that must not meet those of this run.
    #[error(
        "`{dir}` holds vectors of another encoder or numerics than this run: {differences}; embed the texts again as this run would, or leave --features out"
    )]
    OtherFeatures {
        /// The output folder.
        dir: PathBuf,
        /// Each difference.
        differences: String,
    },
    /// The file to export to is a folder.
    #[error("`{out}` is a folder; name the ONNX file to write, such as `{out}/model.onnx`")]
    ExportToFolder {
        /// The path.
        out: PathBuf,
    },
    /// A file to export to is there.
    #[error("`{path}` is there already; name another place with --out, or replace it with --overwrite")]
    ExportExists {
        /// The file.
        path: PathBuf,
    },
    /// An exported model has more bytes than a protobuf message may have.
    #[error("`{model}` makes an ONNX file of {bytes} bytes, and one may have 2 GiB at most")]
    TooLargeForOnnx {
        /// The encoder.
        model: String,
        /// The size.
        bytes: usize,
    },
    /// A file cannot be exported.
    #[error("cannot write `{path}`")]
    WriteExport {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `score --clean` contradicts the head.
    #[error(
        "--clean {asked} contradicts the head, which was trained on texts with --clean {trained}; leave the flag out"
    )]
    OtherCleaning {
        /// On the command line.
        asked: crate::ingest::Clean,
        /// In the bundle.
        trained: crate::ingest::Clean,
    },
    /// A column of a Parquet file holds something that is no text.
    #[error("column `{column}` of `{file}` is {kind}, which is no text; name another with --{flag}-column")]
    NotText {
        /// The column.
        column: String,
        /// The file.
        file: String,
        /// Its Arrow type.
        kind: String,
        /// `text` or `label`.
        flag: &'static str,
    },
    /// A column to keep is in no input.
    #[error("no input has a column `{column}` to keep; there are {columns}")]
    NoSuchKept {
        /// The column.
        column: String,
        /// The columns of all inputs.
        columns: String,
    },
    /// The labels do not make a training set.
    #[error(
        "`{inputs}` has no labelled rows; embed it again with --label-column, or from a folder whose names say the labels"
    )]
    NoLabels {
        /// The inputs as given.
        inputs: String,
    },
    /// The validation set has labels that the training set lacks.
    #[error("`{dir}` has the label `{label}`, which the training rows do not have; they have {known}")]
    UnknownLabel {
        /// The validation set.
        dir: PathBuf,
        /// The label.
        label: String,
        /// Labels of the training set.
        known: String,
    },
    /// No row can be judged.
    #[error(
        "`{inputs}` has no row to judge the head on ({found}); its labels are `{known}`: name the column of the true label with --label-column"
    )]
    NothingToJudge {
        /// The inputs as given.
        inputs: String,
        /// What its rows lack.
        found: String,
        /// The head's labels.
        known: String,
    },
    /// Predictions are another head's.
    #[error(
        "`{dir}` was scored by another head (digest {found}, this one has {expected}); give that one with --head, or score again"
    )]
    OtherHead {
        /// The output of `score`.
        dir: PathBuf,
        /// The digest of the head that scored it.
        found: String,
        /// The digest of the head that is to be judged.
        expected: String,
    },
    /// Predictions without the truth.
    #[error("`{dir}` has no true labels; score again with --label-column")]
    NoTruth {
        /// The output of `score`.
        dir: PathBuf,
    },
    /// A head is trained where libtorch is.
    #[error("this program trains no head: the plan of `train` is run by `bertline-train`, which is linked to libtorch")]
    TrainsElsewhere,
    /// An async runtime could not be made.
    #[error("cannot start the worker threads")]
    Runtime(#[source] std::io::Error),
    /// A pipeline file cannot be read.
    #[error("cannot read the pipeline file `{path}`")]
    ReadSpec {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A pipeline file is wrong; every problem is named.
    #[error("`{path}` is not a valid pipeline:\n  {problems}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// One problem a line.
        problems: String,
    },
    /// A path is nothing that can be shown.
    #[error("`{path}` cannot be shown: {why}")]
    NotShown {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Whether the command line is at fault (exit code 2) rather than data or environment (1).
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Error::Ingest(error) => error.is_usage(),
            Error::Model(error) => error.is_usage(),
            Error::Encode(error) => error.is_usage(),
            Error::Tokenize(error) => error.is_usage(),
            Error::Head(error) => error.is_usage(),
            Error::Engine(error) => error.is_usage(),
            Error::Cache(error) => error.is_usage(),
            Error::Spec { .. }
            | Error::OtherCleaning { .. }
            | Error::NotText { .. }
            | Error::NoSuchKept { .. }
            | Error::ExportToFolder { .. }
            | Error::ExportExists { .. } => true,
            _ => false,
        }
    }
}

/// Result of this room.
pub(crate) type Result<T> = std::result::Result<T, Error>;
