//! How vectors are computed: precision and provider.
//!
//! What the user may ask for (`PrecisionChoice`, `ProviderChoice`) is kept apart from what runs (`Precision`, `Provider`,
//! `Numerics`): what a provider cannot do must fail by name instead of running something else.

use std::fmt;

use clap::ValueEnum;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as NoSuchName, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::batch::WIDTH_STEP;
use super::graph::{Attention, Lowering};
use super::{Error, Result};

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
            Self::Int8 => (super::int8::WORST_COSINE, super::int8::MEAN_COSINE),
        }
    }

    /// What is computed in where this is not: products outside a quantised encoder's calibration.
    pub(super) fn floats(self) -> Precision {
        match self {
            Self::Int8 if super::library::cpu_has_bf16() => Self::Bf16,
            Self::Int8 => Self::Fp32,
            floats => floats,
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

/// Who computes: an execution provider of ONNX Runtime and its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Provider {
    /// OpenVINO on the CPU.
    #[serde(rename = "openvino-cpu")]
    OpenVino,
    /// ONNX Runtime's own kernels on the CPU.
    #[serde(rename = "mlas-cpu")]
    Mlas,
    /// The graph that GPUs run, with attention in standard operators, on ONNX Runtime's own kernels on the CPU.
    #[serde(rename = "packed-cpu")]
    Packed,
    /// CUDA.
    #[serde(rename = "cuda")]
    Cuda,
}

impl Provider {
    /// The operators that it runs best.
    pub(super) fn lowering(self, precision: Precision) -> Lowering {
        let packed = |attention| Lowering::Packed { attention, half: precision == Precision::Fp16 };
        match self {
            Self::OpenVino => Lowering::Standard,
            Self::Mlas => Lowering::Fused,
            Self::Packed => packed(Attention::Reference),
            Self::Cuda => packed(Attention::Operator),
        }
    }

    /// The precisions that it computes in.
    fn precisions(self) -> &'static [Precision] {
        match self {
            Self::OpenVino => &[Precision::Fp32, Precision::Bf16, Precision::Int8],
            Self::Mlas => &[Precision::Fp32, Precision::Int8],
            Self::Packed | Self::Cuda => &[Precision::Fp32, Precision::Fp16],
        }
    }

    /// The tokens that a micro-batch is wide at most, if no text is longer than `max_length`.
    ///
    /// OpenVINO's attention takes 25 to 45 % longer where a width is no multiple of 16 (bf16, AVX-512): 250 tokens are
    /// faster as 256 with a mask than as they are without one. ONNX Runtime's own kernels bear any width.
    pub(super) fn widest(self, max_length: usize) -> usize {
        match self {
            Self::OpenVino => max_length.next_multiple_of(WIDTH_STEP),
            Self::Mlas | Self::Packed | Self::Cuda => max_length,
        }
    }

    /// Refuses a precision that the provider does not have, instead of computing in another.
    pub(super) fn check(self, precision: Precision) -> Result<()> {
        let known = self.precisions();
        if known.contains(&precision) {
            return Ok(());
        }
        let known = known.iter().map(Precision::to_string).collect::<Vec<_>>().join(", ");
        let way = match precision {
            Precision::Fp16 => "fp16 is a GPU's: give `--device cuda`",
            Precision::Bf16 => "bf16 is the OpenVINO provider's: give `--provider openvino`",
            Precision::Int8 => "int8 is the CPU's: leave `--device` out",
            Precision::Fp32 => "every provider computes in fp32; this is a bug",
        };
        Err(Error::PrecisionOfProvider { precision, provider: self, known, way })
    }
}

impl From<Provider> for ProviderChoice {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::OpenVino => Self::OpenVino,
            Provider::Mlas => Self::Mlas,
            Provider::Packed => Self::Packed,
            // A device, not a provider, is what one asks for.
            Provider::Cuda => Self::Auto,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What `--provider` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, ValueEnum, Serialize)]
