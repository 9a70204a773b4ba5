//! Runs units a few at a time and commits them strictly in their order.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use datafusion_common_runtime::SpawnedTask;
use futures::{Stream, StreamExt};
use hashbrown::{HashMap, HashSet};
use tokio::sync::OwnedSemaphorePermit;

use super::context::{RunContext, task_context};
use super::executor::Executor;
use super::interrupt::interrupted;
use super::ledger::Receipt;
use super::planner::Planner;
use super::spec::UnitSpec;
use super::unit::WorkUnit;
use super::{Error, Result};
use crate::cache::{Output, UnitRecord, UnitStats};
use crate::encode::Usage;
use crate::schema::RejectCounts;

/// What this process has done so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunTotals {
    /// Units committed.
    pub units: u64,
    /// Records of these units.
    pub rows_in: u64,
    /// Bytes of input behind these units (and behind those that were done before).
    pub bytes: u64,
    /// Sums over these units.
    pub stats: UnitStats,
    /// Records of all units of the input that were come by, done now or before.
    pub met: u64,
    /// Their rejects, by reason.
    pub rejected: RejectCounts,
    /// Units that were committed once and are no longer in the input; empty where the run was ended early.
    pub gone: Vec<String>,
}

/// Called after every commit; says whether to go on.
pub(crate) type Progress<'a> = Box<dyn Fn(&RunTotals) -> ControlFlow<()> + 'a>;

/// Called before every commit: whether what the unit was read from is still what it was.
pub(crate) type Guard<'a> = Box<dyn Fn(&WorkUnit) -> Result<()> + 'a>;

/// A stage's units on their way into an output folder.
pub(crate) struct Runner<'a> {
    /// Makes the plans.
    pub planner: Planner,
    /// What the units share.
    pub context: Arc<RunContext>,
    /// Where the parts go. Borrowed: a writer outlives the task that it belongs to, so the folder must stay held until
    /// the caller has stopped the runtime.
    pub output: &'a mut Output,
    /// Asked before every commit.
    pub guard: Guard<'a>,
    /// Told after every commit.
    pub progress: Progress<'a>,
}

impl Runner<'_> {
    /// Runs every unit that is not committed yet; returns what this process did, and which committed units are no longer
    /// in the input.
    ///
    /// The first failure stops the run: units in flight are dropped, what is committed stays.
    pub(crate) async fn run(self, units: impl Stream<Item = Result<WorkUnit>>) -> Result<RunTotals> {
        let Runner { planner, context, output, guard, progress } = self;
        let (executor, context) = (Arc::clone(&context.executor), task_context(Some(context)));
        let done: HashMap<String, UnitStats> =
            output.manifest().units.iter().map(|unit| (unit.unit.clone(), unit.stats.clone())).collect();
        let mut sequence = 0..;
        let started = units.then(|unit| {
            let planned = unit.and_then(|unit| {
                let fresh = !done.contains_key(&unit.spec.id);
                let plan = fresh.then(|| planner.plan(&unit, sequence.next().unwrap_or(u64::MAX))).transpose()?;
                Ok((unit, plan))
            });
            let (executor, context) = (Arc::clone(&executor), Arc::clone(&context));
            let mode = planner.mode.clone();
            async move {
                let (unit, plan) = planned?;
                let Some(plan) = plan else { return Ok(Started { unit, running: None }) };
                // Before anything of it runs, and in the order of units: one that waits for an earlier unit's texts must
                // not hold the memory that the earlier one needs.
                let memory = executor.room_for(unit.memory(mode.as_ref())).await?;
                let task = SpawnedTask::spawn(plan.run(context));
                Ok(Started { unit, running: Some(Running { task, memory }) })
            }
        });
        let finished = started.map(|started: Result<Started>| async { finish(started?).await });
        let mut finished = std::pin::pin!(finished.buffered(executor.units_in_flight()));
        let mut totals = RunTotals::default();
        let mut seen = HashSet::new();
        let mut clock = Clock::start(Arc::clone(&executor));
        let mut interrupt = std::pin::pin!(interrupted());
        loop {
            let result = tokio::select! {
                result = finished.next() => result,
                () = &mut interrupt => return Err(Error::Interrupted { units: output.manifest().units.len() }),
            };
            let Some(result) = result else { break };
            let (unit, record) = result?;
            if !seen.insert(unit.spec.id.clone()) {
                return Err(Error::UnitTwice { source_file: unit.spec.source().to_owned() });
            }
            totals.meet(&unit, record.as_ref().map(|record| &record.stats).or(done.get(&unit.spec.id)));
            if let Some(mut record) = record {
                // Its rows have all been read by now.
                guard(&unit)?;
                clock.lap(&mut record.stats);
                totals.units += 1;
                totals.rows_in += record.rows_in;
                totals.stats.add(&record.stats);
                output.commit(record)?;
            }
            if progress(&totals).is_break() {
                return Ok(totals);
            }
        }
        totals.gone = done.keys().filter(|id| !seen.contains(*id)).cloned().collect();
        Ok(totals)
    }
}

