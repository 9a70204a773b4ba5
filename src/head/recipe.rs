//! Recipes: everything that decides which head comes out of given examples.
//!
//! A recipe is data. It is written into the bundle as it was run, so that a head can be made again. `article` is the
//! published recipe and stays as it is, weak or not; `default` is ours and may get better.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// The recipes that are known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// Chosen by evidence: a linear head on whitened features, stopped early and trained again on all rows.
    #[default]
    Default,
    /// As published: Linear-ReLU-dropout-Linear, AdamW 1e-5, 5 epochs.
    Article,
}

impl RecipeName {
    /// The recipe of this name.
    pub fn recipe(self) -> Recipe {
        match self {
            Self::Default => Recipe::default_(),
            Self::Article => Recipe::article(),
        }
    }
}

impl fmt::Display for RecipeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Everything that decides which head comes out of given examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The recipe that this one started from.
    pub name: RecipeName,
    /// Widths of the hidden layers; empty makes a linear head.
    pub hidden: Vec<usize>,
    /// The share of hidden values (of inputs, where the head is linear) that is dropped at each step; 0 drops none.
    pub dropout: f64,
    /// AdamW's learning rate.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Rows a step, at most.
    pub batch_size: usize,
    /// Times through the training rows, at most.
    pub epochs: usize,
    /// The share of rows that is kept for validation where no validation set is given.
    pub val_fraction: f64,
    /// Seeds the split, the initial weights, the order of rows and dropout.
    pub seed: u64,
    /// Whether features are whitened first: mean 0, variance 1, no correlation (of the training rows).
    pub whiten: bool,
    /// Whether the last layer starts from the classes' shares, whatever the vector, instead of from PyTorch's draw.
    pub zero_output: bool,
    /// Whether the head is trained again on all rows, for as many epochs as were best, once a split-off share of them
    /// has told that number.
    pub refit: bool,
    /// Whether that takes twice these epochs, with a learning rate that falls evenly to zero: as far a way, at whose end
    /// the head depends less on which rows came last.
    #[serde(default)]
    pub anneal: bool,
    /// Epochs without a better validation loss after which to stop; `None` runs them all.
    pub patience: Option<usize>,
    /// What is split into training and validation.
    #[serde(default)]
    pub split: SplitBy,
}

/// What falls on one side of a split as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Rows, as scikit-learn's `train_test_split` does it: a text that occurs twice may be on both sides.
    #[default]
    Rows,
    /// Distinct texts, with all rows that hold them.
    Texts,
}

/// What flags change about a recipe; `None` leaves the recipe's own value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Replaces [`Recipe::epochs`].
    pub epochs: Option<usize>,
    /// Replaces [`Recipe::learning_rate`].
    pub learning_rate: Option<f64>,
    /// Replaces [`Recipe::batch_size`].
    pub batch_size: Option<usize>,
    /// Replaces [`Recipe::hidden`] by layers of these widths, or by none where it is 0 alone.
    pub hidden: Option<Vec<usize>>,
    /// Replaces [`Recipe::dropout`].
    pub dropout: Option<f64>,
    /// Replaces [`Recipe::val_fraction`].
    pub val_fraction: Option<f64>,
    /// Replaces [`Recipe::seed`].
    pub seed: Option<u64>,
}

impl Recipe {
    /// The article's recipe: one hidden layer of 512, AdamW at 1e-5, batches of 32, five epochs.
    pub fn article() -> Self {
        Self {
            name: RecipeName::Article,
            hidden: vec![512],
            dropout: 0.1,
            learning_rate: 1e-5,
            weight_decay: 0.01,
            batch_size: 32,
            epochs: 5,
            val_fraction: 0.2,
            seed: 42,
            whiten: false,
            zero_output: false,
            refit: false,
            anneal: false,
            patience: None,
            split: SplitBy::Rows,
        }
    }

    /// The recipe for everyday use: logistic regression on whitened features.
    ///
    /// Chosen on CLS features of all-MiniLM-L6-v2 (IMDB, SST-2, airline tweets; 300 to 12,000 rows): as good as
    /// scikit-learn's logistic regression with its penalty tuned, where hidden layers overfit. Whitening lets few small
    /// steps reach the weak directions, patience ends a run long before its epochs do, and the refit gives back what the
    /// split took. That the refit's learning rate falls halves the chance in it: simulated in PyTorch, the test accuracy of
    /// SST-2 had a standard deviation of 0.0017 over 12 seeds, and has one of 0.0009 over 6, around a mean 0.001 higher.
    pub fn default_() -> Self {
        Self {
            name: RecipeName::Default,
            hidden: Vec::new(),
            dropout: 0.0,
            learning_rate: 5e-4,
            weight_decay: 0.1,
            batch_size: 32,
            epochs: 200,
            val_fraction: 0.2,
            seed: 42,
            whiten: true,
            zero_output: true,
            refit: true,
            anneal: true,
            patience: Some(8),
            split: SplitBy::Texts,
        }
    }

