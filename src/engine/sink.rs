//! [`PartSinkExec`] writes a unit's output as Parquet parts and emits the count of its rows, as DataFusion's sinks do.
//!
//! Those need a single partition and name files at random, and a folder of files is not atomic. Here each unit writes its
//! own parts under names that its ordinal gives, durable before the receipt names them; the parts count only once the
//! manifest says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, collect,
};
use futures::{TryStreamExt, stream};

use super::ledger::{Ledger, Receipt};
use super::mode::Mode;
use super::{kept, salvage};
use crate::cache::{Part, PartMetadata, PartWriter, UnitStats};
use crate::schema::{self, Dataset, RejectCounts};

/// Where and how a unit's parts are written.
#[derive(Clone, Debug)]
pub(crate) struct SinkSpec {
    /// The output folder.
    pub out: PathBuf,
    /// The parts' file name, the same in every dataset.
    pub part_name: String,
    /// Key-value metadata of the parts.
    pub metadata: PartMetadata,
    /// What the input holds; `None` for plain reviews.
    pub mode: Option<Mode>,
    /// Records that the parser rejected, to be written beside those that this unit rejects.
    pub rejects: Option<RecordBatch>,
}

/// The writing operator.
#[derive(Clone, Debug)]
pub(crate) struct PartSinkExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SinkSpec>,
    ledger: Ledger,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

static COUNT: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)])));

impl PartSinkExec {
    /// Puts the sink on top of a plan whose operators share `ledger`.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<SinkSpec>, ledger: Ledger) -> PartSinkExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&COUNT)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        PartSinkExec { input, spec, ledger, metrics: ExecutionPlanMetricsSet::new(), properties: Arc::new(properties) }
    }

    /// Executes the plan that this is the top of, and returns what all of it made, did and cost.
    pub(crate) async fn run(self: Arc<Self>, context: Arc<TaskContext>) -> Result<Receipt> {
        collect(Arc::clone(&self) as Arc<dyn ExecutionPlan>, context).await?;
        Ok(self.receipt())
    }

    /// What the plan has handed out so far; it does so once.
    pub(super) fn receipt(&self) -> Receipt {
        self.ledger.take()
    }
}

impl DisplayAs for PartSinkExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let datasets = match self.spec.mode {
            None => "reviews, rejects",
            Some(Mode::Embed { .. }) => "rows, features, rejects",
            Some(Mode::Score { .. }) => "predictions, rejects",
        };
        write!(f, "PartSinkExec: datasets=[{datasets}]")
    }
}

impl ExecutionPlan for PartSinkExec {
    fn name(&self) -> &'static str {
        "PartSinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (input, spec) = (children.swap_remove(0), Arc::clone(&self.spec));
        Ok(Arc::new(PartSinkExec::new(input, spec, self.ledger.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let spec = Arc::clone(&self.spec);
        let (ledger, metrics) = (self.ledger.clone(), self.metrics.clone());
        let count = async move {
            let schema = input.schema();
            let reading = Instant::now();
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            // Nothing else lies between here and the input of plain reviews; elsewhere it is timed where it is read.
            let read = spec.mode.is_none().then(|| reading.elapsed());
            // Writing and fsync block, and a blocked worker of the runtime would stall other units.
            let mut written = tokio::task::spawn_blocking(move || write(&spec, &schema, &batches))
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))??;
            written.stats.stage_seconds.read = read.unwrap_or_default().as_secs_f64();
            let count = UInt64Array::from(vec![written.stats.rows_out + written.stats.rows_rejected]);
            ledger.add(written, &metrics);
            Ok(RecordBatch::try_new(Arc::clone(&COUNT), vec![Arc::new(count)])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(count))))
    }
}

