//! What the stages that run units have in common: opening the encoder and the output folder, running, reporting.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use super::inputs::Inputs;
use super::{DeviceOptions, Error, OutOptions, Result};
use crate::cache::{Claims, Key, Output, PartMetadata, Resolved, State, UnitStats};
use crate::encode::{self, Encoder, EncoderIdentity, EncoderOptions, Numerics, PrecisionChoice};
use crate::engine::{self, EmbedRuntime, Head, Mode, Planner, Runner, task_context};
use crate::model::{self, Event, ModelFiles};
use crate::report::{EncoderReport, RunReport, Start, ThisRun};
use crate::telemetry::{Done, Probe, ProgressBar, Terminal};
use crate::tokenize::Pool;

/// Raised whenever the layout of an output folder changes.
const OUTPUT_FORMAT: u32 = 1;

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

/// The model that a stage uses, and what its vectors will be; nothing of it is loaded yet.
pub(super) struct Planned {
    pub(super) model: ModelFiles,
    pub(super) identity: EncoderIdentity,
    pub(super) numerics: Numerics,
    /// Why this precision, where it is neither asked for nor the encoder's own choice.
    pub(super) reason: Option<&'static str>,
    options: EncoderOptions,
}

impl Planned {
    /// Finds the model (pulling it if need be) and resolves precision and device.
    pub(super) fn find(
        name: &str,
        max_length: u32,
        clean: &str,
        device: &DeviceOptions,
        terminal: Terminal,
    ) -> Result<Planned> {
        let model = model::resolve(name, &mut |event| say_event(terminal, &event))?;
        let max_length = max_length as usize;
        let identity = encode::identity_of(&model.dir, max_length, clean)?;
        let precision = device.precision.unwrap_or(PrecisionChoice::Auto);
        let numerics = encode::numerics_of(precision, device.device, device.provider)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = EncoderOptions {
            model_dir: model.dir.clone(),
            graph_cache: model::graph_cache()?,
            max_length,
            precision,
            device: device.device,
            provider: device.provider,
            threads: device.threads.map_or(cores, usize::from),
            clean: clean.to_owned(),
        };
        Ok(Planned { model, identity, numerics, reason: None, options })
    }

    /// Loads it.
    pub(super) fn open(&self, terminal: Terminal) -> Result<(Encoder, Pool)> {
        let encoder = Encoder::open(&self.options)?;
        terminal.say(&format!(
            "encoder: {} on {}, {} threads, {} ({})",
            self.model.name,
            encoder.device(),
            encoder.threads(),
            encoder.numerics(),
            self.reason.unwrap_or(encoder.precision_reason())
        ));
        let pool = Pool::new(self.options.threads)?;
        Ok((encoder, pool))
    }

    /// What of the encoder determines the output.
    pub(super) fn resolve_into(&self, resolved: &mut Resolved) {
        resolved.insert("model".to_owned(), json!(self.model.name));
        resolved.insert("encoder".to_owned(), json!(self.identity));
        resolved.insert("encoder_id".to_owned(), json!(self.identity.id()));
        resolved.insert("numerics".to_owned(), json!(self.numerics.to_string()));
        resolved.insert("numerics_parts".to_owned(), json!(self.numerics));
    }
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
        let (encoder, pool) = planned.open(self.terminal)?;
        let claims = match mode {
            Mode::Embed { .. } => Some(Claims::new(committed(output)?)),
            Mode::Score { .. } => None,
        };
        let report = EncoderReport::of(&encoder, &planned.model.name);
        let metadata = PartMetadata::from([
            ("bertline.encoder_id".to_owned(), planned.identity.id()),
            ("bertline.numerics".to_owned(), planned.numerics.to_string()),
            ("bertline.model".to_owned(), planned.model.name.clone()),
        ]);
        let planner = Planner { out, mode: Some(mode), model: planned.model.name.clone(), metadata };
        let runtime = EmbedRuntime {
            encoder,
            pool,
            claims,
            head,
            token_budget: encode::TOKEN_BUDGET,
            turn: tokio::sync::Mutex::default(),
        };
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
