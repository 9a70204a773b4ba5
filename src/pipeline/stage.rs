//! What the stages that run units have in common: opening the encoder and the output folder, running, reporting.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use super::cached::{self, Cached};
use super::inputs::Inputs;
use super::rejects::Budget;
use super::{DeviceOptions, Error, OutOptions, Result, UnitOptions};
use crate::cache::{Claims, Key, Manifest, Output, PartMetadata, Resolved, SNAPSHOT, State, UnitStats};
use crate::encode::{
    self, Calibration, Chosen, Encoder, EncoderIdentity, EncoderOptions, Gpus, Host, Numerics, Plan, Precision,
    Provider, Readout, Tuned, Wanted,
};
use crate::engine::{EmbedRuntime, Head, Mode, OnDemand, Opened, Planner, Runner, Turns, task_context};
use crate::model::{self, Event, ModelFiles};
use crate::report::{EncoderReport, RunReport, Start, ThisRun};
use crate::telemetry::{Done, Probe, ProgressBar, Terminal};
use crate::tokenize::{Pool, Window};

/// Raised whenever the layout of an output folder changes.
const OUTPUT_FORMAT: u32 = 2;
/// Weights of more bytes are in memory once, unless flags or `tune` say otherwise.
const LARGE_BYTES: u64 = 200 << 20;

/// How a stage ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran; `report` is in `run.json` too.
    Done(Box<RunReport>),
    /// The output was there already; this is its `run.json`.
    AlreadyDone(Value),
    /// It was judged; this is its `run.json` and what was found.
    Judged(Value),
}

impl Outcome {
    /// The report as JSON.
    pub fn json(&self) -> Value {
        match self {
            Outcome::Done(report) => json!(report),
            Outcome::AlreadyDone(report) | Outcome::Judged(report) => report.clone(),
        }
    }
}

/// A model and what its vectors mean; nothing of it is loaded yet.
pub(super) struct Target {
    pub(super) model: ModelFiles,
    pub(super) identity: EncoderIdentity,
    pub(super) graph_cache: PathBuf,
    window: Window,
    readout: Readout,
    built: bool,
    large: bool,
}

