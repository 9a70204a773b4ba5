//! What can go wrong between a model folder and CLS vectors.

use std::path::{Path, PathBuf};

/// A failure of the encoder; every variant names the file, setting or library at fault.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what its fields are")]
pub enum Error {
    #[error("provider {provider} is one on the CPU, and device {device} has its own; leave `--provider` out")]
    ProviderOfDevice { provider: super::ProviderChoice, device: super::Gpus },
    #[error("a ready-made graph computes as its file says, not in {precision}; leave `--precision` out")]
    ReadyMadePrecision { precision: super::Precision },
    #[error(
        "device cuda:{gpu} is not to be had; `nvidia-smi` says whether a driver of 580 or newer and the GPU are there"
    )]
    NoGpu {
        gpu: u32,
        #[source]
        source: ort::Error,
    },
    #[error("device cuda needs the CUDA build of ONNX Runtime, and it is in none of {searched}; run `make deps-cuda`")]
    CudaMissing { searched: String },
    #[error(
        "device cuda needs an NVIDIA driver, and its libcuda.so.1 is not to be had here ({reason}); install one, or leave `--device` out"
    )]
    NoDriver { reason: String },
    #[error(
        "`{graph}` cannot be opened with {nodes} on the CPU, where a GPU should compute; without `--device` the CPU computes all"
    )]
    NodesOnCpu {
        graph: String,
        nodes: super::OnCpu,
        #[source]
        source: ort::Error,
    },
    #[error("`{path}` cannot be loaded ({reason}); run `make deps-cuda` again")]
    CudaLibrary { path: PathBuf, reason: String },
    #[error("`{path}` was loaded before, and a process has one ONNX Runtime: it cannot compute on a GPU, too")]
    LibraryTaken { path: PathBuf },
    #[error("`{model_dir}` cannot give {readout}: {reason}")]
    Readout { model_dir: PathBuf, readout: super::Readout, reason: String },
    #[error("int8 is calibrated for CLS vectors of the last layer, not for {readout}; use fp32 or bf16")]
    ReadoutInt8 { readout: super::Readout },
    #[error("provider {provider} computes in {known}, not in {precision}; {way}, or `--precision fp32`")]
    PrecisionOfProvider { precision: super::Precision, provider: super::Provider, known: String, way: &'static str },
    #[error("max_length {max_length} is more than the {positions} positions of this model; give at most {positions}")]
    MaxLength { max_length: usize, positions: usize },
    #[error(
        "precision bf16 needs a CPU with avx512_bf16 or amx_bf16, and this one has neither; use `--precision fp32`"
    )]
    NoBf16,
    #[error("the provider {provider} did not compute in {asked} when asked to: {sum} where {expected} was due")]
    PrecisionNotRun { provider: super::Provider, asked: super::Precision, sum: f32, expected: f32 },

    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not a calibration of this version; delete it, and the next int8 run makes another")]
    Calibration {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` does not say what `bertline tune` measured; delete it, or tune again")]
    Kept {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "this model has no int8 calibration yet; `bertline embed --precision int8` makes one from the texts it is given"
    )]
    NotCalibrated,
    #[error(
        "int8 needs a model whose graph bertline builds (config.json and model.safetensors), and `{model_dir}` has a ready-made one"
    )]
    ReadyMadeInt8 { model_dir: PathBuf },
    #[error(
        "`{model_dir}` has a ready-made graph, which is not written anew: put the bundle's head.onnx behind it (it takes \
         `embedding`, the CLS row of the last hidden state)"
    )]
    ReadyMadeExport { model_dir: PathBuf },
    #[error("the int8 calibration is another model's or another version's, not that of `{model_dir}`")]
    OtherCalibration { model_dir: PathBuf },
    #[error("no product of this model bears 8 bits within the cosine that int8 promises; use fp32 or bf16")]
    NothingBearsInt8,
    #[error("{sessions} sessions do not share {threads} threads evenly; give a number that divides {threads}")]
    Sessions { sessions: usize, threads: usize },
    #[error("an int8 calibration needs texts to be made from, at least 2; there are {found}")]
    TooFewTexts { found: usize },
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not a model configuration: it is corrupt or cut short; fetch the model again")]
    ConfigJson {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` says {field} = `{found}`; bertline encodes {supported}")]
    Unsupported { path: PathBuf, field: &'static str, found: String, supported: &'static str },
    #[error("`{path}` cannot be used as an encoder: {reason}")]
    ReadyMade { path: PathBuf, reason: String },
    #[error("`{path}` does not add up: {reason}")]
    ConfigValues { path: PathBuf, reason: String },
    #[error("`{path}` is not a usable weights file: it is corrupt or cut short; fetch the model again")]
    Weights {
        path: PathBuf,
        #[source]
        source: safetensors::SafeTensorError,
    },
    #[error("`{path}` has no tensor `{tensor}`: the weights do not belong to config.json, or the file is incomplete")]
    MissingTensor { path: PathBuf, tensor: String },
    #[error("tensor `{tensor}` of `{path}` is {found:?}, and config.json asks for {expected:?}")]
    Shape { path: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("tensor `{tensor}` of `{path}` is of type {found}; bertline reads F32, F16 and BF16")]
    TensorType { path: PathBuf, tensor: String, found: String },
    #[error("tensor `{tensor}` of `{path}` holds a value that is not a number; fetch the model again")]
    NotFinite { path: PathBuf, tensor: String },
    #[error("tokenizer.json of `{model_dir}` gives ids up to {largest}, and the model knows {vocabulary} words")]
    Vocabulary { model_dir: PathBuf, largest: usize, vocabulary: usize },
    #[error("the tokenizer of `{model_dir}` cannot be used")]
    Tokenizer {
        model_dir: PathBuf,
        #[source]
        source: crate::tokenize::Error,
    },

    #[error(
        "no ONNX Runtime found: `onnxruntime/libonnxruntime.so` is in none of {searched}; run `make deps`, or set BERTLINE_LIB_DIR"
    )]
    LibraryMissing { searched: String },
    #[error("`{path}` cannot be loaded as ONNX Runtime 1.22 or later; run `make deps`")]
    LibraryLoad {
        path: PathBuf,
        #[source]
        source: ort::LoadDynamicError,
    },
    #[error("ONNX Runtime at `{path}` does not start")]
    Environment {
        path: PathBuf,
        #[source]
        source: ort::Error,
    },
    #[error("`{path}` lacks the OpenVINO provider; run `make deps`")]
    ProviderMissing { path: PathBuf },
    #[error("cannot make an encoder session of `{graph}` ({numerics})")]
    Session {
        graph: String,
        numerics: String,
        #[source]
        source: ort::Error,
    },
    #[error("cannot start the encoder's thread")]
    Thread {
        #[source]
        source: std::io::Error,
    },

    #[error("the encoder failed on a micro-batch of {rows} rows, {width} wide")]
    Run {
        rows: usize,
        width: usize,
        #[source]
        source: ort::Error,
    },
    #[error(
        "the encoder gave {found} values for a micro-batch of {rows} rows, {width} wide, where {expected} were due"
    )]
    OutputShape { found: usize, rows: usize, width: usize, expected: usize },
    #[error("the encoder gave a value that is not a number for a micro-batch of {rows} rows, {width} wide")]
    OutputNotFinite { rows: usize, width: usize },
    #[error("`{variable}` is `{given}`; it makes the encoder fail and takes `encode:rows>N` or `encode:id=N`")]
    UnknownFault { variable: &'static str, given: String },
    #[error("malformed micro-batch: {reason}")]
    Batch { reason: String },
    #[error("the encoder's thread has stopped")]
    Stopped,
}

