//! What values an activation takes, and which range represents them best.

/// Every so-manieth row is kept for the search of a range.
const KEPT: usize = 7;
/// Ranges that are tried, from the whole one down.
const TRIES: usize = 40;

/// The values of one activation over the sample, channel by channel.
pub(super) struct Seen {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    /// Rows of the sample, every [`KEPT`]th.
    rows: Vec<f32>,
    count: usize,
}

impl Seen {
    pub(super) fn new(channels: usize) -> Seen {
        Seen { low: vec![0.0; channels], high: vec![0.0; channels], rows: Vec::new(), count: 0 }
    }

    /// Takes in rows, row-major.
    pub(super) fn add(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.low.len()) {
            for (value, (low, high)) in row.iter().zip(self.low.iter_mut().zip(&mut self.high)) {
                *low = low.min(*value);
                *high = high.max(*value);
            }
            if self.count.is_multiple_of(KEPT) {
                self.rows.extend_from_slice(row);
            }
            self.count += 1;
        }
    }

    /// What each channel is divided by so that the products' inputs and weights are equally hard to quantise:
    /// the root of the ratio of their largest values.
    pub(super) fn smoothing(&self, largest_weights: &[f32]) -> Vec<f32> {
        let largest = self.low.iter().zip(&self.high).map(|(low, high)| high.max(-low));
        largest.zip(largest_weights).map(|(value, weight)| (value / weight.max(1e-5)).sqrt().max(1e-2)).collect()
    }

    /// The least and the largest value, each channel divided by its smoothing.
    pub(super) fn whole_range(&self, smoothing: &[f32]) -> (f32, f32) {
        let divided = |values: &[f32], pick: fn(f32, f32) -> f32| {
            let divisors = smoothing.iter().copied().chain(std::iter::repeat(1.0));
            values.iter().zip(divisors).map(|(value, divisor)| value / divisor).fold(0.0, pick)
        };
        (divided(&self.low, f32::min), divided(&self.high, f32::max))
    }

    /// The range of least squared error: a few outliers are worth less than finer steps for all the others.
    pub(super) fn best_range(&self) -> (f32, f32) {
        let whole = self.whole_range(&[]);
        let error = |(low, high): (f32, f32)| {
            let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
            let zero = (-low / scale).round();
            let squares = self.rows.iter().map(|value| {
                let step = (value / scale).round() + zero;
                f64::from((step.clamp(0.0, 255.0) - zero) * scale - value).powi(2)
            });
            squares.sum::<f64>()
        };
        // The lower end of a GELU is short and dense, so only the long side is cut.
        let cut = |share: f32| match whole.1 > -whole.0 {
            true => (whole.0.max(-whole.1 * share), whole.1 * share),
            false => (whole.0 * share, whole.1.min(-whole.0 * share)),
        };
        let shares = (0..TRIES).map(|step| 1.0 - step as f32 / TRIES as f32);
        let tried = shares.map(|share| (error(cut(share)), cut(share)));
        tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(whole, |(_, range)| range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_spans_what_was_seen_and_zero() {
        let mut seen = Seen::new(2);
        seen.add(&[1.0, -4.0, 3.0, 2.0]);
        assert_eq!((seen.low.clone(), seen.high.clone()), (vec![0.0, -4.0], vec![3.0, 2.0]));
        assert_eq!(seen.whole_range(&[]), (-4.0, 3.0));
        assert_eq!(seen.whole_range(&[1.0, 4.0]), (-1.0, 3.0));
    }

    #[test]
    fn smoothing_evens_out_a_loud_channel() {
        let mut seen = Seen::new(2);
        seen.add(&[100.0, 1.0]);
        let smoothing = seen.smoothing(&[1.0, 1.0]);
        assert_eq!(smoothing, [10.0, 1.0]);
        assert_eq!(seen.whole_range(&smoothing), (0.0, 10.0));
    }

    #[test]
    fn one_outlier_does_not_widen_the_range_for_all() {
        let mut seen = Seen::new(1);
        let values: Vec<f32> =
            (0..70_000).map(|index| if index == 1 { 50.0 } else { (index % 100) as f32 / 50.0 }).collect();
        seen.add(&values);
        assert_eq!(seen.whole_range(&[]).1, 50.0);
        let (low, high) = seen.best_range();
        assert!(low == 0.0 && (2.0..50.0).contains(&high), "{low} {high}");
    }
}
