//! Classifier heads: trained with libtorch on cached features, kept as a bundle, applied without libtorch.
//!
//! A head is a few dense layers behind a frozen encoder, so training it costs seconds and can be repeated at will.
//! What leaves this room is plain arithmetic: [`Head`] holds weights and a forward pass in Rust, so that scoring never
//! loads libtorch. What names `tch` is under the cargo feature `train`.
//!
//! ```text
//! Examples + Recipe --fit--> Trained { Head, TrainingReport } --Bundle::save--> bundle.json head.safetensors head.onnx
//!                                                                                     |
//!                              features --Head::probabilities--> rows x classes <--Bundle::load
//! ```

mod bundle;
mod error;
mod export;
mod forward;
mod metrics;
#[cfg(test)]
mod noise;
mod numpy_random;
mod onnx;
mod recipe;
mod split;
mod swept;

pub use bundle::{BUNDLE_VERSION, Bundle, BundleEncoder, TrainingData};
pub use error::{Error, Result};
pub use forward::{Dense, Head};
pub use metrics::{EpochMetrics, Metrics, TrainingReport, evaluate};
pub(crate) use onnx::put_behind;
pub use recipe::{Overrides, Recipe, RecipeName, SplitBy};
pub use split::{Split, folds, split, stratified_split};
pub use swept::{Sweeper, Swept, sweep_grid};

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

/// Trains a head: examples, validation set if there is one apart, recipe, and who hears of every epoch.
pub type Trainer = fn(&Examples<'_>, Option<&Examples<'_>>, &Recipe, &mut dyn FnMut(&EpochMetrics)) -> Result<Trained>;

/// What of training needs libtorch.
#[derive(Debug, Clone, Copy)]
pub struct Trainers {
    /// Trains one head.
    pub train: Trainer,
    /// Trains many at once, to find the best recipe.
    pub sweep: Sweeper,
}

/// Labelled feature rows, as `train` takes them.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// The vectors, row-major `[rows, width]`.
    pub features: &'a [f32],
    /// The length of one vector.
    pub width: usize,
    /// The class index of each row, below `classes`.
    pub labels: &'a [u32],
    /// How many classes there are, whether or not all of them occur here.
    pub classes: usize,
    /// Which text each row holds: rows of one number hold the same.
    pub texts: &'a [u32],
}

impl Examples<'_> {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Where the lengths disagree, a label is not a class or a vector holds NaN or an infinity.
    pub fn check(&self) -> Result<()> {
        if self.width == 0
            || self.features.len() != self.labels.len() * self.width
            || self.texts.len() != self.labels.len()
        {
            return Err(Error::FeatureShape {
                values: self.features.len(),
                rows: self.labels.len(),
                width: self.width,
            });
        }
        if let Some((row, &label)) = self.labels.iter().enumerate().find(|(_, label)| **label as usize >= self.classes)
        {
            return Err(Error::LabelRange { row, label, classes: self.classes });
        }
        if let Some(index) = self.features.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { row: index / self.width, column: index % self.width });
        }
        Ok(())
    }
}
