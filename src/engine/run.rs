//! Runs units a few at a time and commits them strictly in their order.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion_common_runtime::SpawnedTask;
use datafusion_execution::TaskContext;
use datafusion_physical_plan::{ExecutionPlan, collect};
use futures::{Stream, StreamExt};
use hashbrown::{HashMap, HashSet};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::embed::{EmbedExec, Mode};
use super::interrupt::interrupted;
use super::runtime::{EmbedRuntime, UNITS_IN_FLIGHT};
use super::sink::{PartSinkExec, SinkSpec};
use super::spec::UnitSpec;
use super::unit::WorkUnit;
use super::{Error, Result};
use crate::cache::{Output, PartMetadata, StageSeconds, UnitRecord, UnitStats};
use crate::encode::Usage;
use crate::schema::{Dataset, RejectCounts};

/// Time between two looks at a process.
const WAIT: Duration = Duration::from_millis(20);

/// What this process has done so far.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
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
pub type Progress<'a> = Box<dyn Fn(&RunTotals) -> ControlFlow<()> + 'a>;

/// Called before every commit: whether what the unit was read from is still what it was.
pub type Guard<'a> = Box<dyn Fn(&WorkUnit) -> Result<()> + 'a>;

/// Makes the plan of each unit of a run.
#[derive(Clone, Debug)]
pub struct Planner {
    /// The output folder.
    pub out: PathBuf,
    /// What `EmbedExec` makes; `None` where reviews are only normalised.
    pub mode: Option<Mode>,
    /// The model's name, for the plan's display.
    pub model: String,
    /// Key-value metadata of the parts.
    pub metadata: PartMetadata,
    /// How often the input was found to have changed: part of a part's name, so that none replaces an older one.
    pub generation: u64,
}

impl Planner {
    /// The physical plan of a unit; `sequence` is its place among the units that this process runs.
    pub fn plan(&self, unit: &WorkUnit, sequence: u64) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = unit.scan()?;
        let input: Arc<dyn ExecutionPlan> = match &self.mode {
            Some(mode) => Arc::new(EmbedExec::new(scan, mode.clone(), sequence, &self.model)),
            None => scan,
        };
        let spec = SinkSpec {
            out: self.out.clone(),
            part_name: part_name(unit, self.generation),
            metadata: self.metadata.clone(),
            mode: self.mode.clone(),
            rejects: unit.rejects().cloned(),
        };
        Ok(Arc::new(PartSinkExec::new(input, Arc::new(spec))))
    }
}

fn part_name(unit: &WorkUnit, generation: u64) -> String {
    let generation = if generation == 0 { String::new() } else { format!("-{generation}") };
    format!("part-{:06}-{}{generation}.parquet", unit.spec.ordinal, &unit.spec.id[..8])
}

