//! The stages that run units: their plan, and its way through the engine into the output folder.

use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashSet;

use super::Outcome;
use super::output::{Taken, finish, say_found, take};
use super::page::{self, Sections};
use super::rejects::Budget;
use crate::cache::{ClaimedOutput, Claims, Key, Output, PartMetadata, UnitStats};
use crate::encode::Gpus;
use crate::engine::{Executor, Head, Mode, OnDemand, Planner, RunContext, RunTotals, Runner};
use crate::evaluate::Threshold;
use crate::pipeline::encoder::{Cached, Planned, warn_of_damage};
use crate::pipeline::inputs::Inputs;
use crate::pipeline::{Error, OutOptions, Result, UnitOptions};
use crate::report::html::Distributions;
use crate::report::{
    Abstained, EncoderReport, HeadReport, RowMetrics, Run, RunReport, ScoreReport, StageReport, Start, ThisRun,
};
use crate::telemetry::{Done, Probe, ProgressBar, Terminal};

/// One stage on its way through the engine.
pub(crate) struct UnitsPlan {
    pub(super) start: Start,
    pub(super) kind: Kind,
    pub(super) inputs: Arc<Inputs>,
    pub(super) out: OutOptions,
    pub(super) units: UnitOptions,
    /// What determines the output.
    pub(super) run: Run,
    /// What is done with the texts; `None` where reviews are only normalised.
    pub(super) encoding: Option<Encoding>,
}

/// What the units are made into.
pub(super) enum Kind {
    Ingest,
    Embed,
    Score(ScoredBy),
}

/// What a report says of the head.
pub(super) struct ScoredBy {
    pub(super) head: HeadReport,
    pub(super) threshold: Option<Threshold>,
    pub(super) true_label: bool,
    pub(super) max_length: u32,
}

/// The encoder, and the head behind it in `score`.
pub(super) struct Encoding {
    pub(super) planned: Planned,
    pub(super) mode: Mode,
    pub(super) head: Option<Head>,
    pub(super) cached: Cached,
}

/// What a unit's plan needs of the process and of the run, and what the report says of the encoder.
struct Prepared {
    context: Arc<RunContext>,
    encoder: EncoderReport,
    planner: Planner,
}

impl Kind {
    /// The command, for people.
    pub(super) fn command(&self) -> &'static str {
        match self {
            Kind::Ingest => "ingest",
            Kind::Embed => "embed",
            Kind::Score(_) => "score",
        }
    }

    fn report(self, stats: &UnitStats, inputs: &Inputs) -> StageReport {
        let input = inputs.oddities();
        let by = match self {
            Kind::Ingest => return StageReport::Ingest(input),
            Kind::Embed => return StageReport::Embed(input),
            Kind::Score(by) => by,
        };
        StageReport::Score(Box::new(ScoreReport {
            head: by.head,
            abstained: by.threshold.map(|threshold| Abstained { rows: stats.rows_abstained, threshold }),
            metrics: by.true_label.then(|| metrics(stats)),
            input,
            judgement: None,
        }))
    }

    /// What the page shows of the rows; only predictions have one.
    fn distributions(&self, output: &Output) -> Result<Option<Distributions>> {
        match self {
            Kind::Score(by) => Ok(Some(page::of_predictions(output.dir(), output.manifest(), by.max_length)?)),
            Kind::Ingest | Kind::Embed => Ok(None),
        }
    }
}

fn metrics(stats: &UnitStats) -> RowMetrics {
    let share = |sum: f64| (stats.labelled > 0).then(|| sum / stats.labelled as f64);
    RowMetrics {
        rows: stats.labelled,
        accuracy: share(stats.correct as f64),
        log_loss: share(stats.log_loss_sum),
        rows_with_unknown_label: stats.unknown_labels,
    }
}

/// Makes the plan of each unit.
pub(super) fn planner(plan: &UnitsPlan, metadata: PartMetadata) -> Planner {
    let (mode, model) = match &plan.encoding {
        Some(encoding) => (Some(encoding.mode.clone()), encoding.planned.target.model.name.clone()),
        None => (None, String::new()),
    };
    Planner { out: plan.out.out.clone(), mode, model, metadata, generation: 0 }
}