    /// This recipe with what the flags say.
    ///
    /// # Errors
    /// Where a value is out of its range, as [`Recipe::check`] says.
    pub fn with(mut self, overrides: Overrides) -> Result<Self> {
        self.epochs = overrides.epochs.unwrap_or(self.epochs);
        self.learning_rate = overrides.learning_rate.unwrap_or(self.learning_rate);
        self.batch_size = overrides.batch_size.unwrap_or(self.batch_size);
        self.dropout = overrides.dropout.unwrap_or(self.dropout);
        self.val_fraction = overrides.val_fraction.unwrap_or(self.val_fraction);
        self.seed = overrides.seed.unwrap_or(self.seed);
        if let Some(hidden) = overrides.hidden {
            self.hidden = if hidden == [0] { Vec::new() } else { hidden };
        }
        self.check()?;
        Ok(self)
    }

    /// Checks every value's range.
    ///
    /// # Errors
    /// Names the first flag that is out of range, its value and what would do.
    pub fn check(&self) -> Result<()> {
        let refuse = |name, value: &dyn fmt::Display, expected| {
            Err(Error::RecipeValue { name, value: value.to_string(), expected })
        };
        if self.epochs == 0 || self.epochs > 100_000 {
            return refuse("--epochs", &self.epochs, "between 1 and 100000");
        }
        if self.batch_size == 0 || self.batch_size > 1 << 24 {
            return refuse("--batch-size", &self.batch_size, "between 1 and 16777216");
        }
        if let Some(width) = self.hidden.iter().find(|width| **width == 0 || **width > 65_536) {
            return refuse("--hidden", width, "at most 65536 a layer, or 0 alone for a linear head");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return refuse("--learning-rate", &self.learning_rate, "above 0");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse("--dropout", &self.dropout, "at least 0 and below 1");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return refuse("weight_decay", &self.weight_decay, "at least 0");
        }
        if !(self.val_fraction > 0.0 && self.val_fraction < 1.0) {
            return refuse("--val-fraction", &self.val_fraction, "above 0 and below 1");
        }
        if self.seed > u64::from(u32::MAX) {
            return refuse("--seed", &self.seed, "at most 4294967295, as in NumPy");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_know_their_names_and_are_sound() {
        for name in [RecipeName::Default, RecipeName::Article] {
            assert_eq!(name.recipe().name, name);
            name.recipe().check().unwrap();
        }
    }

    #[test]
    fn flags_replace_what_they_name_and_nothing_else() {
        assert_eq!(Recipe::article().with(Overrides::default()).unwrap(), Recipe::article());
        let linear =
            Recipe::article().with(Overrides { hidden: Some(vec![0]), epochs: Some(7), ..Overrides::default() });
        assert_eq!(linear.unwrap(), Recipe { hidden: Vec::new(), epochs: 7, ..Recipe::article() });
        let deep = Overrides { hidden: Some(vec![64, 8]), seed: Some(1), ..Overrides::default() };
        assert_eq!(
            Recipe::default_().with(deep).unwrap(),
            Recipe { hidden: vec![64, 8], seed: 1, ..Recipe::default_() }
        );
    }

    #[test]
    fn values_out_of_range_name_their_flag() {
        for (overrides, flag) in [
            (Overrides { epochs: Some(0), ..Overrides::default() }, "--epochs"),
            (Overrides { learning_rate: Some(f64::NAN), ..Overrides::default() }, "--learning-rate"),
            (Overrides { batch_size: Some(0), ..Overrides::default() }, "--batch-size"),
            (Overrides { hidden: Some(vec![1 << 20]), ..Overrides::default() }, "--hidden"),
            (Overrides { hidden: Some(vec![0, 8]), ..Overrides::default() }, "--hidden"),
            (Overrides { dropout: Some(1.0), ..Overrides::default() }, "--dropout"),
            (Overrides { val_fraction: Some(1.0), ..Overrides::default() }, "--val-fraction"),
            (Overrides { seed: Some(1 << 40), ..Overrides::default() }, "--seed"),
        ] {
            let error = Recipe::default_().with(overrides).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(flag), "{error}");
        }
    }
}