impl Target {
    /// Finds the model, pulling it if need be.
    pub(super) fn find(
        name: &str,
        window: Window,
        clean: &str,
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
    pub(super) fn width(&self) -> Result<usize> {
        Ok(encode::width_of(&self.model.dir, self.readout)?)
    }

    /// Whether the model's graph is built here, and can thus run on every provider and in int8.
    pub(super) fn is_built(&self) -> bool {
        self.built
    }

    /// How the machine is used where nothing was tuned.
    pub(super) fn default_plan(&self, precision: Precision, provider: Provider, threads: usize) -> Plan {
        Plan::of(precision, provider, threads, self.large)
    }

    /// What runs, out of flags, tuning and this CPU.
    pub(super) fn choose(&self, wanted: Wanted) -> Result<Chosen> {
        let tuned = Tuned::load(&self.graph_cache, &Host::here()?, &self.identity, wanted.threads())?;
        Ok(encode::choose(&Wanted { ready_made: !self.built, large: self.large, ..wanted }, tuned.as_ref())?)
    }

    /// The int8 calibration that is kept for the model and what runs it, if there is one.
    pub(super) fn kept_calibration(&self, chosen: &Chosen) -> Result<Option<Calibration>> {
        Ok(encode::kept_calibration(&self.graph_cache, &self.identity, chosen)?)
    }

    /// Loads the encoder; int8 takes the kept calibration where none is given.
    pub(super) fn open(&self, chosen: &Chosen, calibration: Option<Arc<Calibration>>) -> Result<Encoder> {
        let calibration = match (chosen.precision, calibration) {
            (Precision::Int8, None) => self.kept_calibration(chosen)?.map(Arc::new),
            (_, given) => given,
        };
        Ok(Encoder::open(&EncoderOptions { calibration, ..self.options(chosen) })?)
    }

    fn options(&self, chosen: &Chosen) -> EncoderOptions {
        EncoderOptions {
            model_dir: self.model.dir.clone(),
            graph_cache: self.graph_cache.clone(),
            window: self.window,
            readout: self.readout,
            chosen: chosen.clone(),
            calibration: None,
            clean: self.identity.clean.clone(),
        }
    }
}

/// Says what a GPU leaves to the CPU.
pub(super) fn warn_of_cpu(encoder: &Encoder, terminal: Terminal) {
    if let Some(nodes) = encoder.on_cpu() {
        terminal.warn(&format!("{nodes} of the ready-made graph run on the CPU, which may slow the GPU down"));
    }
}

/// Where an int8 calibration comes from.
#[derive(Clone, Copy)]
pub(super) enum CalibrateFrom<'a> {
    /// The one that is kept, else these inputs' first texts.
    Inputs(&'a Arc<Inputs>),
    /// The one that a head was trained with.
    Head(&'a Calibration),
    /// The one that is kept, or none.
    Kept,
}

/// An encoder that a stage is going to open.
pub(super) struct Planned {
    pub(super) target: Target,
    pub(super) numerics: Numerics,
    pub(super) chosen: Chosen,
    calibration: Option<Arc<Calibration>>,
}

impl Planned {
    /// Settles what runs; an int8 encoder that has no calibration yet is calibrated.
    pub(super) fn of(
        target: Target,
        device: &DeviceOptions,
        from: CalibrateFrom<'_>,
        terminal: Terminal,
    ) -> Result<Planned> {
        let chosen = target.choose(device.wanted())?;
        let calibration = match chosen.precision {
            Precision::Int8 => Some(Arc::new(calibration(&target, &chosen, from, terminal)?)),
            _ => None,
        };
        let numerics = chosen.numerics(calibration.as_deref().map(Calibration::digest));
        Ok(Planned { target, numerics, chosen, calibration })
    }

    /// What a run report says of it.
    fn report(&self) -> EncoderReport {
        EncoderReport::of(&self.target.model.name, &self.target.identity, &self.numerics, &self.chosen)
    }

    /// Loads it.
    pub(super) fn open(&self, terminal: Terminal) -> Result<Opened> {
        let encoder = self.target.open(&self.chosen, self.calibration.clone())?;
        terminal.say(&format!(
            "encoder: {} on {}, {} ({}); {} ({})",
            self.target.model.name,
            encoder.device(),
            encoder.numerics(),
            self.chosen.reason,
            self.chosen.plan,
            self.chosen.plan_source,
        ));
        warn_of_cpu(&encoder, terminal);
        let pool = Pool::new(self.chosen.plan.sessions * self.chosen.plan.threads)?;
        Ok(Opened { encoder, pool })
    }

    /// What of the encoder determines the output.
    pub(super) fn resolve_into(&self, resolved: &mut Resolved) {
        resolved.insert("model".to_owned(), json!(self.target.model.name));
        resolved.insert("encoder".to_owned(), json!(self.target.identity));
        resolved.insert("encoder_id".to_owned(), json!(self.target.identity.id()));
        resolved.insert("numerics".to_owned(), json!(self.numerics.to_string()));
        resolved.insert("numerics_parts".to_owned(), json!(self.numerics));
        // Whole, so that a head can be trained on the vectors where the model cache is another.
        if let Some(calibration) = &self.calibration {
            resolved.insert("calibration".to_owned(), json!(calibration));
        }
    }
}

/// The calibration of an int8 encoder, made where there is none.
fn calibration(target: &Target, chosen: &Chosen, from: CalibrateFrom<'_>, terminal: Terminal) -> Result<Calibration> {
    if !target.built {
        return Err(encode::Error::ReadyMadeInt8 { model_dir: target.model.dir.clone() }.into());
    }
    let kept = || -> Result<Option<Calibration>> { target.kept_calibration(chosen) };
    let inputs = match from {
        CalibrateFrom::Head(calibration) => return Ok(calibration.clone()),
        CalibrateFrom::Kept => return kept()?.ok_or(Error::Encode(encode::Error::NotCalibrated)),
        CalibrateFrom::Inputs(inputs) => match kept()? {
            Some(calibration) => return Ok(calibration),
            None => inputs,
        },
    };
    let texts = inputs.sample(encode::SAMPLE_TEXTS)?;
    terminal.say(&format!("int8: calibrating on {} texts of the input, once for this model ...", texts.len()));
    let mut progress = |share: f64| terminal.status(&format!("int8: {:.0} %", share * 100.0));
    let made = encode::calibrate(&target.options(chosen), &texts, &mut progress)?;
    terminal.say(&format!(
        "int8: {} products in 8 bits; on texts kept apart, cosine to fp32 {:.4} at worst, {:.5} on average",
        made.products(),
        made.worst_cosine,
        made.mean_cosine
    ));
    Ok(made)
}

/// Says what a pull does; the many steps of a file's progress become one line that is drawn over.
pub fn say_event(terminal: Terminal, event: &Event) {
    match event {
        Event::Progress { .. } => terminal.status(&event.to_string()),
        _ => terminal.say(&event.to_string()),
    }
}

/// One stage on its way through the engine.
pub(super) struct Job<'a> {
    pub(super) start: Start,
    pub(super) command: &'static str,
    pub(super) terminal: Terminal,
    pub(super) inputs: Arc<Inputs>,
    pub(super) out: &'a OutOptions,
    pub(super) units: &'a UnitOptions,
    pub(super) resolved: Resolved,
}

/// The encoder, and the head behind it in `score`.
pub(super) struct Loaded {
    pub(super) planned: Planned,
    pub(super) mode: Mode,
    pub(super) head: Option<Head>,
    pub(super) cached: Cached,
}

impl Job<'_> {
    /// Starts the resolved run with what every stage has in common.
    pub(super) fn resolve(command: &'static str, inputs: &Inputs) -> Resolved {
        let mut resolved = Resolved::new();
        resolved.insert("command".to_owned(), json!(command));
        resolved.insert("format".to_owned(), json!(OUTPUT_FORMAT));
        resolved.insert("inputs".to_owned(), inputs.given());
        resolved.insert(SNAPSHOT.to_owned(), inputs.snapshot());
        resolved.insert("reading".to_owned(), inputs.reading());
        resolved
    }

