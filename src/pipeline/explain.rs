//! The command `explain`: what a stage would do and cost, without doing it.
//!
//! The plan is the one that would run. Rows and units come from footers and from parsing; tokens and hours from a
//! sample of the first texts, tokenized and (a few micro-batches of it) encoded to see this machine's rate.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion_physical_plan::display::DisplayableExecutionPlan;
use futures::StreamExt;
use hashbrown::HashSet;
use serde::Serialize;

use super::inputs::{Inputs, Labels};
use super::sample::first_texts;
use super::score::{encoder_of, read_options};
use super::stage::{CalibrateFrom, Job, Planned, Target};
use super::{EmbedOptions, Error, IngestOptions, Result, ScoreOptions, Stage};
use super::{embed, score};
use crate::cache::{Manifest, PartMetadata, Resolved, is_same_run};
use crate::engine::{Mode, Opened, Planner, UnitSpec};
use crate::head::Bundle;
use crate::telemetry::Terminal;

/// Texts whose tokens are counted.
const SAMPLE_TEXTS: usize = 2000;
/// Rows that are gone through for them: some have no text.
const SAMPLE_ROWS: u64 = 20_000;
/// Micro-batches that are encoded to see the rate.
const SAMPLE_BATCHES: usize = 12;

/// What a stage would do.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The stage's command.
    pub stage: &'static str,
    /// The physical plan of the first unit.
    pub plan: String,
    /// Units in all.
    pub units: u64,
    /// Of these, units that the output holds already.
    pub units_done: u64,
    /// Whether the output folder holds another run, which the stage would refuse without `--overwrite`.
    pub holds_another_run: bool,
    /// Records of the input.
    pub rows: u64,
    /// Bytes of the input files.
    pub bytes: u64,
    /// Tokens that the encoder would see, estimated from a sample; duplicates are not taken off.
    pub tokens_estimated: Option<u64>,
    /// The rate that the sample gave on this machine.
    pub tokens_per_second: Option<f64>,
    /// Hours of encoding that are left.
    pub hours_estimated: Option<f64>,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.stage)?;
        for line in self.plan.lines() {
            writeln!(f, "  {line}")?;
        }
        if self.holds_another_run {
            writeln!(f, "  the output folder holds another run, which would be refused (--overwrite starts over)")?;
        }
        write!(f, "  units {} ({} done), rows {}, input {} bytes", self.units, self.units_done, self.rows, self.bytes)?;
        if let (Some(tokens), Some(rate), Some(hours)) =
            (self.tokens_estimated, self.tokens_per_second, self.hours_estimated)
        {
            write!(f, "\n  about {tokens} tokens at {rate:.0} tokens/s: {hours:.3} hours left to encode")?;
        }
        Ok(())
    }
}

/// Explains a stage. `train` has no units: it reads whole features.
pub fn explain(stage: &Stage, terminal: Terminal) -> Result<Explained> {
    match stage {
        Stage::Ingest(options) => explain_ingest(options),
        Stage::Embed(options) => explain_embed(options, terminal),
        Stage::Score(options) => explain_score(options, terminal),
        Stage::Train(options, _) => Ok(Explained {
            stage: "train",
            plan: format!("features of {} -> {} head", display(&options.inputs), options.recipe),
            units: 1,
            units_done: u64::from(finished(&options.out.out)?),
            holds_another_run: false,
            rows: options.inputs.iter().map(|dir| rows_of(dir)).sum::<Result<u64>>()?,
            bytes: 0,
            tokens_estimated: None,
            tokens_per_second: None,
            hours_estimated: None,
        }),
    }
}

fn explain_ingest(options: &IngestOptions) -> Result<Explained> {
    let inputs = Arc::new(Inputs::find(&options.read, &options.keep_columns, Labels::Found, options.units.unit_bytes)?);
    let planner = planner(&options.out.out, None, "");
    let resolved = Job::resolve("ingest", &inputs);
    Survey::of(&inputs, &planner, &resolved)?.explained("ingest", &inputs, None)
}

fn explain_embed(options: &EmbedOptions, terminal: Terminal) -> Result<Explained> {
    let inputs = Arc::new(Inputs::find(&options.read, "none", Labels::Found, options.units.unit_bytes)?);
    let clean = options.read.clean.to_string();
    let target = Target::find(&options.model, options.window(), &clean, options.readout(), terminal)?;
    let mode = embed::mode(options, &target)?;
    let planned = Planned::of(target, &options.device, CalibrateFrom::Kept, terminal)?;
    let planner = planner(&options.out.out, Some(mode), &planned.target.model.name);
    let resolved = embed::resolve(options, &inputs, &planned);
    let survey = Survey::of(&inputs, &planner, &resolved)?;
    let rate = survey.rate(&inputs, &planned)?;
    survey.explained("embed", &inputs, Some(rate))
}