impl Error {
    /// Whether the user asked for something impossible (exit code 2), rather than the data or the machine failing.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::ProviderOfDevice { .. }
            | Self::ReadyMadePrecision { .. }
            | Self::UnknownFault { .. }
            | Self::Readout { .. }
            | Self::ReadoutInt8 { .. }
            | Self::PrecisionOfProvider { .. }
            | Self::NotCalibrated
            | Self::ReadyMadeInt8 { .. }
            | Self::ReadyMadeExport { .. }
            | Self::Sessions { .. }
            | Self::MaxLength { .. } => true,
            Self::Tokenizer { source, .. } => source.is_usage(),
            _ => false,
        }
    }

    /// Whether a micro-batch with fewer or other rows may succeed where this one failed.
    pub(super) fn is_of_batch(&self) -> bool {
        matches!(self, Self::Run { .. } | Self::OutputShape { .. } | Self::OutputNotFinite { .. })
    }

    /// Whether the memory was too small, in the words of ONNX Runtime, its providers, CUDA and C++.
    pub(super) fn is_of_memory(&self) -> bool {
        let Self::Run { source, .. } = self else { return false };
        let said = source.to_string().to_lowercase();
        ["out of memory", "out_of_memory", "bad_alloc", "alloc_failed", "failed to allocate", "available memory of"]
            .iter()
            .any(|words| said.contains(words))
    }

    /// A provider's failure on a micro-batch.
    pub(super) fn provider(batch: &super::MicroBatch, message: &str) -> Self {
        Self::Run { rows: batch.rows(), width: batch.width, source: ort::Error::new(message) }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Read { path: path.to_owned(), source }
    }
}

/// The result of this room's functions.
pub type Result<T> = std::result::Result<T, Error>;
