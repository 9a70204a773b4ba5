//! What the stages that run units have in common: opening the encoder and the output folder, running, reporting.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use super::inputs::Inputs;
use super::{DeviceOptions, Error, OutOptions, Result};
use crate::cache::{Claims, Key, Output, PartMetadata, Resolved, State, UnitStats};
use crate::encode::{
    self, Calibration, Chosen, Encoder, EncoderIdentity, EncoderOptions, Host, Numerics, Plan, Precision, Provider,
    Tuned, Wanted,
};
use crate::engine::{self, EmbedRuntime, Head, Mode, Planner, Runner, task_context};
use crate::model::{self, Event, ModelFiles};
use crate::report::{EncoderReport, RunReport, Start, ThisRun};
use crate::telemetry::{Done, Probe, ProgressBar, Terminal};
use crate::tokenize::Pool;

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
}

impl Outcome {
    /// The report as JSON.
    pub fn json(&self) -> Value {
        match self {
            Outcome::Done(report) => json!(report),
            Outcome::AlreadyDone(report) => report.clone(),
        }
    }
}

/// A model and what its vectors mean; nothing of it is loaded yet.
pub(super) struct Target {
    pub(super) model: ModelFiles,
    pub(super) identity: EncoderIdentity,
    pub(super) graph_cache: PathBuf,
    built: bool,
    large: bool,
}