    /// Runs the units and completes the output; `extra` adds the stage's own figures to the report, `page` writes what
    /// people read of it.
    pub(super) fn run(
        self,
        loaded: Option<Loaded>,
        extra: impl FnOnce(&UnitStats) -> Map<String, Value>,
        page: impl FnOnce(&Value, &Manifest) -> Result<()>,
    ) -> Result<Outcome> {
        let mut sources = self.inputs.paths();
        sources.extend(loaded.iter().flat_map(|loaded| loaded.cached.paths()));
        let (mut output, state) = Output::open(&self.out.out, &self.resolved, self.out.overwrite, &sources)?;
        if state == State::Complete {
            return already_done(self.command, &self.out.out, self.terminal);
        }
        let done = output.manifest().units.len();
        match state {
            State::Partial => self.terminal.say(&format!("resuming: {done} units are done already")),
            State::Changed => self.terminal.say(&format!(
                "resuming: {done} units are done already; the input has changed, and what is new in it follows"
            )),
            State::Fresh | State::Complete => {}
        }
        self.inputs.describe(self.terminal);
        let (runtime, encoder_report, mut planner) = self.prepare(loaded, &output)?;
        output.begin()?;
        planner.generation = output.manifest().reopened;
        let probe = runtime.as_ref().map(probe);
        let bar = ProgressBar::start(self.terminal, self.command, self.inputs.bytes(), probe);
        let budget = Budget::of(self.units);
        let runner = Runner {
            planner,
            context: task_context(runtime.clone()),
            runtime: runtime.clone(),
            output: &mut output,
            memory: self.units.memory,
            guard: Box::new(|unit| self.inputs.check(&unit.spec)),
            progress: Box::new(|totals| {
                bar.update(Done { bytes: totals.bytes, rows: totals.rows_in, tokens: totals.stats.tokens });
                if budget.is_spent(&totals.rejected) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }),
        };
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        let totals = threads.block_on(async { runner.run(self.inputs.units()).await });
        // Writers that outlived their task end here, before anything looks at the folder or lets go of it.
        drop(threads);
        let totals = totals?;
        drop(bar);
        if let Some(known) = runtime.as_ref().and_then(|runtime| runtime.known.as_ref()) {
            cached::warn_of_damage(known, self.terminal);
        }
        budget.check(output.dir(), totals.met, &totals.rejected)?;
        // Before anything is taken out: an input in the middle of a copy must not cost the output.
        self.inputs.check_unchanged()?;
        if totals.met == 0 {
            return Err(Error::NoRows { inputs: self.inputs.names(), stage: self.command });
        }
        if !totals.gone.is_empty() {
            let units = totals.gone.len();
            self.terminal.say(&format!("input: {units} units of what was changed or removed count no longer"));
            output.supersede(totals.gone)?;
        }
        let (_, stats) = output.manifest().totals();
        let this_run = ThisRun { units: totals.units, rows: totals.rows_in, tokens: totals.stats.tokens, seconds: 0.0 };
        let mut report = self.start.report(output.manifest(), this_run, encoder_report, self.inputs.report());
        report.extra = extra(&stats);
        report.extra.extend(self.inputs.oddities());
        self.inputs.describe_encodings(self.terminal);
        let run = json!(report);
        page(&run, output.manifest())?;
        output.complete(&run)?;
        Ok(Outcome::Done(Box::new(report)))
    }

