//! The number formats of the encoder's products, and what may be asked for.
//!
//! What the user may ask for ([`PrecisionChoice`]) is kept apart from what runs ([`Precision`]): what a provider cannot do
//! must fail by name instead of running something else.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The mean cosine to fp32 that an int8 calibration must keep on texts that it was not made from.
pub(super) const INT8_MEAN_COSINE: f64 = 0.9985;
/// The same for the worst text.
pub(super) const INT8_WORST_COSINE: f64 = 0.99;

/// The number format of the encoder's matrix products. Weights and vectors are f32 outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats: the reference.
    Fp32,
    /// 16-bit brain floats where the CPU has them: about twice as fast, cosine 0.9999 to the reference.
    Bf16,
    /// 16-bit floats, on a GPU: worst cosine 0.999 to the reference.
    Fp16,
    /// 8-bit integers in the products that bear it, after a calibration: worst cosine 0.99.
    Int8,
}

impl Precision {
    /// The cosine to fp32 that is promised: of the worst text, and the mean.
    pub fn promised_cosines(self) -> (f64, f64) {
        match self {
            Self::Fp32 => (0.99999, 0.99999),
            Self::Bf16 => (0.9999, 0.9999),
            Self::Fp16 => (0.999, 0.999),
            Self::Int8 => (INT8_WORST_COSINE, INT8_MEAN_COSINE),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What `--precision` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionChoice {
    /// Whatever is best here, with the reason told.
    #[default]
    Auto,
    /// 32-bit floats: the reference.
    Fp32,
    /// 16-bit brain floats where the CPU has them: about twice as fast, cosine 0.9999 to the reference.
    Bf16,
    /// 8-bit integers in the products that bear it, after a calibration: worst cosine 0.99.
    Int8,
    /// 16-bit floats, on a GPU: worst cosine 0.999 to the reference.
    Fp16,
}

impl PrecisionChoice {
    /// The precision that is named; `None` for auto.
    pub(super) fn named(self) -> Option<Precision> {
        match self {
            Self::Auto => None,
            Self::Fp32 => Some(Precision::Fp32),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Int8 => Some(Precision::Int8),
            Self::Fp16 => Some(Precision::Fp16),
        }
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Self::Fp32,
            Precision::Bf16 => Self::Bf16,
            Precision::Fp16 => Self::Fp16,
            Precision::Int8 => Self::Int8,
        }
    }
}