impl Target {
    /// Finds the model, pulling it if need be.
    pub(super) fn find(name: &str, max_length: u32, clean: &str, terminal: Terminal) -> Result<Target> {
        let model = model::resolve(name, &mut |event| say_event(terminal, &event))?;
        let identity = encode::identity_of(&model.dir, max_length as usize, clean)?;
        let built = encode::is_built(&model.dir)?;
        let bytes = |name: &str| fs_err::metadata(model.dir.join(name)).map_or(0, |metadata| metadata.len());
        let large = bytes("model.safetensors") > LARGE_BYTES;
        Ok(Target { graph_cache: model::graph_cache()?, model, identity, built, large })
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

    /// Loads the encoder for a few texts or for many; int8 takes the kept calibration where none is given.
    pub(super) fn open(
        &self,
        chosen: &Chosen,
        calibration: Option<Arc<Calibration>>,
        many_texts: bool,
    ) -> Result<Encoder> {
        let calibration = match (chosen.precision, calibration) {
            (Precision::Int8, None) => self.kept_calibration(chosen)?.map(Arc::new),
            (_, given) => given,
        };
        Ok(Encoder::open(&EncoderOptions { calibration, many_texts, ..self.options(chosen) })?)
    }

    fn options(&self, chosen: &Chosen) -> EncoderOptions {
        EncoderOptions {
            model_dir: self.model.dir.clone(),
            graph_cache: self.graph_cache.clone(),
            max_length: self.identity.max_length as usize,
            chosen: chosen.clone(),
            many_texts: false,
            calibration: None,
            clean: self.identity.clean.clone(),
        }
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

    /// Loads it, for a few texts or for many.
    pub(super) fn open(&self, many_texts: bool, terminal: Terminal) -> Result<(Encoder, Pool)> {
        let encoder = self.target.open(&self.chosen, self.calibration.clone(), many_texts)?;
        terminal.say(&format!(
            "encoder: {} on {}, {} ({}); {} ({})",
            self.target.model.name,
            encoder.device(),
            encoder.numerics(),
            self.chosen.reason,
            self.chosen.plan,
            self.chosen.plan_source,
        ));
        let pool = Pool::new(self.chosen.plan.sessions * self.chosen.plan.threads)?;
        Ok((encoder, pool))
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
    pub(super) resolved: Resolved,
}

/// The encoder, and the head behind it in `score`.
pub(super) struct Loaded {
    pub(super) planned: Planned,
    pub(super) mode: Mode,
    pub(super) head: Option<Head>,
}

impl Job<'_> {
    /// Starts the resolved run with what every stage has in common.
    pub(super) fn resolve(command: &'static str, inputs: &Inputs) -> Result<Resolved> {
        let mut resolved = Resolved::new();
        resolved.insert("command".to_owned(), json!(command));
        resolved.insert("format".to_owned(), json!(OUTPUT_FORMAT));
        resolved.insert("input".to_owned(), inputs.resolved()?);
        resolved.insert("reading".to_owned(), inputs.reading());
        Ok(resolved)
    }

    /// Runs the units and completes the output; `extra` adds the stage's own figures to the report.
    pub(super) fn run(
        self,
        loaded: Option<Loaded>,
        extra: impl FnOnce(&UnitStats) -> Map<String, Value>,
    ) -> Result<Outcome> {
        let (mut output, state) =
            Output::open(&self.out.out, &self.resolved, self.out.overwrite, &self.inputs.paths())?;
        if state == State::Complete {
            return already_done(self.command, &self.out.out, self.terminal);
        }
        if state == State::Partial {
            let done = output.manifest().units.len();
            self.terminal.say(&format!("resuming: {done} units are done already"));
        }
        self.inputs.describe(self.terminal)?;
        let (runtime, encoder_report, planner) = self.prepare(loaded, &output)?;
        output.begin()?;
        let probe = runtime.as_ref().map(|runtime| probe(&runtime.encoder));
        let bar = ProgressBar::start(self.terminal, self.command, self.inputs.bytes(), probe);
        let runner = Runner {
            planner,
            encoder: runtime.as_ref().map(|runtime| runtime.encoder.clone()),
            context: task_context(runtime),
            output: &mut output,
            progress: Box::new(|totals| {
                bar.update(Done { bytes: totals.bytes, rows: totals.rows_in, tokens: totals.stats.tokens });
            }),
        };
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        let totals = threads.block_on(async { runner.run(self.inputs.units()).await });
        // Writers that outlived their task end here, before anything looks at the folder or lets go of it.
        drop(threads);
        let totals = totals?;
        drop(bar);
        let (rows_in, stats) = output.manifest().totals();
        if rows_in == 0 {
            let inputs = self.inputs.names();
            return Err(Error::NoRows { inputs, stage: self.command });
        }
        let this_run = ThisRun { units: totals.units, rows: totals.rows_in, tokens: totals.stats.tokens, seconds: 0.0 };
        let mut report = self.start.report(output.manifest(), this_run, encoder_report, self.inputs.report());
        report.extra = extra(&stats);
        report.extra.extend(self.inputs.oddities());
        self.inputs.describe_encodings(self.terminal);
        output.complete(&json!(report))?;
        Ok(Outcome::Done(Box::new(report)))
    }

    fn prepare(
        &self,
        loaded: Option<Loaded>,
        output: &Output,
    ) -> Result<(Option<Arc<EmbedRuntime>>, EncoderReport, Planner)> {
        let out: PathBuf = output.dir().to_owned();
        let Some(Loaded { planned, mode, head }) = loaded else {
            let planner = Planner { out, mode: None, model: String::new(), metadata: PartMetadata::new() };
            return Ok((None, EncoderReport::default(), planner));
        };
        let (encoder, pool) = planned.open(true, self.terminal)?;
        let claims = match mode {
            Mode::Embed { .. } => Some(Claims::new(committed(output)?)),
            Mode::Score { .. } => None,
        };
        let report = EncoderReport::of(&encoder, &planned.target.model.name);
        let metadata = PartMetadata::from([
            ("bertline.encoder_id".to_owned(), planned.target.identity.id()),
            ("bertline.numerics".to_owned(), planned.numerics.to_string()),
            ("bertline.model".to_owned(), planned.target.model.name.clone()),
        ]);
        let planner = Planner { out, mode: Some(mode), model: planned.target.model.name.clone(), metadata };
        let runtime = EmbedRuntime { encoder, pool, claims, head, turn: tokio::sync::Mutex::default() };
        Ok((Some(Arc::new(runtime)), report, planner))
    }
}

/// The outcome of a stage whose output is finished already.
pub(super) fn already_done(command: &str, out: &Path, terminal: Terminal) -> Result<Outcome> {
    let path = out.join("run.json");
    let text = fs_err::read(&path).map_err(engine::Error::from)?;
    let report: Value = serde_json::from_slice(&text).map_err(|source| crate::cache::Error::Damaged {
        path,
        line: source.line(),
        source,
    })?;
    let dir = out.display();
    terminal.say(&format!("{command}: `{dir}` is finished already; nothing to do (--overwrite starts over)"));
    Ok(Outcome::AlreadyDone(report))
}

fn probe(encoder: &Encoder) -> Probe {
    let encoder = encoder.clone();
    Box::new(move || {
        let usage = encoder.usage();
        (usage.rows, usage.tokens)
    })
}

fn committed(output: &Output) -> Result<HashSet<Key>> {
    Ok(crate::cache::committed_keys(output.dir(), output.manifest())?)
}
