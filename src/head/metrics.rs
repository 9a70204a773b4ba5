//! How good a head is: what is measured after each epoch and on labelled rows.
//!
//! A few of the figures of [`crate::evaluate`], in the form that a bundle keeps.

use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::evaluate::{Figures, Judged, NAMES, figures};

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// The mean over the epoch's batches of their cross-entropy (natural logarithm), as it was during training.
    pub train_loss: f64,
    /// Cross-entropy of the validation rows after the epoch.
    pub validation_loss: f64,
    /// Share of the validation rows whose most probable class is right.
    pub validation_accuracy: f64,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
}

/// What training did, as the bundle keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReport {
    /// The recipe as it was run.
    pub recipe: Recipe,
    /// Rows that were trained on.
    pub train_rows: usize,
    /// Rows that were validated on.
    pub validation_rows: usize,
    /// Classes (indices) with one example only, which was trained on; the validation rows lack them.
    pub only_in_train: Vec<u32>,
    /// Every epoch that was run.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch (counted from 1) of the lowest validation loss: its weights are kept, or, where the recipe refits, the
    /// head is trained on all rows for as many epochs.
    pub best_epoch: usize,
    /// The head of the best epoch on the validation rows, which it was not trained on (before any refit).
    pub validation: Metrics,
}

/// A head's quality on labelled rows; every figure is 0 where there are no rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// How many rows were measured.
    pub rows: u64,
    /// Share of rows whose most probable class is right.
    pub accuracy: f64,
    /// Mean over the classes that occur of the share of their rows that is right.
    pub balanced_accuracy: f64,
    /// Mean F1 over the classes that occur or are predicted.
    pub macro_f1: f64,
    /// Mean negative natural logarithm of the true class's probability.
    pub log_loss: f64,
    /// Area under the ROC curve of class 1; only where there are two classes and both occur.
    pub roc_auc: Option<f64>,
    /// Row counts, `confusion[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// Measures probabilities, row-major `[rows, classes]`, against the rows' true classes.
///
/// # Panics
/// Where there are not `classes` probabilities a label.
pub fn evaluate(probabilities: &[f32], labels: &[u32], classes: usize) -> Metrics {
    let Figures { values, confusion } = figures(Judged { probabilities, labels, classes });
    let value = |name: &str| NAMES.iter().zip(values).find(|(known, _)| **known == name).and_then(|(_, value)| value);
    Metrics {
        rows: labels.len() as u64,
        accuracy: value("accuracy").unwrap_or(0.0),
        balanced_accuracy: value("balanced_accuracy").unwrap_or(0.0),
        macro_f1: value("macro_f1").unwrap_or(0.0),
        log_loss: value("log_loss").unwrap_or(0.0),
        roc_auc: value("roc_auc").filter(|_| classes == 2),
        confusion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-6, "{actual} is not {expected}");
    }

    #[test]
    fn two_classes_by_hand() {
        // Predicted 0, 1, 1, 0 for true 0, 1, 0, 1.
        let metrics = evaluate(&[0.9, 0.1, 0.2, 0.8, 0.4, 0.6, 0.7, 0.3], &[0, 1, 0, 1], 2);
        assert_eq!(metrics.confusion, [[1, 1], [1, 1]]);
        near(metrics.accuracy, 0.5);
        near(metrics.macro_f1, 0.5);
        near(metrics.log_loss, -(0.9f64.ln() + 0.8f64.ln() + 0.4f64.ln() + 0.3f64.ln()) / 4.0);
        // Positives at 0.8 and 0.3, negatives at 0.1 and 0.6: three of four pairs in order.
        near(metrics.roc_auc.unwrap(), 0.75);
    }

    #[test]
    fn skewed_classes_by_hand() {
        let certain = |class: usize| (0..3).map(move |other| if other == class { 0.8f32 } else { 0.1 });
        let probabilities: Vec<f32> = [0, 0, 0, 1, 0].into_iter().flat_map(certain).collect();
        let metrics = evaluate(&probabilities, &[0, 0, 0, 1, 1], 3);
        near(metrics.accuracy, 0.8);
        near(metrics.balanced_accuracy, 0.75);
        // F1 of class 0 is 6/7, of class 1 2/3; class 2 neither occurs nor is predicted.
        near(metrics.macro_f1, (6.0 / 7.0 + 2.0 / 3.0) / 2.0);
        assert_eq!(metrics.roc_auc, None);
    }

    #[test]
    fn ties_count_half_and_one_class_has_no_area() {
        near(evaluate(&[0.5; 6], &[0, 1, 1], 2).roc_auc.unwrap(), 0.5);
        assert_eq!(evaluate(&[0.5; 4], &[1, 1], 2).roc_auc, None);
    }

    #[test]
    fn a_certain_mistake_is_finite_and_no_rows_are_zero() {
        near(evaluate(&[1.0, 0.0], &[1], 2).log_loss, -f64::from(f32::EPSILON).ln());
        let nothing = evaluate(&[], &[], 2);
        assert_eq!((nothing.rows, nothing.accuracy, nothing.log_loss, nothing.roc_auc), (0, 0.0, 0.0, None));
    }
}
