//! What is quantised, and how its weights become bytes.

use serde::{Deserialize, Serialize};

use super::super::model::Linear;

/// An activation that is quantised, asymmetrically to 8 bits, on its way into one or more products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::encode) struct Site {
    /// The products that take it, by the name of their weights.
    pub products: Vec<String>,
    /// The least value that is represented, at most 0.
    pub low: f32,
    /// The largest value that is represented, at least 0.
    pub high: f32,
    /// What each channel is divided by before, its weights being multiplied by it (Xiao et al., SmoothQuant, 2023);
    /// empty where nothing is.
    pub smoothing: Vec<f32>,
}

impl Site {
    /// Scale and zero point: `value = (byte - zero) * scale`.
    pub(super) fn scale_and_zero(&self) -> (f32, u8) {
        let scale = ((self.high - self.low) / 255.0).max(f32::MIN_POSITIVE);
        (scale, (-self.low / scale).round().clamp(0.0, 255.0) as u8)
    }
}

/// A product's weights in 8 bits, symmetric, [inputs, outputs], and the scale of each output; rows that are divided by
/// `smoothing` meet weights that are multiplied by it.
pub(super) fn quantise_weights(linear: &Linear, smoothing: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let factors = || smoothing.iter().copied().chain(std::iter::repeat(1.0));
    let mut largest = vec![0f32; linear.outputs];
    for (row, factor) in linear.weight.chunks_exact(linear.outputs).zip(factors()) {
        largest.iter_mut().zip(row).for_each(|(largest, weight)| *largest = largest.max((weight * factor).abs()));
    }
    let scales: Vec<f32> = largest.iter().map(|largest| if *largest > 0.0 { largest / 127.0 } else { 1.0 }).collect();
    let rows = linear.weight.chunks_exact(linear.outputs).zip(factors());
    let bytes = rows.flat_map(|(row, factor)| {
        let rounded = row.iter().zip(&scales).map(move |(weight, scale)| (weight * factor / scale).round());
        rounded.map(|value| value.clamp(-127.0, 127.0) as i8)
    });
    (bytes.collect(), scales)
}
