//! The frozen encoder as the rest of the program sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::allowance::Allowance;
use super::batch::plan_packed;
use super::fault::Fault;
use super::graph::{self, Lowering};
use super::identity::{assemble, graph_digest, load_tokenizer};
use super::int8::{self, Calibrator};
use super::library::Library;
use super::model::{Description, Model, WeightsFile};
use super::saved::{self, Key};
use super::service::Service;
use super::session::{Graph, Session, Settings};
use super::{
    BatchPlan, Calibration, Chosen, EncoderIdentity, Error, MicroBatch, Numerics, OnCpu, Plan, Precision, Provider,
    Readout, Result, Usage, library, plan_micro_batches, proof,
};
use crate::ingest::Clean;
use crate::tokenize::{Pool, Tokenizer, Window};

/// Values of the matrix of texts and tokens that a mean over packed tokens is a product with: 512 MiB of 32-bit floats.
const MEAN_MATRIX: usize = 1 << 27;

/// Everything that opening an encoder needs to know.
#[derive(Debug, Clone)]
pub struct EncoderOptions {
    /// A Hugging Face model folder: `tokenizer.json` with `config.json` and `model.safetensors`, or with `model.onnx`.
    pub model_dir: PathBuf,
    /// The folder where built graphs are kept; made where it is missing.
    pub graph_cache: PathBuf,
    /// The tokens of a text that are read.
    pub window: Window,
    /// What of the hidden states becomes its vector.
    pub readout: Readout,
    /// Precision, provider and plan.
    pub chosen: Chosen,
    /// How products are quantised; needed for int8 alone.
    pub calibration: Option<Arc<Calibration>>,
    /// What is done to texts before they are tokenised: part of the identity.
    pub clean: Clean,
}

/// A handle to the encoder; clones share its sessions, which end with the last of them.
#[derive(Clone)]
pub struct Encoder {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    allowance: Allowance,
    model: Model,
    width: usize,
    /// The most that a packed micro-batch's texts times its tokens may be.
    matrix: usize,
    tokenizer: Tokenizer,
    identity: EncoderIdentity,
    numerics: Numerics,
    chosen: Chosen,
    on_cpu: Option<OnCpu>,
}

