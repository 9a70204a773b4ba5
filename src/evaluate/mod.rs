//! How good a head is on labelled rows: figures with confidence intervals, curves, calibration, slices and mistakes.
//!
//! Useful for: everything that is said of predictions whose truth is known, after `train` and in `evaluate`.
//! Not for: making predictions (`head`, `engine`), or drawing them (`report`).
//!
//! ```text
//! probabilities + true classes (+ where each row came from) --evaluate--> Evaluation --> evaluation.json, report.html
//! ```
//! Definitions are scikit-learn's where it has them.

mod bootstrap;
mod curves;
mod measures;
mod slices;
mod temperature;
#[cfg(test)]
mod tests;
mod threshold;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub(crate) use bootstrap::Interval;
pub(crate) use curves::{ClassCurves, Histogram, Reliability};
pub(crate) use measures::{ClassMeasures, NAMES, most_probable};
pub(crate) use slices::{Slice, Slices};
pub(crate) use temperature::{cool, fit_temperature};
pub(crate) use threshold::Threshold;

use measures::{Prepared, class_measures};

/// The version of `evaluation.json`.
pub(crate) const EVALUATION_VERSION: u32 = 1;
/// Mistakes that are told.
const MISTAKES: usize = 20;

/// Predictions whose truth is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged<'a> {
    /// Class probabilities, row-major `[rows, classes]`.
    pub probabilities: &'a [f32],
    /// The true class of each row.
    pub labels: &'a [u32],
    /// How many classes there are.
    pub classes: usize,
}

impl Judged<'_> {
    fn row(&self, row: usize) -> &[f32] {
        &self.probabilities[row * self.classes..][..self.classes]
    }
}

/// Where a row came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowOrigin {
    /// The file.
    pub source_file: Arc<str>,
    /// Its ordinal there.
    pub row: u64,
    /// The tokens of its text before truncation and whether it was cut, where that is known.
    pub tokens: Option<(u32, bool)>,
}

/// A confident wrong answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Mistake {
    /// The file of the row.
    pub source_file: String,
    /// Its ordinal there.
    pub row: u64,
    /// The true label.
    pub label: String,
    /// The label that was given.
    pub predicted: String,
    /// Its probability.
    pub probability: f32,
    /// The text, where it could be looked up.
    pub text: Option<String>,
}

/// All that is said of a head on labelled rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Evaluation {
    /// [`EVALUATION_VERSION`].
    pub version: u32,
    /// How many rows were judged.
    pub rows: u64,
    /// The classes in the order of the head's outputs.
    pub labels: Vec<String>,
    /// The figures of [`NAMES`], each with an interval of 95 %.
    pub metrics: BTreeMap<&'static str, Interval>,
    /// Bootstrap resamples behind the intervals.
    pub resamples: usize,
    /// Each class's figures.
    pub classes: Vec<ClassMeasures>,
    /// Row counts `[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
    /// The temperature that would calibrate these probabilities: 1 where they are calibrated.
    pub temperature: f64,
    /// Confidence against accuracy.
    pub reliability: Vec<Reliability>,
    /// Rows by confidence.
    pub histogram: Histogram,
    /// ROC and precision-recall curves: of class 1 where there are two, else of each class against all others.
    pub curves: Vec<ClassCurves>,
    /// For the wanted precision, if one is.
    pub threshold: Option<Threshold>,
    /// Parts of the rows.
    pub slices: Slices,
    /// The most confident mistakes.
    pub mistakes: Vec<Mistake>,
}

/// The bare figures of predictions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Those of [`NAMES`], in their order; `None` where one cannot be told.
    pub values: [Option<f64>; NAMES.len()],
    /// Row counts `[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
}

/// Measures predictions, without intervals.
///
/// # Panics
/// Where probabilities and labels differ in rows.
pub(crate) fn figures(judged: Judged<'_>) -> Figures {
    let rows = judged.labels.len();
    assert_eq!(
        judged.probabilities.len(),
        rows * judged.classes,
        "probabilities and labels differ in rows, this is a bug"
    );
    let (prepared, once) = (Prepared::new(judged), vec![1; rows]);
    let values = prepared.figures(&once).map(|value| Some(value).filter(|value| value.is_finite()));
    Figures { values, confusion: prepared.confusion(&once) }
}

/// Judges predictions; `origins` are those of the rows, `seed` that of the bootstrap.
///
/// # Panics
/// Where the parts differ in rows or classes, or there are no rows.
pub(crate) fn evaluate(
    judged: Judged<'_>,
    origins: &[RowOrigin],
    labels: &[String],
    target_precision: Option<f64>,
    seed: u64,
) -> Evaluation {
    let rows = judged.labels.len();
    assert!(
        rows > 0 && origins.len() == rows && judged.probabilities.len() == rows * judged.classes,
        "probabilities, labels and origins differ in rows, this is a bug"
    );
    let prepared = Prepared::new(judged);
    let confusion = prepared.confusion(&vec![1; rows]);
    let (intervals, resamples) = bootstrap::intervals(&prepared, seed);
    Evaluation {
        version: EVALUATION_VERSION,
        rows: rows as u64,
        labels: labels.to_vec(),
        metrics: NAMES.into_iter().zip(intervals).collect(),
        resamples,
        classes: class_measures(&confusion, labels),
        confusion,
        temperature: fit_temperature(&judged),
        reliability: curves::reliability(&prepared),
        histogram: curves::histogram(&prepared),
        curves: curves::curves(&prepared, labels),
        threshold: target_precision.map(|target| threshold::threshold(&prepared, target)),
        slices: slices::slices(&prepared, origins),
        mistakes: mistakes(&prepared, origins, labels),
    }
}

fn mistakes(prepared: &Prepared<'_>, origins: &[RowOrigin], labels: &[String]) -> Vec<Mistake> {
    let confidence = |row: &usize| prepared.confidence()[*row];
    let mut wrong: Vec<usize> = (0..prepared.rows()).filter(|row| !prepared.is_right(*row)).collect();
    wrong.sort_by(|a, b| confidence(b).total_cmp(&confidence(a)));
    let mistake = |row: &usize| Mistake {
        source_file: origins[*row].source_file.to_string(),
        row: origins[*row].row,
        label: labels[prepared.judged().labels[*row] as usize].clone(),
        predicted: labels[prepared.predicted()[*row] as usize].clone(),
        probability: confidence(row),
        text: None,
    };
    wrong.iter().take(MISTAKES).map(mistake).collect()
}
