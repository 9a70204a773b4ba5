//! What `explain` says: what a stage would do and cost, without doing it.
//!
//! The plan is the one that would run. Rows and units come from footers and from parsing; tokens and hours from a
//! sample of the first texts, tokenized and (a few micro-batches of it) encoded to see this machine's rate.

use std::path::Path;
use std::time::Instant;

use datafusion_physical_plan::display::DisplayableExecutionPlan;
use futures::StreamExt;
use hashbrown::HashSet;
use serde::Serialize;

use super::units::{UnitsPlan, planner};
use crate::cache::{Manifest, PartMetadata};
use crate::engine::{Opened, UnitSpec};
use crate::pipeline::encoder::Planned;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::inputs::sample::first_texts;
use crate::pipeline::{Error, Result};
use crate::report::Run;
use crate::telemetry::Terminal;

/// Texts whose tokens are counted.
const SAMPLE_TEXTS: usize = 2000;
/// Rows that are gone through for them: some have no text.
const SAMPLE_ROWS: u64 = 20_000;
/// Micro-batches that are encoded to see the rate.
const SAMPLE_BATCHES: usize = 12;

/// What a stage would do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Explained {
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

impl Explained {
    /// What a stage without units would do.
    pub(super) fn at_once(stage: &'static str, plan: String, rows: u64, found: &Existing) -> Explained {
        Explained {
            stage,
            plan,
            units: 1,
            units_done: u64::from(found.finished),
            holds_another_run: found.another,
            rows,
            bytes: 0,
            tokens_estimated: None,
            tokens_per_second: None,
            hours_estimated: None,
        }
    }
}

/// What an output folder holds already.
pub(super) struct Existing {
    /// Units of the same run.
    units: HashSet<String>,
    /// Whether that run is finished.
    finished: bool,
    /// Whether the folder holds another run.
    another: bool,
}

impl Existing {
    /// Of a stage that leaves files, and no folder of its own.
    pub(super) fn of_files(finished: bool, another: bool) -> Existing {
        Existing { units: HashSet::new(), finished, another }
    }

    /// Looks into the folder.
    pub(super) fn of(out: &Path, run: &Run) -> Result<Existing> {
        let found = Manifest::read(out)?.filter(|found| !found.units.is_empty());
        let another = found.as_ref().is_some_and(|found| !found.run.is_same(&run.record()));
        let same = found.filter(|_| !another);
        let finished = same.as_ref().is_some_and(|found| found.complete.is_some());
        let units = same.map(|found| found.units.into_iter().map(|unit| unit.unit).collect()).unwrap_or_default();
        Ok(Existing { units, finished, another })
    }
}

/// Explains a stage that runs units.
pub(super) fn explain_units(plan: &UnitsPlan) -> Result<Explained> {
    let survey = Survey::of(plan)?;
    let rate = plan.encoding.as_ref().map(|encoding| survey.rate(&plan.inputs, &encoding.planned)).transpose()?;
    Ok(survey.explained(plan, rate))
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
    fn of(stage: &UnitsPlan) -> Result<Survey> {
        let existing = Existing::of(&stage.out.out, &stage.run)?;
        let planner = planner(stage, PartMetadata::new());
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        threads.block_on(async {
            let mut survey = Survey {
                plan: String::new(),
                units: 0,
                done: 0,
                rows: 0,
                rows_done: 0,
                holds_another_run: existing.another,
                first: Vec::new(),
            };
            let mut units = std::pin::pin!(stage.inputs.units());
            while let Some(unit) = units.next().await {
                let unit = unit?;
                if survey.units == 0 {
                    let plan = planner.plan(&unit, 0)?;
                    survey.plan = DisplayableExecutionPlan::new(plan.as_ref()).indent(false).to_string();
                }
                let spec = unit.spec;
                let done = existing.units.contains(&spec.id);
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

    fn explained(self, plan: &UnitsPlan, rate: Option<Rate>) -> Explained {
        let left = (self.rows - self.rows_done) as f64;
        Explained {
            stage: plan.kind.command(),
            plan: self.plan,
            units: self.units,
            units_done: self.done,
            holds_another_run: self.holds_another_run,
            rows: self.rows,
            bytes: plan.inputs.bytes(),
            tokens_estimated: rate.as_ref().map(|rate| (rate.tokens_a_row * self.rows as f64) as u64),
            tokens_per_second: rate.as_ref().map(|rate| rate.tokens_per_second),
            hours_estimated: rate.map(|rate| rate.tokens_a_row * left / rate.tokens_per_second.max(1e-9) / 3600.0),
        }
    }
}
