//! 8-bit weight products: which ones, and in which ranges.
//!
//! Weights are quantised per output channel and need no data; activations need a range, which a sample of texts gives
//! once per model ([`calibrate`]). Not every product bears it: the sample also measures what each costs in cosine, and
//! the sensitive ones stay as they are. The result is a [`Calibration`], whose digest is part of the numerics.

mod calibrate;
mod ranges;
mod store;

use serde::{Deserialize, Serialize};

use super::digest::short_digest;
use super::graph::Site;

pub(crate) use calibrate::SAMPLE_TEXTS;
pub(super) use calibrate::{Calibrator, calibrate};
pub(super) use store::{load, save};

/// The version of [`Calibration`] that is written and read.
const VERSION: u32 = 1;

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