    fn prepare(
        &self,
        loaded: Option<Loaded>,
        output: &Output,
    ) -> Result<(Option<Arc<EmbedRuntime>>, EncoderReport, Planner)> {
        let out: PathBuf = output.dir().to_owned();
        let Some(Loaded { planned, mode, head, cached }) = loaded else {
            let planner =
                Planner { out, mode: None, model: String::new(), metadata: PartMetadata::new(), generation: 0 };
            return Ok((None, EncoderReport::default(), planner));
        };
        let known = cached.open(&planned, self.terminal)?;
        let keeps = known.as_ref().is_some_and(|known| known.store().is_some());
        let claims = match mode {
            Mode::Embed { .. } => Some(Claims::new(committed(output)?)),
            // With a store, what one unit encodes is there for all that follow.
            Mode::Score { .. } => keeps.then(|| Claims::new(HashSet::new())),
        };
        let report = planned.report();
        let model = planned.target.model.name.clone();
        let metadata = PartMetadata::from([
            ("bertline.encoder_id".to_owned(), planned.target.identity.id()),
            ("bertline.numerics".to_owned(), planned.numerics.to_string()),
            ("bertline.model".to_owned(), model.clone()),
        ]);
        let planner = Planner { out, mode: Some(mode), model, metadata, generation: 0 };
        let turns = Turns::of(planned.chosen.gpus.map_or(0, Gpus::count));
        let planned = Arc::new(planned);
        let encoder = on_demand(Arc::clone(&planned), self.terminal);
        if known.is_none() {
            // Every text will be encoded: what is wrong with the encoder must show before anything is written.
            encoder.set(planned.open(self.terminal)?);
        }
        let runtime = EmbedRuntime { encoder, known, claims, head, turns };
        Ok((Some(Arc::new(runtime)), report, planner))
    }
}

fn on_demand(planned: Arc<Planned>, terminal: Terminal) -> OnDemand {
    OnDemand::new(Box::new(move || Ok(planned.open(terminal)?)))
}

/// The outcome of a stage whose output is finished already.
pub(super) fn already_done(command: &str, out: &Path, terminal: Terminal) -> Result<Outcome> {
    let report = crate::report::read(out)?;
    let dir = out.display();
    terminal.say(&format!("{command}: `{dir}` is finished already; nothing to do (--overwrite starts over)"));
    Ok(Outcome::AlreadyDone(report))
}

fn probe(runtime: &Arc<EmbedRuntime>) -> Probe {
    let runtime = Arc::clone(runtime);
    Box::new(move || {
        let usage = runtime.encoder.usage();
        (usage.rows, usage.tokens)
    })
}

fn committed(output: &Output) -> Result<HashSet<Key>> {
    Ok(crate::cache::committed_keys(output.dir(), output.manifest())?)
}
