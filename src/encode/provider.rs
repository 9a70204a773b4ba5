//! Who computes vectors, and what may be asked for.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Precision;
use super::batch::WIDTH_STEP;

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
    /// The precisions that it computes in.
    pub(super) fn precisions(self) -> &'static [Precision] {
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
