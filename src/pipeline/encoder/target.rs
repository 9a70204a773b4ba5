//! A model that was found, and what its vectors mean; nothing of it is loaded yet.

use std::path::PathBuf;
use std::sync::Arc;

use crate::encode::{
    self, Calibration, Chosen, Encoder, EncoderIdentity, EncoderOptions, Host, Plan, Precision, Provider, Readout,
    Tuned, Wanted,
};
use crate::ingest::Clean;
use crate::model::{self, Event, ModelFiles};
use crate::pipeline::Result;
use crate::telemetry::Terminal;
use crate::tokenize::Window;

/// Weights of more bytes are in memory once, unless flags or `tune` say otherwise.
const LARGE_BYTES: u64 = 200 << 20;

/// A model and what its vectors mean; nothing of it is loaded yet.
pub(crate) struct Target {
    pub(crate) model: ModelFiles,
    pub(crate) identity: EncoderIdentity,
    pub(crate) graph_cache: PathBuf,
    window: Window,
    readout: Readout,
    built: bool,
    large: bool,
}

impl Target {
    /// Finds the model, pulling it if need be.
    pub(crate) fn find(
        name: &str,
        window: Window,
        clean: Clean,
        readout: Readout,
        terminal: Terminal,
    ) -> Result<Target> {
        let model = model::resolve(name, &mut |event| say_event(terminal, &event))?;
        let identity = encode::identity_of(&model.dir, window, clean, readout)?;
        let built = encode::is_built(&model.dir)?;
        let bytes = |name: &str| fs_err::metadata(model.dir.join(name)).map_or(0, |metadata| metadata.len());
        let large = bytes("model.safetensors") > LARGE_BYTES;
        Ok(Target { window, readout, graph_cache: model::graph_cache()?, model, identity, built, large })
    }

    /// The length of a vector.
    pub(crate) fn width(&self) -> Result<usize> {
        Ok(encode::width_of(&self.model.dir, self.readout)?)
    }

    /// Whether the model's graph is built here, and can thus run on every provider and in int8.
    pub(crate) fn is_built(&self) -> bool {
        self.built
    }

    /// How the machine is used where nothing was tuned.
    pub(crate) fn default_plan(&self, precision: Precision, provider: Provider, threads: usize) -> Plan {
        Plan::of(precision, provider, threads, self.large)
    }

    /// What runs, out of flags, tuning and this CPU.
    pub(crate) fn choose(&self, wanted: Wanted) -> Result<Chosen> {
        let tuned = Tuned::load(&self.graph_cache, &Host::here()?, &self.identity, wanted.threads())?;
        Ok(encode::choose(&Wanted { ready_made: !self.built, large: self.large, ..wanted }, tuned.as_ref())?)
    }

    /// The int8 calibration that is kept for the model and what runs it, if there is one.
    pub(crate) fn kept_calibration(&self, chosen: &Chosen) -> Result<Option<Calibration>> {
        Ok(encode::kept_calibration(&self.graph_cache, &self.identity, chosen)?)
    }

    /// Loads the encoder; int8 takes the kept calibration where none is given.
    pub(crate) fn open(&self, chosen: &Chosen, calibration: Option<Arc<Calibration>>) -> Result<Encoder> {
        let calibration = match (chosen.precision, calibration) {
            (Precision::Int8, None) => self.kept_calibration(chosen)?.map(Arc::new),
            (_, given) => given,
        };
        Ok(Encoder::open(&EncoderOptions { calibration, ..self.options(chosen) })?)
    }

    pub(super) fn options(&self, chosen: &Chosen) -> EncoderOptions {
        EncoderOptions {
            model_dir: self.model.dir.clone(),
            graph_cache: self.graph_cache.clone(),
            window: self.window,
            readout: self.readout,
            chosen: chosen.clone(),
            calibration: None,
            clean: self.identity.clean,
        }
    }
}

/// Says what a pull does; the many steps of a file's progress become one line that is drawn over.
pub(crate) fn say_event(terminal: Terminal, event: &Event) {
    match event {
        Event::Progress { .. } => terminal.status(&event.to_string()),
        _ => terminal.say(&event.to_string()),
    }
}