impl RunTotals {
    fn meet(&mut self, unit: &WorkUnit, stats: Option<&UnitStats>) {
        self.bytes += unit.spec.bytes;
        self.met += unit.spec.rows_in;
        stats.iter().for_each(|stats| self.rejected.merge(&stats.rejected));
    }
}

struct Started {
    unit: WorkUnit,
    running: Option<Running>,
}

/// The task that executes a unit's plan.
struct Running {
    task: SpawnedTask<datafusion_common::Result<Receipt>>,
    memory: OwnedSemaphorePermit,
}

async fn finish(started: Started) -> Result<(WorkUnit, Option<UnitRecord>)> {
    let Started { unit, running } = started;
    let Some(Running { task, memory }) = running else { return Ok((unit, None)) };
    let receipt = task.join().await.map_err(|_| Error::WorkerLost)?;
    let receipt = receipt.map_err(|error| Error::unit(unit.spec.source(), error))?;
    drop(memory);
    let record = record(&unit, receipt)?;
    Ok((unit, Some(record)))
}

/// What a finished unit commits; checks that no row was lost.
fn record(unit: &WorkUnit, receipt: Receipt) -> Result<UnitRecord> {
    let Receipt { parts, mut stats } = receipt;
    let UnitStats { rows_out, rows_rejected, .. } = stats;
    let UnitSpec { id, rows_in, .. } = &unit.spec;
    let (rows_in, source) = (*rows_in, unit.spec.source().to_owned());
    if rows_out + rows_rejected != rows_in {
        return Err(Error::RowsLost { source_file: source, rows_in, rows_out, rows_rejected });
    }
    stats.stage_seconds.read += unit.read_seconds;
    Ok(UnitRecord { unit: id.clone(), source, rows_in, parts, stats })
}

/// Splits the run's wall time and encoder time into laps, one a commit, so that totals add up across restarts.
struct Clock {
    executor: Arc<Executor>,
    last: Instant,
    usage: Usage,
}

impl Clock {
    fn start(executor: Arc<Executor>) -> Clock {
        let usage = executor.usage();
        Clock { executor, last: Instant::now(), usage }
    }

    fn lap(&mut self, stats: &mut UnitStats) {
        let (now, usage) = (Instant::now(), self.executor.usage());
        stats.seconds = (now - self.last).as_secs_f64();
        stats.encoder_seconds = usage.wall_seconds - self.usage.wall_seconds;
        stats.stage_seconds.encode = usage.busy_seconds - self.usage.busy_seconds;
        stats.stage_seconds.queue = usage.queue_seconds - self.usage.queue_seconds;
        (self.last, self.usage) = (now, usage);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::schema::{self, RejectReason};

    fn unit(rows_in: u64) -> WorkUnit {
        let none = RecordBatch::new_empty;
        let mut unit = WorkUnit::of_reviews("u", 0, none(schema::reviews(&[])), none(schema::rejects()));
        unit.spec.rows_in = rows_in;
        unit
    }

    fn receipt(rows_out: u64, rows_rejected: u64) -> Receipt {
        let rejected = RejectCounts::from_iter([(RejectReason::BadJson, rows_rejected)]);
        Receipt { stats: UnitStats { rows_out, rows_rejected, rejected, ..UnitStats::default() }, ..Receipt::default() }
    }

    #[test]
    fn a_unit_that_lost_a_row_or_gained_one_is_refused() {
        let record = |rows_out| record(&unit(5), receipt(rows_out, 2));
        let whole = record(3).unwrap();
        assert_eq!((whole.rows_in, whole.stats.rows_out, whole.stats.stage_seconds.read), (5, 3, 0.25));
        for rows_out in [2, 4] {
            let told = record(rows_out).unwrap_err().to_string();
            assert!(told.contains("5 rows in") && told.contains(&format!("{rows_out} out and 2 rejected")), "{told}");
        }
    }

    #[test]
    fn rejects_of_units_that_were_done_before_count_too() {
        let mut totals = RunTotals::default();
        totals.meet(&unit(5), Some(&receipt(3, 2).stats));
        totals.meet(&unit(4), Some(&receipt(3, 1).stats));
        assert_eq!((totals.met, totals.bytes, totals.rejected.with_text()), (9, 200, 3));
        assert_eq!((totals.units, totals.rows_in), (0, 0));
    }
}
