//! The figures of a head on labelled rows, each row counting any number of times.
//!
//! Definitions are scikit-learn's. Whatever does not depend on how often a row counts (its prediction, its loss, the
//! order of scores) is worked out once, so that a bootstrap of a thousand resamples takes seconds.

use serde::Serialize;

use super::Judged;

/// Bins of equal width of the calibration error (Guo et al., ICML 2017).
pub(super) const BINS: usize = 15;

/// The names of the figures, in the order of [`Prepared::figures`].
pub(crate) const NAMES: [&str; 9] = [
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "micro_f1",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "expected_calibration_error",
];

/// One class's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ClassMeasures {
    /// The class.
    pub label: String,
    /// Share of the rows predicted to be of it that are; 0 where there are none.
    pub precision: f64,
    /// Share of its rows that are predicted to be; 0 where there are none.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// Its rows.
    pub support: u64,
}

/// Rows with all that does not depend on their weights.
pub(super) struct Prepared<'a> {
    judged: Judged<'a>,
    predicted: Vec<u32>,
    confidence: Vec<f32>,
    log_loss: Vec<f64>,
    brier: Vec<f64>,
    /// For each class whose scores are ranked, the rows by falling score.
    ranked: Vec<(usize, Vec<u32>)>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(judged: Judged<'a>) -> Prepared<'a> {
        let rows = judged.labels.len();
        let (mut predicted, mut confidence) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (mut log_loss, mut brier) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (row, label) in judged.labels.iter().enumerate() {
            let probabilities = judged.row(row);
            let best = most_probable(probabilities);
            predicted.push(best as u32);
            confidence.push(probabilities[best]);
            // The clip of scikit-learn for single precision.
            let probability = probabilities[*label as usize].clamp(f32::EPSILON, 1.0 - f32::EPSILON);
            log_loss.push(-f64::from(probability).ln());
            let distance = |(class, probability): (usize, &f32)| {
                (f64::from(*probability) - f64::from(u8::from(class == *label as usize))).powi(2)
            };
            let squares: f64 = probabilities.iter().enumerate().map(distance).sum();
            // Of two classes scikit-learn takes one: half the sum over both.
            brier.push(if judged.classes == 2 { squares / 2.0 } else { squares });
        }
        let classes = if judged.classes == 2 { 1..2 } else { 0..judged.classes };
        let ranked = classes.map(|class| (class, ranked(&judged, class))).collect();
        Prepared { judged, predicted, confidence, log_loss, brier, ranked }
    }

    pub(super) fn rows(&self) -> usize {
        self.judged.labels.len()
    }

    pub(super) fn predicted(&self) -> &[u32] {
        &self.predicted
    }

    pub(super) fn confidence(&self) -> &[f32] {
        &self.confidence
    }

    pub(super) fn log_losses(&self) -> &[f64] {
        &self.log_loss
    }

    pub(super) fn is_right(&self, row: usize) -> bool {
        self.predicted[row] == self.judged.labels[row]
    }

    /// The rows of a class by falling score, for the classes whose scores are ranked.
    pub(super) fn ranked(&self) -> &[(usize, Vec<u32>)] {
        &self.ranked
    }

    pub(super) fn judged(&self) -> &Judged<'a> {
        &self.judged
    }

    /// Row counts `[true class][predicted class]`.
    pub(super) fn confusion(&self, weights: &[u32]) -> Vec<Vec<u64>> {
        let mut confusion = vec![vec![0; self.judged.classes]; self.judged.classes];
        for ((label, predicted), weight) in self.judged.labels.iter().zip(&self.predicted).zip(weights) {
            confusion[*label as usize][*predicted as usize] += u64::from(*weight);
        }
        confusion
    }

    /// The figures of [`NAMES`]; NaN where one cannot be told.
    pub(super) fn figures(&self, weights: &[u32]) -> [f64; NAMES.len()] {
        let confusion = self.confusion(weights);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let right: u64 = (0..confusion.len()).map(|class| confusion[class][class]).sum();
        let classes = class_measures(&confusion, &vec![String::new(); confusion.len()]);
        let occurring: Vec<&ClassMeasures> = classes.iter().filter(|class| class.support > 0).collect();
        let named: Vec<&ClassMeasures> = (0..confusion.len())
            .filter(|class| classes[*class].support > 0 || confusion.iter().any(|row| row[*class] > 0))
            .map(|class| &classes[class])
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let weighted = |values: &[f64]| {
            values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum::<f64>() / total as f64
        };
        let (roc_auc, pr_auc) = self.areas(weights);
        let accuracy = right as f64 / total as f64;
        [
            accuracy,
            mean(&occurring.iter().map(|class| class.recall).collect::<Vec<_>>()),
            mean(&named.iter().map(|class| class.f1).collect::<Vec<_>>()),
            // Where every row has one label and one prediction, the two are the same.
            accuracy,
            roc_auc,
            pr_auc,
            weighted(&self.log_loss),
            weighted(&self.brier),
            self.calibration_error(weights),
        ]
    }

    /// Areas under the ROC curve and the precision-recall curve (as average precision): of class 1 where there are two,
    /// else the mean over the classes that occur, each against all others.
    fn areas(&self, weights: &[u32]) -> (f64, f64) {
        let areas = self.ranked.iter().filter_map(|(class, order)| self.areas_of(*class, order, weights));
        let (mut roc, mut precision, mut count) = (0.0, 0.0, 0.0);
        for (roc_auc, average_precision) in areas {
            roc += roc_auc;
            precision += average_precision;
            count += 1.0;
        }
        (roc / count, precision / count)
    }

    fn areas_of(&self, class: usize, order: &[u32], weights: &[u32]) -> Option<(f64, f64)> {
        let score = |row: u32| self.judged.row(row as usize)[class];
        let (mut roc, mut precision) = (0.0, 0.0);
        let (mut positive, mut negative) = (0.0, 0.0);
        for group in order.chunk_by(|a, b| score(*a) == score(*b)) {
            let (mut here_positive, mut here_negative) = (0.0, 0.0);
            for row in group {
                let weight = f64::from(weights[*row as usize]);
                if self.judged.labels[*row as usize] as usize == class {
                    here_positive += weight;
                } else {
                    here_negative += weight;
                }
            }
            // Equal scores are in no order: half of their pairs.
            roc += here_negative * (positive + here_positive / 2.0);
            positive += here_positive;
            negative += here_negative;
            if here_positive > 0.0 {
                precision += here_positive * positive / (positive + negative);
            }
        }
        (positive > 0.0 && negative > 0.0).then(|| (roc / (positive * negative), precision / positive))
    }

    fn calibration_error(&self, weights: &[u32]) -> f64 {
        let mut bins = [(0.0, 0.0, 0.0); BINS];
        for (row, weight) in weights.iter().enumerate() {
            let weight = f64::from(*weight);
            let bin = &mut bins[bin_of(self.confidence[row])];
            bin.0 += weight;
            bin.1 += weight * f64::from(self.confidence[row]);
            bin.2 += weight * f64::from(u8::from(self.is_right(row)));
        }
        let total: f64 = bins.iter().map(|bin| bin.0).sum();
        bins.iter().map(|(_, confidence, right)| (confidence - right).abs()).sum::<f64>() / total
    }
}

/// The bin of a confidence.
pub(super) fn bin_of(confidence: f32) -> usize {
    ((f64::from(confidence) * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// The class of the largest probability, of equals the first.
pub(crate) fn most_probable(probabilities: &[f32]) -> usize {
    let better = |best: usize, class: usize| if probabilities[class] > probabilities[best] { class } else { best };
    (0..probabilities.len()).fold(0, better)
}

fn ranked(judged: &Judged<'_>, class: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..judged.labels.len() as u32).collect();
    let score = |row: &u32| judged.row(*row as usize)[class];
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    order
}

/// Each class's precision, recall and F1.
pub(super) fn class_measures(confusion: &[Vec<u64>], labels: &[String]) -> Vec<ClassMeasures> {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let measures = |(class, label): (usize, &String)| {
        let right = confusion[class][class];
        let support: u64 = confusion[class].iter().sum();
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        ClassMeasures {
            label: label.clone(),
            precision: share(right, predicted),
            recall: share(right, support),
            f1: share(2 * right, support + predicted),
            support,
        }
    };
    labels.iter().enumerate().map(measures).collect()
}