/// A stage's units on their way into an output folder.
pub struct Runner<'a> {
    /// Makes the plans.
    pub planner: Planner,
    /// What the plans run in.
    pub context: Arc<TaskContext>,
    /// Where the parts go. Borrowed: a writer outlives the task that it belongs to, so the folder must stay held until
    /// the caller has stopped the runtime.
    pub output: &'a mut Output,
    /// Its encoder is asked for the time in which it had work.
    pub runtime: Option<Arc<EmbedRuntime>>,
    /// Bytes that the units in flight may take; one alone may take more.
    pub memory: u64,
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
    pub async fn run(self, units: impl Stream<Item = Result<WorkUnit>>) -> Result<RunTotals> {
        let Runner { planner, context, output, runtime, memory, guard, progress } = self;
        let room = Room::of(memory);
        let in_flight = runtime.as_ref().map_or(UNITS_IN_FLIGHT, |runtime| runtime.turns.units_in_flight());
        let done: HashMap<String, UnitStats> =
            output.manifest().units.iter().map(|unit| (unit.unit.clone(), unit.stats.clone())).collect();
        let mut sequence = 0..;
        let started = units.then(|unit| {
            let planned = unit.and_then(|unit| {
                let fresh = !done.contains_key(&unit.spec.id);
                let plan = fresh.then(|| planner.plan(&unit, sequence.next().unwrap_or(u64::MAX))).transpose()?;
                Ok((unit, plan))
            });
            let (room, context) = (room.clone(), Arc::clone(&context));
            let mode = planner.mode.clone();
            async move {
                let (unit, plan) = planned?;
                let Some(plan) = plan else { return Ok(Started { unit, running: None }) };
                // Before anything of it runs, and in the order of units: one that waits for an earlier unit's texts must
                // not hold the room that the earlier one needs.
                let room = room.take(unit.memory(mode.as_ref())).await?;
                let task = SpawnedTask::spawn(collect(Arc::clone(&plan), context));
                Ok(Started { unit, running: Some(Running { plan, task, room }) })
            }
        });
        let mut finished = std::pin::pin!(
            started.map(|started: Result<Started>| async { finish(started?).await }).buffered(in_flight)
        );
        let mut totals = RunTotals::default();
        let mut seen = HashSet::new();
        let mut clock = Clock::start(runtime);
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

/// A unit's plan (asked for its metrics at the end) and the task that executes it.
struct Running {
    plan: Arc<dyn ExecutionPlan>,
    task: SpawnedTask<datafusion_common::Result<Vec<RecordBatch>>>,
    room: OwnedSemaphorePermit,
}

/// The memory that units in flight share.
#[derive(Clone)]
struct Room {
    kibibytes: u32,
    free: Arc<Semaphore>,
}

impl Room {
    fn of(bytes: u64) -> Room {
        let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Room { kibibytes, free: Arc::new(Semaphore::new(kibibytes as usize)) }
    }

    /// Waits until there is room for `bytes`, or for one that takes more than all of it, until no other is there.
    async fn take(self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(self.kibibytes);
        self.free.acquire_many_owned(wanted).await.map_err(|_| Error::WorkerLost)
    }
}

async fn finish(started: Started) -> Result<(WorkUnit, Option<UnitRecord>)> {
    let Started { unit, running } = started;
    let Some(Running { plan, task, room }) = running else { return Ok((unit, None)) };
    let receipts = task.join().await.map_err(|_| Error::WorkerLost)?;
    let receipts = receipts.map_err(|error| Error::unit(unit.spec.source(), error))?;
    drop(room);
    let record = record(&unit, &plan, &receipts)?;
    Ok((unit, Some(record)))
}

/// What a finished unit commits; checks that no row was lost.
fn record(unit: &WorkUnit, plan: &Arc<dyn ExecutionPlan>, receipts: &[RecordBatch]) -> Result<UnitRecord> {
    let parts = PartSinkExec::receipts(receipts);
    let rows = |dataset: Dataset| {
        parts.iter().filter(|part| part.dataset == dataset.name()).map(|part| part.rows).sum::<u64>()
    };
    let rows_out = rows(Dataset::Reviews) + rows(Dataset::Rows) + rows(Dataset::Predictions);
    let rows_rejected = rows(Dataset::Rejects);
    if rows_out + rows_rejected != unit.spec.rows_in {
        let source_file = unit.spec.source().to_owned();
        return Err(Error::RowsLost { source_file, rows_in: unit.spec.rows_in, rows_out, rows_rejected });
    }
    let counter = |name: &str| counter(plan, name);
    let seconds = |name: &str| counter(name) as f64 / 1e9;
    let stats = UnitStats {
        rows_out,
        rows_rejected,
        rows_deduplicated: counter("rows_deduplicated"),
        tokens: counter("tokens"),
        padded_tokens: counter("padded_tokens"),
        labelled: counter("labelled"),
        correct: counter("correct"),
        log_loss_sum: counter("log_loss_nano") as f64 / 1e9,
        unknown_labels: counter("unknown_labels"),
        rows_abstained: counter("rows_abstained"),
        rows_failed: counter("rows_failed"),
        batches_split: counter("batches_split"),
        texts: counter("texts"),
        texts_truncated: counter("texts_truncated"),
        rejected: PartSinkExec::rejected(plan),
        texts_cached: counter("texts_cached"),
        stage_seconds: StageSeconds {
            read: unit.read_seconds + seconds("read_time"),
            tokenize: seconds("tokenize_time"),
            write: seconds("write_time"),
            ..StageSeconds::default()
        },
        ..UnitStats::default()
    };
    let UnitSpec { id, rows_in, .. } = &unit.spec;
    let source = unit.spec.source().to_owned();
    Ok(UnitRecord { unit: id.clone(), source, rows_in: *rows_in, parts, stats })
}

fn counter(plan: &Arc<dyn ExecutionPlan>, name: &str) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name(name)).map_or(0, |value| value.as_usize() as u64);
    own + plan.children().into_iter().map(|child| counter(child, name)).sum::<u64>()
}

/// Splits the run's wall time and encoder time into laps, one a commit, so that totals add up across restarts.
struct Clock {
    runtime: Option<Arc<EmbedRuntime>>,
    last: Instant,
    usage: Usage,
}

impl Clock {
    fn start(runtime: Option<Arc<EmbedRuntime>>) -> Clock {
        Clock { runtime, last: Instant::now(), usage: Usage::default() }
    }

    fn lap(&mut self, stats: &mut UnitStats) {
        let now = Instant::now();
        stats.seconds = (now - self.last).as_secs_f64();
        self.last = now;
        if let Some(runtime) = &self.runtime {
            let usage = runtime.encoder.usage();
            stats.encoder_seconds = usage.wall_seconds - self.usage.wall_seconds;
            stats.stage_seconds.encode = usage.busy_seconds - self.usage.busy_seconds;
            stats.stage_seconds.queue = usage.queue_seconds - self.usage.queue_seconds;
            self.usage = usage;
        }
    }
}

/// Waits for a process; ends it and returns `None` where this one is told to end.
pub fn unless_interrupted(child: &mut Child) -> Result<Option<ExitStatus>> {
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    threads.block_on(async {
        let mut interrupt = std::pin::pin!(interrupted());
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            tokio::select! {
                () = tokio::time::sleep(WAIT) => {}
                () = &mut interrupt => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn units_wait_for_room_and_one_that_is_too_large_goes_alone() {
        let room = Room::of(100 << 10);
        let first = room.clone().take(60 << 10).await.unwrap();
        let second = room.clone().take(40 << 10).await.unwrap();
        let mut large = std::pin::pin!(room.clone().take(500 << 10));
        assert!(large.as_mut().now_or_never().is_none());
        drop(first);
        // Behind a large one even a small one waits: units start in their order.
        let mut small = std::pin::pin!(room.clone().take(1 << 10));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(second);
        let large = large.await.unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.await.unwrap());
    }
}