impl Encoder {
    /// Checks the model's files, opens its graph (building it on the first run) and starts the sessions' threads.
    ///
    /// # Errors
    /// A usage error where the precision or length is not to be had; else the file, library or provider at fault is
    /// named.
    pub fn open(options: &EncoderOptions) -> Result<Encoder> {
        let EncoderOptions { chosen, calibration, readout, .. } = options;
        let fault = Fault::from_environment()?;
        let model = Model::load(&options.model_dir)?;
        let calibration = calibration.as_deref().filter(|_| chosen.precision == Precision::Int8);
        let tokenizer = load_tokenizer(&options.model_dir, options.window)?;
        let identity = assemble(&options.model_dir, &model, &tokenizer, options.clean, *readout)?;
        if chosen.precision == Precision::Int8 {
            model.check_int8(&options.model_dir, *readout)?;
            // Products that it does not know would stay in floats under int8's name.
            let fits = calibration.ok_or(Error::NotCalibrated)?.fits(&graph_digest(&identity));
            fits.then_some(()).ok_or(Error::OtherCalibration { model_dir: options.model_dir.clone() })?;
        }
        prove(chosen)?;
        let (library, settings, gpus) = (library_for(chosen.provider)?, Settings::of(chosen), gpus_of(chosen));
        let graph = graph_file(options, &model, &identity, calibration)?;
        let interface = || model.interface(graph::feeds(chosen.lowering(), *readout), *readout);
        let settings = Settings { whole: matches!(model, Model::Built(_)), ..settings };
        let open = |index: usize| {
            let settings = Settings { gpu: gpus[index % gpus.len()], ..settings };
            Session::open(library, Graph::File(&graph), interface(), settings)
        };
        let sessions = (0..chosen.plan.sessions.max(1)).map(open).collect::<Result<Vec<_>>>()?;
        let on_cpu = sessions.iter().find_map(Session::on_cpu).cloned();
        let service = Service::start(sessions, fault)?;
        let numerics = chosen.numerics(calibration.map(Calibration::digest));
        let width = model.width(*readout);
        let allowance = Allowance::default();
        let chosen = chosen.clone();
        let matrix = if readout.pooling.has_mean() { MEAN_MATRIX } else { usize::MAX };
        let inner = Inner { service, allowance, model, width, matrix, tokenizer, identity, numerics, chosen, on_cpu };
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

    /// What runs, and why.
    pub fn chosen(&self) -> &Chosen {
        &self.inner.chosen
    }

    /// How the machine is used.
    pub fn plan(&self) -> Plan {
        self.inner.chosen.plan
    }

    /// The length of a vector.
    pub fn width(&self) -> usize {
        self.inner.width
    }

    /// The nodes of a ready-made graph that the CPU computes where a GPU should.
    pub fn on_cpu(&self) -> Option<&OnCpu> {
        self.inner.on_cpu.as_ref()
    }

    /// The tokenizer that belongs to the encoder.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// What is known of the memory that micro-batches find.
    pub(super) fn allowance(&self) -> &Allowance {
        &self.inner.allowance
    }

    /// Micro-batches that should be on their way at a time, so that no session starves.
    pub(super) fn in_flight(&self) -> usize {
        self.inner.service.in_flight()
    }

    /// Whether padding costs nothing, since none is computed.
    pub(super) fn packs(&self) -> bool {
        matches!((&self.inner.model, self.inner.chosen.lowering()), (Model::Built(_), Lowering::Packed { .. }))
    }

    /// The device that computes, in the words of `--device`.
    pub fn device(&self) -> String {
        self.inner.chosen.device()
    }

    /// Micro-batches for texts of these lengths, by the plan's token budget.
    pub fn micro_batches(&self, lengths: &[u32]) -> Vec<BatchPlan> {
        self.micro_batches_within(lengths, self.plan().token_budget)
    }

    /// The same by another token budget.
    pub fn micro_batches_within(&self, lengths: &[u32], token_budget: usize) -> Vec<BatchPlan> {
        let widest = self.inner.chosen.provider.widest(self.inner.identity.max_length as usize);
        match self.packs() {
            true => plan_packed(lengths, token_budget, self.inner.matrix, widest),
            false => plan_micro_batches(lengths, token_budget, widest),
        }
    }

    /// The vectors of a micro-batch, row-major [rows, width], in the batch's order.
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

/// Loads the library of what is chosen, and proves that its device is there and computes as is asked.
///
/// # Errors
/// Where the library is not there or another was loaded before, a GPU is not to be had, or the precision is another.
pub(crate) fn prove(chosen: &Chosen) -> Result<()> {
    let (library, settings) = (library_for(chosen.provider)?, Settings::of(chosen));
    gpus_of(chosen).into_iter().try_for_each(|gpu| proof::check(library, Settings { gpu, ..settings }))
}

/// The GPUs, or none once for the CPU.
fn gpus_of(chosen: &Chosen) -> Vec<Option<u32>> {
    chosen.gpus.map_or(vec![None], |gpus| gpus.numbers().map(Some).collect())
}

/// The loaded library, if it has the provider.
fn library_for(provider: Provider) -> Result<&'static Library> {
    let library = library::load(provider)?;
    match provider == Provider::OpenVino && !library::has_openvino() {
        true => Err(Error::ProviderMissing { path: library.path.clone() }),
        false => Ok(library),
    }
}

/// The file of a model's graph, built first where it is not kept already.
fn graph_file(
    options: &EncoderOptions,
    model: &Model,
    identity: &EncoderIdentity,
    calibration: Option<&Calibration>,
) -> Result<PathBuf> {
    match model {
        Model::Ready(ready) => Ok(ready.path.clone()),
        Model::Built(architecture) => {
            let key = Key {
                weights: identity.weights.clone(),
                architecture: identity.architecture.clone(),
                lowering: options.chosen.lowering(),
                readout: options.readout,
                calibration: calibration.map(Calibration::digest),
            };
            let sites = calibration.map_or(&[][..], Calibration::sites);
            saved::open_or_build(&options.graph_cache, &options.model_dir, architecture, &key, sites)
        }
    }
}

/// The length of a vector of the model in `model_dir`, without opening it.
///
/// # Errors
/// Where the model's description cannot be read or is not supported.
pub(crate) fn width_of(model_dir: &Path, readout: Readout) -> Result<usize> {
    Ok(Model::load(model_dir)?.width(readout))
}

/// Whether the model's graph is built here, and can thus run on every provider and in int8.
///
/// # Errors
/// Where the model's description cannot be read or is not supported.
pub(crate) fn is_built(model_dir: &Path) -> Result<bool> {
    Ok(matches!(Model::load(model_dir)?, Model::Built(_)))
}

/// The calibration that is kept in `graph_cache` for an encoder and what runs it, if there is one.
///
/// # Errors
/// Where the file is there and cannot be read.
pub(crate) fn kept_calibration(
    graph_cache: &Path,
    identity: &EncoderIdentity,
    chosen: &Chosen,
) -> Result<Option<Calibration>> {
    int8::load(graph_cache, &graph_digest(identity), chosen)
}

/// Makes an encoder's calibration from texts and keeps it; `progress` is told the share that is done.
///
/// # Errors
/// A usage error where the model's graph is not built here; else where there are too few texts or a session fails.
pub(crate) fn calibrate(
    options: &EncoderOptions,
    texts: &[String],
    progress: &mut dyn FnMut(f64),
) -> Result<Calibration> {
    let model = Model::load(&options.model_dir)?;
    model.check_int8(&options.model_dir, options.readout)?;
    let Model::Built(architecture) = &model else { return Err(Error::NotCalibrated) };
    let tokenizer = load_tokenizer(&options.model_dir, options.window)?;
    let identity = assemble(&options.model_dir, &model, &tokenizer, options.clean, options.readout)?;
    let file = WeightsFile::read(&options.model_dir)?;
    let description = Description::read(architecture, &file.tensors(architecture.prefix())?)?;
    drop(file);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let threads = options.chosen.plan.sessions * options.chosen.plan.threads;
    let pool =
        Pool::new(threads).map_err(|source| Error::Tokenizer { model_dir: options.model_dir.clone(), source })?;
    let tokenized = tokenizer.encode(&texts, &pool);
    let ids: Vec<Vec<u32>> = (0..tokenized.len()).map(|index| tokenized.ids(index).to_vec()).collect();
    let settings = Settings { threads, shared: false, ..Settings::of(&options.chosen) };
    let library = library_for(options.chosen.provider)?;
    let with = Calibrator { library, description: &description, settings, pad: tokenizer.pad_id(), progress };
    let calibration = int8::calibrate(with, &graph_digest(&identity), &ids)?;
    int8::save(&options.graph_cache, &calibration, &options.chosen)?;
    Ok(calibration)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
