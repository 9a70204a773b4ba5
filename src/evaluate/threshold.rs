//! How sure a head has to be for a wanted precision: below that it had better say nothing.

use serde::{Deserialize, Serialize};

use super::measures::Prepared;

/// The least confidence that a wanted precision takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The share of answers that is to be right.
    pub target_precision: f64,
    /// Answers with less confidence are left out; null where no threshold does.
    pub confidence: Option<f64>,
    /// The share of the rows that is answered.
    pub coverage: f64,
    /// The share of these answers that is right.
    pub precision: Option<f64>,
}

/// The threshold that answers the most rows, told on the rows themselves.
pub(super) fn threshold(prepared: &Prepared<'_>, target: f64) -> Threshold {
    let confidence = |row: usize| prepared.confidence()[row];
    let mut order: Vec<usize> = (0..prepared.rows()).collect();
    order.sort_by(|a, b| confidence(*b).total_cmp(&confidence(*a)));
    let (mut answered, mut right) = (0usize, 0usize);
    let mut found = Threshold { target_precision: target, confidence: None, coverage: 0.0, precision: None };
    for group in order.chunk_by(|a, b| confidence(*a) == confidence(*b)) {
        answered += group.len();
        right += group.iter().filter(|row| prepared.is_right(**row)).count();
        let precision = right as f64 / answered as f64;
        if precision >= target {
            found.confidence = Some(f64::from(confidence(group[0])));
            found.coverage = answered as f64 / prepared.rows() as f64;
            found.precision = Some(precision);
        }
    }
    found
}
