//! How good a head is: what is measured after each epoch and on labelled rows.
//!
//! [`Tally`] adds up batch by batch, so that a dataset of any size can be measured while it is scored; [`evaluate`] holds
//! all probabilities at once and adds what only the whole can tell (the ROC area). Definitions are scikit-learn's.

use serde::{Deserialize, Serialize};

use super::Recipe;

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

/// Adds up what [`Metrics`] needs, in as many parts as there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    confusion: Vec<Vec<u64>>,
    loss: f64,
}

impl Tally {
    /// Nothing measured yet.
    pub fn new(classes: usize) -> Self {
        Self { confusion: vec![vec![0; classes]; classes], loss: 0.0 }
    }

    /// Adds one row: its class probabilities and its true class. The first of equal probabilities is the prediction.
    ///
    /// # Panics
    /// Where `probabilities` has another length than there are classes, or `label` is no class.
    pub fn add(&mut self, probabilities: &[f32], label: u32) {
        assert_eq!(probabilities.len(), self.confusion.len(), "a row of another head was measured, this is a bug");
        let mut predicted = 0;
        for (class, probability) in probabilities.iter().enumerate() {
            if *probability > probabilities[predicted] {
                predicted = class;
            }
        }
        self.confusion[label as usize][predicted] += 1;
        // A probability that f32 rounds to 0 must not make the whole loss infinite.
        let probability = probabilities[label as usize].clamp(f32::EPSILON, 1.0 - f32::EPSILON);
        self.loss -= f64::from(probability).ln();
    }

    /// Adds what another tally of the same classes measured.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        for (row, others) in self.confusion.iter_mut().zip(&other.confusion) {
            row.iter_mut().zip(others).for_each(|(count, more)| *count += more);
        }
    }

    /// The figures so far, without the ROC area.
    pub fn metrics(&self) -> Metrics {
        let classes = self.confusion.len();
        let truly: Vec<u64> = self.confusion.iter().map(|row| row.iter().sum()).collect();
        let predicted: Vec<u64> = (0..classes).map(|class| self.confusion.iter().map(|row| row[class]).sum()).collect();
        let rows: u64 = truly.iter().sum();
        let right = |class: usize| self.confusion[class][class] as f64;
        let recalls: Vec<f64> =
            (0..classes).filter(|&class| truly[class] > 0).map(|class| right(class) / truly[class] as f64).collect();
        let f1s: Vec<f64> = (0..classes)
            .filter(|&class| truly[class] + predicted[class] > 0)
            .map(|class| 2.0 * right(class) / (truly[class] + predicted[class]) as f64)
            .collect();
        Metrics {
            rows,
            accuracy: (0..classes).map(right).sum::<f64>() / rows.max(1) as f64,
            balanced_accuracy: mean(&recalls),
            macro_f1: mean(&f1s),
            log_loss: self.loss / rows.max(1) as f64,
            roc_auc: None,
            confusion: self.confusion.clone(),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Measures probabilities, row-major `[rows, classes]`, against the rows' true classes.
///
/// # Panics
/// Where there are not `classes` probabilities a label.
pub fn evaluate(probabilities: &[f32], labels: &[u32], classes: usize) -> Metrics {
    assert_eq!(probabilities.len(), labels.len() * classes, "probabilities and labels differ in rows, this is a bug");
    let mut tally = Tally::new(classes);
    for (row, &label) in probabilities.chunks_exact(classes).zip(labels) {
        tally.add(row, label);
    }
    let roc_auc = if classes == 2 {
        roc_auc(probabilities.chunks_exact(2).map(|row| row[1]).zip(labels.iter().map(|&label| label == 1)).collect())
    } else {
        None
    };
    Metrics { roc_auc, ..tally.metrics() }
}

/// The share of pairs of a positive and a negative whose scores are in order, ties counting half.
fn roc_auc(mut scored: Vec<(f32, bool)>) -> Option<f64> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|row| row.1).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let (mut below, mut ordered) = (0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let here = tied.iter().filter(|row| row.1).count() as f64;
        let others = tied.len() as f64 - here;
        ordered += here * (below + others / 2.0);
        below += others;
    }
    (positives > 0.0 && negatives > 0.0).then(|| ordered / (positives * negatives))
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

    #[test]
    fn parts_add_up_to_the_whole() {
        let probabilities = [0.9, 0.1, 0.2, 0.8, 0.4, 0.6];
        let (mut first, mut second) = (Tally::new(2), Tally::new(2));
        first.add(&probabilities[..2], 0);
        second.add(&probabilities[2..4], 0);
        second.add(&probabilities[4..], 1);
        first.merge(&second);
        let whole = evaluate(&probabilities, &[0, 0, 1], 2);
        assert_eq!(Metrics { roc_auc: whole.roc_auc, ..first.metrics() }, whole);
    }
}
