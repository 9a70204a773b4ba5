//! 8-bit weight products: which ones, and in which ranges.
//!
//! Weights are quantised per output channel and need no data; activations need a range, which a sample of texts gives
//! once per model ([`calibrate`]). Not every product bears it: the sample also measures what each costs in cosine, and
//! the sensitive ones stay as they are. The result is a [`Calibration`], whose digest is part of the numerics.

mod calibrate;
mod ranges;
mod store;

use serde::{Deserialize, Serialize};

use super::identity::short_digest;
use super::model::Linear;

pub use calibrate::SAMPLE_TEXTS;
pub(super) use calibrate::{Calibrator, calibrate};
pub(super) use store::{load, save};

/// The version of [`Calibration`] that is written and read.
const VERSION: u32 = 1;

/// The mean cosine to fp32 that a calibration must keep on texts that it was not made from.
pub(super) const MEAN_COSINE: f64 = 0.9985;
/// The same for the worst text.
pub(super) const WORST_COSINE: f64 = 0.99;

/// How an encoder is quantised: what `calibration.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    version: u32,
    /// Which graph it belongs to: digest of weights and architecture.
    encoder: String,
    /// Texts that it was made from.
    pub texts: usize,
    /// Cosine to fp32 on texts that were kept apart: of the worst text.
    pub worst_cosine: f64,
    /// The same, the mean.
    pub mean_cosine: f64,
    /// What is quantised; all other products stay in floats.
    sites: Vec<Site>,
}

/// An activation that is quantised, asymmetrically to 8 bits, on its way into one or more products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
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

impl Calibration {
    /// Whether it was made by this version and for this graph, digest of weights and architecture.
    pub(super) fn fits(&self, graph: &str) -> bool {
        self.version == VERSION && self.encoder == graph
    }

    /// How many products are quantised.
    pub fn products(&self) -> usize {
        self.sites.iter().map(|site| site.products.len()).sum()
    }

    /// What is quantised.
    pub(super) fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// 32 hex digits that stand for everything in it.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("a struct of numbers and strings serialises; this is a bug");
        short_digest(&json)
    }
}