fn explain_score(options: &ScoreOptions, terminal: Terminal) -> Result<Explained> {
    let (bundle, head) = Bundle::load(&options.head)?;
    let read = read_options(options, &bundle)?;
    let inputs = Arc::new(Inputs::find(&read, &options.keep_columns, Labels::OnDemand, options.units.unit_bytes)?);
    let planned =
        encoder_of(&bundle, &options.head, options.model.as_deref(), &options.device, CalibrateFrom::Kept, terminal)?;
    let true_label = options.read.label_column.is_some();
    let mode = score::mode(&bundle, head.width(), true_label);
    let planner = planner(&options.out.out, Some(mode), &planned.target.model.name);
    let resolved = score::resolve(&bundle, &inputs, &planned);
    let survey = Survey::of(&inputs, &planner, &resolved)?;
    let rate = survey.rate(&inputs, &planned)?;
    survey.explained("score", &inputs, Some(rate))
}

fn planner(out: &Path, mode: Option<Mode>, model: &str) -> Planner {
    Planner { out: out.to_owned(), mode, model: model.to_owned(), metadata: PartMetadata::new(), generation: 0 }
}

/// Every unit counted, the first ones looked into.
struct Survey {
    plan: String,
    units: u64,
    done: u64,
    rows: u64,
    rows_done: u64,
    holds_another_run: bool,
    /// The first units, of whose texts some are sampled.
    first: Vec<UnitSpec>,
}

/// Tokens of a text and tokens a second.
struct Rate {
    tokens_a_row: f64,
    tokens_per_second: f64,
}

impl Survey {
    fn of(inputs: &Arc<Inputs>, planner: &Planner, resolved: &Resolved) -> Result<Survey> {
        let found = Manifest::read(&planner.out)?.filter(|found| !found.units.is_empty());
        let holds_another_run = found.as_ref().is_some_and(|found| !is_same_run(&found.run, resolved));
        let same = found.filter(|_| !holds_another_run);
        let committed: HashSet<String> =
            same.map(|found| found.units.into_iter().map(|unit| unit.unit).collect()).unwrap_or_default();
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        threads.block_on(async {
            let mut survey = Survey {
                plan: String::new(),
                units: 0,
                done: 0,
                rows: 0,
                rows_done: 0,
                holds_another_run,
                first: Vec::new(),
            };
            let mut units = std::pin::pin!(inputs.units());
            while let Some(unit) = units.next().await {
                let unit = unit?;
                if survey.units == 0 {
                    let plan = planner.plan(&unit, 0)?;
                    survey.plan = DisplayableExecutionPlan::new(plan.as_ref()).indent(false).to_string();
                }
                let spec = unit.spec;
                let done = committed.contains(&spec.id);
                survey.units += 1;
                survey.done += u64::from(done);
                survey.rows_done += if done { spec.rows_in } else { 0 };
                let rows_before = survey.rows;
                survey.rows += spec.rows_in;
                if rows_before < SAMPLE_ROWS {
                    survey.first.push(spec);
                }
            }
            Ok(survey)
        })
    }

    fn rate(&self, inputs: &Inputs, planned: &Planned) -> Result<Rate> {
        let Opened { encoder, pool } = planned.open(Terminal { quiet: true, json: false })?;
        let texts = first_texts(inputs, &self.first, SAMPLE_TEXTS)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokenized = encoder.tokenizer().encode(&texts, &pool);
        let lengths = tokenized.lengths();
        let tokens: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        let tokens_a_row = tokens as f64 / texts.len().max(1) as f64;
        let plans = encoder.micro_batches(&lengths);
        let step = plans.len().div_ceil(SAMPLE_BATCHES).max(1);
        let mut plans: Vec<_> = plans.into_iter().step_by(step).collect();
        let threads = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Runtime)?;
        // The first micro-batch pays for the provider's own preparations.
        if plans.len() > 1 {
            let rest = plans.split_off(1);
            threads.block_on(encoder.encode_texts(&tokenized, plans))?;
            plans = rest;
        }
        let clock = Instant::now();
        let seen = threads.block_on(encoder.encode_texts(&tokenized, plans))?.tokens;
        let tokens_per_second = seen as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        Ok(Rate { tokens_a_row, tokens_per_second })
    }

    fn explained(self, stage: &'static str, inputs: &Inputs, rate: Option<Rate>) -> Result<Explained> {
        let left = (self.rows - self.rows_done) as f64;
        Ok(Explained {
            stage,
            plan: self.plan,
            units: self.units,
            units_done: self.done,
            holds_another_run: self.holds_another_run,
            rows: self.rows,
            bytes: inputs.bytes(),
            tokens_estimated: rate.as_ref().map(|rate| (rate.tokens_a_row * self.rows as f64) as u64),
            tokens_per_second: rate.as_ref().map(|rate| rate.tokens_per_second),
            hours_estimated: rate.map(|rate| rate.tokens_a_row * left / rate.tokens_per_second.max(1e-9) / 3600.0),
        })
    }
}

fn finished(dir: &Path) -> Result<bool> {
    Ok(Manifest::read(dir)?.is_some_and(|manifest| manifest.complete.is_some()))
}

fn rows_of(dir: &Path) -> Result<u64> {
    Ok(Manifest::read(dir)?.map_or(0, |manifest| manifest.totals().1.rows_out))
}

fn display(paths: &[std::path::PathBuf]) -> String {
    paths.iter().fold(String::new(), |mut text, path| {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        write!(text, "{comma}{}", path.display()).ok();
        text
    })
}
