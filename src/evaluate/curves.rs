//! What is drawn of a head: ROC and precision-recall curves, the reliability of its confidence, where its scores lie.

use serde::Serialize;

use super::measures::{BINS, Prepared, bin_of};

/// Points of a curve, at most.
const POINTS: usize = 400;
/// Bars of the histogram of confidences.
const BARS: usize = 20;

/// The curves of one class against all others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ClassCurves {
    /// The class.
    pub label: String,
    /// False positive rate and true positive rate at falling thresholds.
    pub roc: Vec<(f64, f64)>,
    /// Recall and precision at falling thresholds.
    pub precision_recall: Vec<(f64, f64)>,
}

/// Rows whose confidence falls into one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Reliability {
    /// Where the bin begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Its rows.
    pub rows: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// Rows by confidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Histogram {
    /// Rows that are right, in bars of equal width from 0 to 1.
    pub right: Vec<u64>,
    /// Rows that are wrong.
    pub wrong: Vec<u64>,
}

pub(super) fn curves(prepared: &Prepared<'_>, labels: &[String]) -> Vec<ClassCurves> {
    let ranked = prepared.ranked().iter();
    ranked.filter_map(|(class, order)| curves_of(prepared, *class, order, &labels[*class])).collect()
}

fn curves_of(prepared: &Prepared<'_>, class: usize, order: &[u32], label: &str) -> Option<ClassCurves> {
    let judged = prepared.judged();
    let score = |row: u32| judged.row(row as usize)[class];
    let is_positive = |row: &&u32| judged.labels[**row as usize] as usize == class;
    let positives = order.iter().filter(is_positive).count() as f64;
    let negatives = order.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut roc, mut precision_recall) = (vec![(0.0, 0.0)], Vec::new());
    let (mut positive, mut negative) = (0.0, 0.0);
    for group in order.chunk_by(|a, b| score(*a) == score(*b)) {
        let here = group.iter().filter(is_positive).count() as f64;
        positive += here;
        negative += group.len() as f64 - here;
        roc.push((negative / negatives, positive / positives));
        precision_recall.push((positive / positives, positive / (positive + negative)));
    }
    let label = label.to_owned();
    Some(ClassCurves { label, roc: thinned(&roc), precision_recall: thinned(&precision_recall) })
}

/// At most [`POINTS`] points, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    (0..POINTS).map(|at| points[at * (points.len() - 1) / (POINTS - 1)]).collect()
}

pub(super) fn reliability(prepared: &Prepared<'_>) -> Vec<Reliability> {
    let mut bins = vec![(0u64, 0.0, 0u64); BINS];
    for (row, confidence) in prepared.confidence().iter().enumerate() {
        let bin = &mut bins[bin_of(*confidence)];
        bin.0 += 1;
        bin.1 += f64::from(*confidence);
        bin.2 += u64::from(prepared.is_right(row));
    }
    let reliability = |(at, (rows, confidence, right)): (usize, (u64, f64, u64))| Reliability {
        from: at as f64 / BINS as f64,
        to: (at + 1) as f64 / BINS as f64,
        rows,
        confidence: confidence / rows as f64,
        accuracy: right as f64 / rows as f64,
    };
    bins.into_iter().enumerate().filter(|(_, bin)| bin.0 > 0).map(reliability).collect()
}

pub(super) fn histogram(prepared: &Prepared<'_>) -> Histogram {
    let mut histogram = Histogram { right: vec![0; BARS], wrong: vec![0; BARS] };
    for (row, confidence) in prepared.confidence().iter().enumerate() {
        let side = if prepared.is_right(row) { &mut histogram.right } else { &mut histogram.wrong };
        side[((f64::from(*confidence) * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    histogram
}
