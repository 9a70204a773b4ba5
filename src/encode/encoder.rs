//! The frozen encoder as the rest of the program sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use super::graph::Lowering;
use super::identity::{assemble, load_tokenizer};
use super::interface::Interface;
use super::library::Library;
use super::model::Model;
use super::saved::{self, Key};
use super::service::Service;
use super::session::{Graph, Session, Settings};
use super::{
    DeviceChoice, EncoderIdentity, Error, MicroBatch, Numerics, Precision, PrecisionChoice, Provider, ProviderChoice,
    Result, Usage, library, proof,
};
use crate::tokenize::Tokenizer;

/// Everything that opening an encoder needs to know.
#[derive(Debug, Clone)]
pub struct EncoderOptions {
    /// A Hugging Face model folder: `tokenizer.json` with `config.json` and `model.safetensors`, or with `model.onnx`.
    pub model_dir: PathBuf,
    /// The folder where built graphs are kept; made where it is missing.
    pub graph_cache: PathBuf,
    /// The most tokens of a text that are read, specials included.
    pub max_length: usize,
    /// The precision asked for.
    pub precision: PrecisionChoice,
    /// The device asked for.
    pub device: DeviceChoice,
    /// The execution provider asked for.
    pub provider: ProviderChoice,
    /// Threads of the session, at least one.
    pub threads: usize,
    /// What is done to texts before they are tokenised, `none` or `html`: part of the identity.
    pub clean: String,
}

/// A handle to the encoder; clones share one session, which ends with the last of them.
#[derive(Clone)]
pub struct Encoder {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    model: Model,
    tokenizer: Tokenizer,
    identity: EncoderIdentity,
    numerics: Numerics,
    precision_reason: &'static str,
    threads: usize,
}

impl Encoder {
    /// Checks the model's files, opens its graph (building it on the first run) and starts the session's thread.
    ///
    /// # Errors
    /// A usage error where the precision, device, provider or length is not to be had; else the file, library or provider at
    /// fault is named.
    pub fn open(options: &EncoderOptions) -> Result<Encoder> {
        options.device.check()?;
        let fault = Fault::from_environment()?;
        let (precision, precision_reason) = options.precision.resolve()?;
        let provider = options.provider.resolve(precision)?;
        if precision == Precision::Bf16 && !library::cpu_has_bf16() {
            return Err(Error::NoBf16);
        }
        let settings = Settings { precision, provider, threads: options.threads.max(1) };
        let tokenizer = load_tokenizer(&options.model_dir, options.max_length)?;
        let model = Model::load(&options.model_dir)?;
        let identity = assemble(&options.model_dir, &model, &tokenizer, &options.clean)?;
        let library = library::load()?;
        if provider == Provider::OpenVino && !library::has_openvino() {
            return Err(Error::ProviderMissing { path: library.path.clone() });
        }
        proof::check(library, settings)?;
        let session = open_session(library, options, &model, &identity, settings)?;
        let service = Service::start(session, model.hidden(), fault)?;
        let numerics = Numerics { precision, provider: provider.name().to_owned(), calibration: None };
        let threads = settings.threads;
        let inner = Inner { service, model, tokenizer, identity, numerics, precision_reason, threads };
        Ok(Encoder { inner: Arc::new(inner) })
    }

    /// Which encoder this is: what vectors must share to meet.
    pub fn identity(&self) -> &EncoderIdentity {
        &self.inner.identity
    }

    /// How vectors are computed: what must not mix within a dataset.
    pub fn numerics(&self) -> &Numerics {
        &self.inner.numerics
    }

    /// Why this precision runs.
    pub fn precision_reason(&self) -> &str {
        self.inner.precision_reason
    }

    /// The length of a vector.
    pub fn hidden(&self) -> usize {
        self.inner.model.hidden()
    }

    /// The tokenizer that belongs to the encoder.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// The device that computes, in the words of `--device`.
    pub fn device(&self) -> &str {
        "cpu"
    }

    /// Threads of the session.
    pub fn threads(&self) -> usize {
        self.inner.threads
    }

    /// The CLS rows of the last hidden state, row-major [rows, hidden], in the batch's order.
    ///
    /// # Errors
    /// Where the batch is malformed, the provider fails, or a vector holds something that is not a number.
    pub async fn encode(&self, batch: MicroBatch) -> Result<Vec<f32>> {
        let model = &self.inner.model;
        match batch.fault(model.vocabulary(), model.positions()) {
            Some(reason) => Err(Error::Batch { reason }),
            None => self.inner.service.encode(batch).await,
        }
    }

    /// What the encoder has done so far.
    pub fn usage(&self) -> Usage {
        self.inner.service.usage()
    }
}

/// Opens a model's graph, built first where it is not kept already.
fn open_session(
    library: &Library,
    options: &EncoderOptions,
    model: &Model,
    identity: &EncoderIdentity,
    settings: Settings,
) -> Result<Session> {
    match model {
        Model::Ready(ready) => Session::open(library, Graph::File(&ready.path), ready.interface.clone(), settings),
        Model::Built(architecture) => {
            let lowering = match settings.provider {
                Provider::OpenVino => Lowering::Standard,
                Provider::Mlas => Lowering::Fused,
            };
            let EncoderIdentity { weights, architecture: digest, .. } = identity.clone();
            let key = Key { weights, architecture: digest, lowering, masked: true };
            let graph = saved::open_or_build(&options.graph_cache, &options.model_dir, architecture, &key)?;
            Session::open(library, Graph::File(&graph), Interface::built(architecture.hidden, key.masked), settings)
        }
    }
}

/// How an encoder would compute, without opening one.
///
/// # Errors
/// A usage error where the precision, device or provider is not to be had.
pub fn numerics_of(precision: PrecisionChoice, device: DeviceChoice, provider: ProviderChoice) -> Result<Numerics> {
    device.check()?;
    let (precision, _) = precision.resolve()?;
    let provider = provider.resolve(precision)?;
    Ok(Numerics { precision, provider: provider.name().to_owned(), calibration: None })
}

/// The length of a vector of the model in `model_dir`, without opening it.
///
/// # Errors
/// Where the model's description cannot be read or is not supported.
pub fn hidden_of(model_dir: &Path) -> Result<usize> {
    Ok(Model::load(model_dir)?.hidden())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
