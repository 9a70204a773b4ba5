//! Classifier heads: trained with libtorch on cached features, kept as a bundle, applied without libtorch.
//!
//! A head is a few dense layers behind a frozen encoder, so training it costs seconds and can be repeated at will.
//! What leaves this room is plain arithmetic: [`Head`] holds weights and a forward pass in Rust, so that scoring never
//! loads libtorch. What trains one is a crate of its own, `bin/bertline-train`.
//!
//! ```text
//! Examples + Recipe --fit--> Trained { Head, TrainingReport } --Bundle::save--> bundle.json head.safetensors head.onnx
//!                                                                                     |
//!                              features --Head::probabilities--> rows x classes <--Bundle::load
//! ```

mod bundle;
mod error;
mod examples;
mod forward;
mod metrics;
#[cfg(test)]
mod noise;
mod numpy_random;
mod onnx;
mod recipe;
mod split;
mod swept;
mod weights;

pub use bundle::{BUNDLE_VERSION, Bundle, BundleEncoder, TrainingData};
pub use error::{Error, Result};
pub use examples::{Examples, InMemory, Vectors};
pub use forward::{Dense, Head};
pub use metrics::{EpochMetrics, Metrics, TrainingReport, evaluate};
pub(crate) use onnx::put_behind;
pub use recipe::{Overrides, Recipe, RecipeName, SplitBy};
pub use split::{Split, folds, split};
pub(crate) use swept::sweep_grid;
pub use swept::{Sweeper, Swept};

/// A trained head and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The head of the best epoch.
    pub head: Head,
    /// Recipe, rows, epochs and the kept head's figures.
    pub report: TrainingReport,
    /// What the head of the best epoch (before any refit) said of the rows that it was validated on.
    pub held_out: HeldOut,
}

/// Answers on rows that were not trained on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldOut {
    /// Which rows, of the examples or of the validation set where one was given.
    pub rows: Vec<usize>,
    /// Their class probabilities, row-major `[rows, classes]`.
    pub probabilities: Vec<f32>,
}

/// What a trainer tells while it works.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// How far it is.
    Step(Step),
    /// An epoch has ended.
    Epoch(&'a EpochMetrics),
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whether this is the training on all rows, after the one that told the number of epochs.
    pub refit: bool,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Rows of the epoch that are done.
    pub rows_done: usize,
    /// Rows of an epoch.
    pub rows: usize,
}

/// Trains a head: examples, validation set if there is one apart, recipe, and who hears how it goes.
pub type Trainer = fn(&Examples<'_>, Option<&Examples<'_>>, &Recipe, &mut dyn FnMut(Progress<'_>)) -> Result<Trained>;

/// Gives what trains on a GPU by its number, or on the CPU.
pub type OnDevice = fn(Option<u32>) -> Result<Trainers>;

/// What of training needs libtorch.
#[derive(Debug, Clone, Copy)]
pub struct Trainers {
    /// Trains one head.
    pub train: Trainer,
    /// Trains many at once, to find the best recipe.
    pub sweep: Sweeper,
}
