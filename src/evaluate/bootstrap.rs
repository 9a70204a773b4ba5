//! Confidence intervals by the bootstrap: the rows are drawn again, with replacement, many times (Efron, 1979).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::measures::{NAMES, Prepared};

/// Resamples where the rows are few enough.
const RESAMPLES: usize = 1000;
/// The least that gives an interval.
const LEAST_RESAMPLES: usize = 200;
/// Rows drawn in all, about, at most.
const DRAWS: usize = 50_000_000;
/// What is left out on each side: an interval of 95 %.
const TAIL: f64 = 0.025;

/// A figure with its interval; all null where it cannot be told (one class alone has no ROC curve).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// On the rows as they are.
    pub value: Option<f64>,
    /// 2.5 % of the resamples are below.
    pub low: Option<f64>,
    /// 2.5 % of the resamples are above.
    pub high: Option<f64>,
}

/// The figures of [`NAMES`] with their intervals, and how many resamples made these.
pub(super) fn intervals(prepared: &Prepared<'_>, seed: u64) -> (Vec<Interval>, usize) {
    let rows = prepared.rows();
    let resamples = (DRAWS / rows.max(1)).clamp(LEAST_RESAMPLES, RESAMPLES);
    let once = prepared.figures(&vec![1; rows]);
    let again: Vec<[f64; NAMES.len()]> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(resample));
            let mut weights = vec![0u32; rows];
            (0..rows).for_each(|_| weights[random.usize(..rows)] += 1);
            prepared.figures(&weights)
        })
        .collect();
    let interval = |(figure, value): (usize, &f64)| {
        let mut drawn: Vec<f64> =
            again.iter().map(|figures| figures[figure]).filter(|value| value.is_finite()).collect();
        drawn.sort_by(f64::total_cmp);
        let quantile = |share: f64| drawn.get(((drawn.len().max(1) - 1) as f64 * share).round() as usize).copied();
        let value = Some(*value).filter(|value| value.is_finite());
        Interval { value, low: value.and(quantile(TAIL)), high: value.and(quantile(1.0 - TAIL)) }
    };
    (once.iter().enumerate().map(interval).collect(), resamples)
}