impl UnitsPlan {
    /// Runs the units and completes the output.
    pub(super) fn run(mut self, terminal: Terminal) -> Result<Outcome> {
        let mut sources = self.inputs.paths();
        sources.extend(self.encoding.iter().flat_map(|encoding| encoding.cached.paths()));
        let claimed = match take(&self.run, &self.out, &sources, terminal)? {
            Taken::Finished(outcome) => return Ok(outcome),
            Taken::Open(claimed) => claimed,
        };
        say_found(&claimed, terminal);
        self.inputs.describe(terminal);
        let encodes = self.encoding.is_some();
        let Prepared { context, encoder, mut planner } = self.prepare(&claimed, terminal)?;
        let mut output = claimed.begin()?;
        planner.generation = output.manifest().reopened;
        let budget = Budget::of(&self.units);
        let mut totals = self.run_units(&mut output, (&context, encodes), planner, &budget, terminal)?;
        if let Some(known) = &context.known {
            warn_of_damage(known, terminal);
        }
        budget.check(output.dir(), totals.met, &totals.rejected)?;
        // Before anything is taken out: an input in the middle of a copy must not cost the output.
        self.inputs.check_unchanged()?;
        if totals.met == 0 {
            return Err(Error::NoRows { inputs: self.inputs.names(), stage: self.kind.command() });
        }
        if !totals.gone.is_empty() {
            let units = totals.gone.len();
            terminal.say(&format!("input: {units} units of what was changed or removed count no longer"));
            output.supersede(std::mem::take(&mut totals.gone))?;
        }
        self.complete(output, &totals, encoder, terminal)
    }

    fn run_units(
        &self,
        output: &mut Output,
        (context, encodes): (&Arc<RunContext>, bool),
        planner: Planner,
        budget: &Budget,
        terminal: Terminal,
    ) -> Result<RunTotals> {
        let probe = encodes.then(|| probe(context));
        let bar = ProgressBar::start(terminal, self.kind.command(), self.inputs.bytes(), probe);
        let runner = Runner {
            planner,
            context: Arc::clone(context),
            output,
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
        Ok(totals?)
    }

    fn complete(
        self,
        output: Output,
        totals: &RunTotals,
        encoder: EncoderReport,
        terminal: Terminal,
    ) -> Result<Outcome> {
        let (_, stats) = output.manifest().totals();
        let distributions = self.kind.distributions(&output)?;
        let this_run = ThisRun { units: totals.units, rows: totals.rows_in, tokens: totals.stats.tokens, seconds: 0.0 };
        let stage = self.kind.report(&stats, &self.inputs);
        let report: RunReport = self.start.report(stage, output.manifest(), this_run, encoder, self.inputs.report());
        self.inputs.describe_encodings(terminal);
        let sections = distributions
            .as_ref()
            .map(|distributions| Sections { distributions: Some(distributions), ..Sections::default() });
        finish(output, report, sections)
    }

    /// Reads what is known of the texts, and opens the encoder where it is needed for certain.
    fn prepare(&mut self, claimed: &ClaimedOutput, terminal: Terminal) -> Result<Prepared> {
        let metadata = self.encoding.as_ref().map(|encoding| part_metadata(&encoding.planned)).unwrap_or_default();
        let planner = planner(self, metadata);
        let Some(Encoding { planned, mode, head, cached }) = self.encoding.take() else {
            let executor = Arc::new(Executor::without_encoder(self.units.memory));
            let context = Arc::new(RunContext { executor, known: None, claims: None, head: None });
            return Ok(Prepared { context, encoder: EncoderReport::default(), planner });
        };
        let known = cached.open(&planned, terminal)?;
        let keeps = known.as_ref().is_some_and(|known| known.store().is_some());
        let claims = match mode {
            Mode::Embed { .. } => Some(Claims::new(committed(claimed)?)),
            // With a store, what one unit encodes is there for all that follow.
            Mode::Score { .. } => keeps.then(|| Claims::new(HashSet::new())),
        };
        let report = planned.report();
        let gpus = planned.chosen.gpus.map_or(0, Gpus::count);
        let planned = Arc::new(planned);
        let encoder = on_demand(Arc::clone(&planned), terminal);
        if known.is_none() {
            // Every text will be encoded: what is wrong with the encoder must show before anything is written.
            encoder.set(planned.open(terminal)?);
        }
        let executor = Arc::new(Executor::with_encoder(encoder, gpus, self.units.memory));
        let context = Arc::new(RunContext { executor, known, claims, head });
        Ok(Prepared { context, encoder: report, planner })
    }
}

fn part_metadata(planned: &Planned) -> PartMetadata {
    PartMetadata::from([
        ("bertline.encoder_id".to_owned(), planned.target.identity.id()),
        ("bertline.numerics".to_owned(), planned.numerics.to_string()),
        ("bertline.model".to_owned(), planned.target.model.name.clone()),
    ])
}

fn on_demand(planned: Arc<Planned>, terminal: Terminal) -> OnDemand {
    OnDemand::new(Box::new(move || Ok(planned.open(terminal)?)))
}

fn probe(context: &RunContext) -> Probe {
    let executor = Arc::clone(&context.executor);
    Box::new(move || {
        let usage = executor.usage();
        (usage.rows, usage.tokens)
    })
}

fn committed(claimed: &ClaimedOutput) -> Result<HashSet<Key>> {
    Ok(crate::cache::committed_keys(claimed.dir(), claimed.manifest())?)
}