#[value(rename_all = "lower")]
#[serde(rename_all = "lowercase")]
pub enum ProviderChoice {
    /// Whatever is best here.
    #[default]
    Auto,
    /// OpenVINO: fp32, bf16 and int8.
    OpenVino,
    /// ONNX Runtime's own kernels: fp32 and int8.
    Mlas,
    /// The graph that GPUs run, to check it: fp32 and fp16.
    Packed,
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// How vectors were computed. Vectors of different numerics do not mix within one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numerics {
    /// The number format of the matrix products.
    pub precision: Precision,
    /// Who computed them: an execution provider and its device, such as `openvino-cpu`.
    pub provider: String,
    /// The digest of the calibration data of a quantised encoder.
    pub calibration: Option<String>,
    /// What a quantised encoder computes in beside its 8-bit products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floats: Option<Precision>,
}

impl Numerics {
    /// The provider that would compute like this again; `auto` where it is none that this program knows.
    pub fn provider_choice(&self) -> ProviderChoice {
        let named: StrDeserializer<'_, NoSuchName> = self.provider.as_str().into_deserializer();
        Provider::deserialize(named).map_or(ProviderChoice::Auto, ProviderChoice::from)
    }

    /// Whether a GPU computed them.
    pub fn is_of_gpu(&self) -> bool {
        self.provider == Provider::Cuda.to_string()
    }

    /// One line for each part that differs, such as `precision: fp32 here, bf16 there`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let word = |precision: Option<Precision>| {
            precision.map_or_else(|| "none".to_owned(), |precision| precision.to_string())
        };
        let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
        let rows = [
            ("precision", word(Some(self.precision)), word(Some(other.precision))),
            ("provider", self.provider.clone(), other.provider.clone()),
            ("calibration", digest(&self.calibration), digest(&other.calibration)),
            ("floats", word(self.floats), word(other.floats)),
        ];
        rows.into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(part, here, there)| format!("{part}: {here} here, {there} there"))
            .collect()
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.precision)?;
        self.floats.map_or(Ok(()), |floats| write!(formatter, "+{floats}"))?;
        write!(formatter, "/{}", self.provider)?;
        self.calibration.as_ref().map_or(Ok(()), |digest| write!(formatter, "/{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_refuse_what_they_cannot_do() {
        assert!(Provider::Mlas.check(Precision::Fp32).is_ok());
        let error = Provider::Mlas.check(Precision::Bf16).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("bf16 is the OpenVINO provider's"), "{error}");
    }

    #[test]
    fn the_provider_of_a_dataset_is_the_one_to_ask_for() {
        for (provider, choice) in [
            ("openvino-cpu", ProviderChoice::OpenVino),
            ("mlas-cpu", ProviderChoice::Mlas),
            ("packed-cpu", ProviderChoice::Packed),
            ("cuda", ProviderChoice::Auto),
            ("another-one", ProviderChoice::Auto),
        ] {
            let provider = provider.to_owned();
            let numerics = Numerics { precision: Precision::Fp32, provider, calibration: None, floats: None };
            assert_eq!(numerics.provider_choice(), choice);
            assert_eq!(numerics.is_of_gpu(), numerics.provider == "cuda");
        }
    }

    #[test]
    fn numerics_read_as_one_word() {
        let int8 = Numerics {
            precision: Precision::Int8,
            provider: "mlas-cpu".to_owned(),
            calibration: Some("abc".to_owned()),
            floats: Some(Precision::Fp32),
        };
        assert_eq!(int8.to_string(), "int8+fp32/mlas-cpu/abc");
        let numerics = Numerics {
            precision: Precision::Bf16,
            provider: "openvino-cpu".to_owned(),
            calibration: None,
            floats: None,
        };
        assert_eq!(numerics.to_string(), "bf16/openvino-cpu");
        assert_eq!(
            numerics.differences(&int8),
            [
                "precision: bf16 here, int8 there",
                "provider: openvino-cpu here, mlas-cpu there",
                "calibration: none here, abc there",
                "floats: none here, fp32 there",
            ]
        );
        assert!(int8.differences(&int8).is_empty());
        let json = serde_json::to_string(&numerics).unwrap();
        assert_eq!(json, r#"{"precision":"bf16","provider":"openvino-cpu","calibration":null}"#);
    }
}
