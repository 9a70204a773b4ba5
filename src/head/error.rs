//! Everything that can go wrong in this room, one variant a site.
//!
//! Usage errors (a recipe or a data set that cannot be trained on as asked) are told apart from damaged files and
//! failures of libtorch, because scripts retry the one kind and not the other.

use std::path::PathBuf;

/// What training, saving, loading or applying a head can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe's value is out of its range.
    #[error("`{name}` is {value}; it has to be {expected}")]
    RecipeValue {
        /// The setting, named as its flag.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The number of values is not rows times width.
    #[error("{values} feature values are not {rows} rows of {width}")]
    FeatureShape {
        /// How many values there are.
        values: usize,
        /// How many labels there are.
        rows: usize,
        /// The length of a row.
        width: usize,
    },
    /// A label is not the index of a class.
    #[error("row {row} has class {label}, but there are {classes} classes")]
    LabelRange {
        /// The row, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A sweep wants all vectors in memory.
    #[error(
        "--sweep needs all features in memory, and they take more than --memory allows: raise it, or train on fewer"
    )]
    SweepInParts,
    /// The threads of a training cannot be started.
    #[error("cannot start the threads that train")]
    Threads(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch has no CUDA part in this process.
    #[error(
        "the CUDA part of libtorch is not loaded; run `make deps-cuda-train`, and train by `bertline train`, which loads it"
    )]
    NoCudaPart,
    /// libtorch cannot compute on a GPU.
    #[error(
        "libtorch cannot train on GPU {number} (it sees {found}): {reason}; leave `--device` out to train on the CPU"
    )]
    NoGpu {
        /// The number of the GPU.
        number: usize,
        /// How many there are.
        found: i64,
        /// libtorch's own account.
        reason: String,
    },
    /// Training takes one GPU.
    #[error("`train` computes on one GPU, and --device names {count}; name one of them")]
    SeveralGpus {
        /// How many were named.
        count: usize,
    },
    /// The vectors of a part cannot be read.
    #[error(transparent)]
    Vectors(Box<dyn std::error::Error + Send + Sync>),
    /// A vector holds NaN or an infinity.
    #[error("the vector of row {row} is not finite at position {column}; embed this input again")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The position in the vector, from 0.
        column: usize,
    },
    /// Fewer than two classes occur.
    #[error(
        "training needs at least two classes with two examples each, and these {rows} rows hold {found}; check the label column"
    )]
    TooFewClasses {
        /// How many rows there are.
        rows: usize,
        /// How many classes have two examples or more.
        found: usize,
    },
    /// One side of the split would not hold every class.
    #[error(
        "a validation fraction of {fraction} leaves {train} rows to train on and {validation} to validate on, too few for {classes} classes; change `--val-fraction` or give `--validation`"
    )]
    SplitTooSmall {
        /// The fraction as given.
        fraction: f64,
        /// Rows left for training.
        train: usize,
        /// Rows left for validation.
        validation: usize,
        /// Classes with two examples or more.
        classes: usize,
    },
    /// The validation set does not look like the training set.
    #[error(
        "the validation set has vectors of {width} and {classes} classes, the training set of {expected_width} and {expected_classes}; embed both with one model and label them alike"
    )]
    ValidationMismatch {
        /// The validation set's width.
        width: usize,
        /// The validation set's number of classes.
        classes: usize,
        /// The training set's width.
        expected_width: usize,
        /// The training set's number of classes.
        expected_classes: usize,
    },
    /// The validation set holds nothing.
    #[error("the validation set holds no rows; leave `--validation` out to split one off")]
    EmptyValidation,
    /// The loss is no number any more.
    #[error("the loss of epoch {epoch} is not finite; lower `--learning-rate` (it is {learning_rate})")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rate as given.
        learning_rate: f64,
    },
    /// A libtorch call failed.
    #[error("libtorch failed to {action}")]
    Torch {
        /// What was being done.
        action: &'static str,
        /// libtorch's own account.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the bundle cannot be read or written.
    #[error("cannot {action} the head bundle")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Names the path.
        #[source]
        source: std::io::Error,
    },
    /// A folder is not a head bundle.
    #[error("`{}` holds no `bundle.json`, so it is not a head bundle; `bertline train --out` writes one", .dir.display())]
    NotABundle {
        /// The folder.
        dir: PathBuf,
    },
    /// The bundle file is not what this version writes.
    #[error("`{}` is not a head bundle's description", .path.display())]
    BundleSyntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The bundle was written by another format version.
    #[error("`{}` has format version {found}, and this bertline reads up to version {expected}; train the head again or use the bertline that wrote it", .path.display())]
    BundleVersion {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The version that can be read.
        expected: u32,
    },
    /// The weights are not those that the bundle describes.
    #[error("`{}` has digest `{found}`, and `bundle.json` beside it says `{expected}`; copy the whole bundle again or train again", .path.display())]
    DigestMismatch {
        /// The weights file.
        path: PathBuf,
        /// The digest of the bytes that are there.
        found: String,
        /// The digest that the bundle names.
        expected: String,
    },
    /// The weights cannot be read as safetensors.
    #[error("`{}` is not a safetensors file", .path.display())]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// Why.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The tensors do not make a head.
    #[error("the tensors of `{}` do not make a head: {reason}", .path.display())]
    WeightsShape {
        /// The weights file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The head's outputs are not the bundle's labels.
    #[error("`{}` names {labels} labels, and the head has {outputs} outputs", .path.display())]
    LabelCount {
        /// The bundle file.
        path: PathBuf,
        /// How many labels it names.
        labels: usize,
        /// How many outputs the head has.
        outputs: usize,
    },
    /// Logits cannot be divided by the temperature.
    #[error("`{}` has the temperature {found}; it has to be above 0", .path.display())]
    Temperature {
        /// The bundle file.
        path: PathBuf,
        /// The temperature.
        found: f64,
    },
    /// The weights cannot be written as safetensors.
    #[error("cannot write the head as safetensors")]
    Serialize(#[source] safetensors::SafeTensorError),
    /// The description cannot be written as JSON.
    #[error("cannot write the head bundle's description")]
    Describe(#[source] serde_json::Error),
}

impl Error {
    /// Whether what was asked for is at fault (exit code 2), not the data or the machine (exit code 1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::RecipeValue { .. }
                | Self::SplitTooSmall { .. }
                | Self::ValidationMismatch { .. }
                | Self::EmptyValidation
                | Self::SweepInParts
                | Self::SeveralGpus { .. }
                | Self::NotABundle { .. }
        )
    }
}

/// This room's result.
pub type Result<T> = std::result::Result<T, Error>;