fn write(spec: &SinkSpec, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Receipt> {
    let writing = Instant::now();
    let batch = concat_batches(schema, batches)?;
    let mut parts = Vec::new();
    let mut part = |dataset, batch: &RecordBatch| write_part(spec, dataset, batch, &mut parts);
    let mut stats = UnitStats::default();
    match spec.mode {
        None => stats.rows_out = part(Dataset::Reviews, &reviews(&usable(&batch)?)?)?,
        Some(Mode::Score { .. }) => stats.rows_out = part(Dataset::Predictions, &usable(&batch)?)?,
        Some(Mode::Embed { .. }) => {
            let rows = filter_record_batch(&batch, &is_not_null(&batch["key"])?)?;
            stats.rows_out = part(Dataset::Rows, &project(&rows, &schema::rows())?)?;
            let features = filter_record_batch(&batch, &is_not_null(&batch["embedding"])?)?;
            part(Dataset::Features, &project(&features, &feature_schema(&batch))?)?;
        }
    }
    if let Some(rejects) = rejects(spec, &batch)? {
        stats.rows_rejected = part(Dataset::Rejects, &rejects)?;
        stats.rejected = by_reason(&rejects);
    }
    stats.stage_seconds.write = writing.elapsed().as_secs_f64();
    Ok(Receipt { parts, stats })
}

fn by_reason(rejects: &RecordBatch) -> RejectCounts {
    let mut counts = BTreeMap::<&str, u64>::new();
    for code in rejects["reason"].as_string::<i32>().iter().flatten() {
        *counts.entry(code).or_default() += 1;
    }
    let mut sum = RejectCounts::default();
    counts.into_iter().for_each(|(code, rows)| sum.add_code(code, rows));
    sum
}

/// Writes a part, unless it would be empty; returns its rows as the writer counted them.
fn write_part(spec: &SinkSpec, dataset: Dataset, batch: &RecordBatch, parts: &mut Vec<Part>) -> Result<u64> {
    if batch.num_rows() == 0 {
        return Ok(0);
    }
    let external = |error: crate::cache::Error| DataFusionError::External(Box::new(error));
    let mut writer =
        PartWriter::create(&spec.out, dataset, &spec.part_name, batch.schema(), &spec.metadata).map_err(external)?;
    writer.write(batch).map_err(external)?;
    let part = writer.finish().map_err(external)?;
    let rows = part.rows;
    parts.push(part);
    Ok(rows)
}

/// The rejects of the parser and of this unit (what the scan could not read; in embed also rows without text, or with
/// one that cannot be encoded), in the order of rows.
fn rejects(spec: &SinkSpec, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
    let mut found: Vec<RecordBatch> = spec.rejects.iter().cloned().collect();
    if let Some([reason, ..]) = salvage::reject_columns(batch) {
        let rejected = filter_record_batch(batch, &is_not_null(reason)?)?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::clone(&rejected["source_file"]),
            Arc::clone(&rejected["row"]),
            new_null_array(&DataType::UInt64, rejected.num_rows()),
        ];
        columns.extend(salvage::reject_columns(&rejected).into_iter().flatten().cloned());
        found.push(RecordBatch::try_new(schema::rejects(), columns)?);
    }
    found.retain(|batch| batch.num_rows() > 0);
    if found.is_empty() { Ok(None) } else { Ok(Some(concat_batches(&schema::rejects(), &found)?)) }
}

/// The rows that are no rejects, without the columns that say so.
fn usable(batch: &RecordBatch) -> Result<RecordBatch> {
    let Some([reason, ..]) = salvage::reject_columns(batch) else { return Ok(batch.clone()) };
    let usable = filter_record_batch(batch, &is_null(reason)?)?;
    let schema = usable.schema();
    let rejects = salvage::reject_fields();
    let plain: Vec<usize> = (0..schema.fields().len())
        .filter(|column| rejects.iter().all(|reject| reject.name() != schema.field(*column).name()))
        .collect();
    Ok(usable.project(&plain)?)
}

/// The plan's columns as the `reviews` dataset has them.
fn reviews(batch: &RecordBatch) -> Result<RecordBatch> {
    let contract = schema::reviews(&[]);
    let kept = kept::output_fields(&batch.schema(), &contract);
    let fields: Vec<_> = contract.fields().iter().cloned().chain(kept).collect();
    let working = contract.fields().iter().map(|field| Arc::clone(&batch[field.name().as_str()]));
    let columns = working.chain(kept::columns(batch)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn feature_schema(batch: &RecordBatch) -> SchemaRef {
    match batch["embedding"].data_type() {
        DataType::FixedSizeList(_, width) => schema::features(width.unsigned_abs() as usize),
        _ => batch.schema(),
    }
}

fn project(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| Arc::clone(&batch[field.name().as_str()])).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
