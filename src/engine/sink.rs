//! [`PartSinkExec`] writes a unit's output as Parquet parts and emits one row a part.
//!
//! DataFusion's own sinks need a single partition and name files at random, and a folder of files is not atomic. Here
//! each unit writes its own parts under names that its ordinal gives, durable before the row that names them comes out;
//! the parts count only once the manifest says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{TryStreamExt, stream};

use super::{Mode, kept, salvage};
use crate::cache::{Part, PartMetadata, PartWriter};
use crate::schema::{self, Dataset, RejectCounts};

/// What the names of the counters of rejects begin with; their reason follows.
const REJECTED: &str = "rejected:";

/// Where and how a unit's parts are written.
#[derive(Clone, Debug)]
pub struct SinkSpec {
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
pub struct PartSinkExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SinkSpec>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

static RECEIPT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let number = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![text("dataset"), text("path"), number("rows"), number("bytes"), text("digest")]))
});

impl PartSinkExec {
    /// Puts the sink on top of a plan.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<SinkSpec>) -> PartSinkExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&RECEIPT)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        PartSinkExec { input, spec, metrics: ExecutionPlanMetricsSet::new(), properties: Arc::new(properties) }
    }

    /// The rows that a finished sink put among the rejects, by reason.
    pub fn rejected(plan: &Arc<dyn ExecutionPlan>) -> RejectCounts {
        let mut counts = RejectCounts::default();
        for metric in plan.metrics().unwrap_or_default().iter() {
            if let Some(code) = metric.value().name().strip_prefix(REJECTED) {
                counts.add_code(code, metric.value().as_usize() as u64);
            }
        }
        counts
    }

    /// The parts that a finished sink emitted.
    pub fn receipts(batches: &[RecordBatch]) -> Vec<Part> {
        let mut parts = Vec::new();
        for batch in batches {
            let text = |name: &str| batch[name].as_string::<i32>();
            let number = |name: &str| batch[name].as_primitive::<UInt64Type>();
            parts.extend((0..batch.num_rows()).map(|i| Part {
                dataset: text("dataset").value(i).to_owned(),
                path: text("path").value(i).to_owned(),
                rows: number("rows").value(i),
                bytes: number("bytes").value(i),
                digest: text("digest").value(i).to_owned(),
            }));
        }
        parts
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
        Ok(Arc::new(PartSinkExec::new(children.swap_remove(0), Arc::clone(&self.spec))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (spec, metrics) = (Arc::clone(&self.spec), self.metrics.clone());
        let parts = async move {
            let schema = input.schema();
            let reading = Instant::now();
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            if spec.mode.is_none() {
                // Nothing else lies between here and the input.
                MetricBuilder::new(&metrics).subset_time("read_time", partition).add_elapsed(reading);
            }
            // Writing and fsync block, and a blocked worker of the runtime would stall other units.
            tokio::task::spawn_blocking(move || write(&spec, &schema, &batches, &metrics))
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(parts))))
    }
}

fn write(
    spec: &SinkSpec,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    metrics: &ExecutionPlanMetricsSet,
) -> Result<RecordBatch> {
    let write_time = MetricBuilder::new(metrics).subset_time("write_time", 0);
    let _writing = write_time.timer();
    let batch = concat_batches(schema, batches)?;
    let mut parts = Vec::new();
    match spec.mode {
        None => parts.extend(write_part(spec, Dataset::Reviews, &reviews(&usable(&batch)?)?)?),
        Some(Mode::Score { .. }) => parts.extend(write_part(spec, Dataset::Predictions, &usable(&batch)?)?),
        Some(Mode::Embed { .. }) => {
            let rows = filter_record_batch(&batch, &is_not_null(&batch["key"])?)?;
            parts.extend(write_part(spec, Dataset::Rows, &project(&rows, &schema::rows())?)?);
            let features = filter_record_batch(&batch, &is_not_null(&batch["embedding"])?)?;
            let schema = feature_schema(&batch);
            parts.extend(write_part(spec, Dataset::Features, &project(&features, &schema)?)?);
        }
    }
    if let Some(rejects) = rejects(spec, &batch)? {
        parts.extend(write_part(spec, Dataset::Rejects, &rejects)?);
        count(&rejects, metrics);
    }
    receipt(&parts)
}

fn count(rejects: &RecordBatch, metrics: &ExecutionPlanMetricsSet) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for reason in rejects["reason"].as_string::<i32>().iter().flatten() {
        *counts.entry(reason).or_default() += 1;
    }
    for (reason, rows) in counts {
        MetricBuilder::new(metrics).counter(format!("{REJECTED}{reason}"), 0).add(rows);
    }
}

fn write_part(spec: &SinkSpec, dataset: Dataset, batch: &RecordBatch) -> Result<Option<Part>> {
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    let external = |error: crate::cache::Error| DataFusionError::External(Box::new(error));
    let mut writer =
        PartWriter::create(&spec.out, dataset, &spec.part_name, batch.schema(), &spec.metadata).map_err(external)?;
    writer.write(batch).map_err(external)?;
    writer.finish().map(Some).map_err(external)
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

fn receipt(parts: &[Part]) -> Result<RecordBatch> {
    let text = |get: fn(&Part) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(parts.iter().map(get))) };
    let number = |get: fn(&Part) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(parts.iter().map(get))) };
    let columns = vec![
        text(|part| &part.dataset),
        text(|part| &part.path),
        number(|part| part.rows),
        number(|part| part.bytes),
        text(|part| &part.digest),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&RECEIPT), columns)?)
}
