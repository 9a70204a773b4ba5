//! [`SalvageExec`] lets rows that cannot be read pass as rows that say so, so that a damaged page of a Parquet file costs
//! its rows and not the run.
//!
//! It stands on a unit's scan and reads it whole, which is what happens to it above anyway. Where that meets damage, it
//! scans the unit's rows again piece by piece. It is a unary operator that keeps the scan it stands on, and not a leaf.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StringBuilder, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType, execute_stream};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{FutureExt, TryFutureExt, TryStreamExt, stream};
use parquet::errors::ParquetError;

use super::Scan;
use super::pieces::{Fault, Piece, read_in_pieces};
use super::scan::BROKEN;
use crate::schema::RejectReason;
use crate::telemetry::catch_panic_in;

/// Why a row is to be rejected, as a code; null where it is not.
pub(super) const REASON: &str = "__bertline_reason";
/// The same for people.
const DETAIL: &str = "__bertline_detail";
/// The first bytes of what is rejected.
const RAW_PREFIX: &str = "__bertline_raw_prefix";

/// The columns that say whether and why a row is to be rejected.
pub(super) fn reject_fields() -> [Field; 3] {
    let nullable = |name: &str, kind| Field::new(name, kind, true);
    [nullable(REASON, DataType::Utf8), nullable(DETAIL, DataType::Utf8), nullable(RAW_PREFIX, DataType::Binary)]
}

/// These columns of a batch, if it has them.
pub(super) fn reject_columns(batch: &RecordBatch) -> Option<[&ArrayRef; 3]> {
    let column = |name| batch.column_by_name(name);
    Some([column(REASON)?, column(DETAIL)?, column(RAW_PREFIX)?])
}

/// The operator.
#[derive(Clone, Debug)]
pub(super) struct SalvageExec {
    input: Arc<dyn ExecutionPlan>,
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
}

impl SalvageExec {
    /// Stands on the plan of `scan`.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, scan: Arc<Scan>) -> SalvageExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output_schema(&input.schema())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        SalvageExec { input, scan, properties: Arc::new(properties) }
    }
}

/// Any column but a row's place is null in a row that cannot be read.
fn output_schema(input: &Schema) -> SchemaRef {
    let fields = input.fields().iter().filter(|field| field.name() != BROKEN);
    let fields = fields.map(|field| match field.name().as_str() {
        "source_file" | "row" => Arc::clone(field),
        _ => Arc::new(field.as_ref().clone().with_nullable(true)),
    });
    Arc::new(Schema::new(fields.chain(reject_fields().map(Arc::new)).collect::<Vec<_>>()))
}

impl DisplayAs for SalvageExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SalvageExec")
    }
}

impl ExecutionPlan for SalvageExec {
    fn name(&self) -> &'static str {
        "SalvageExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        Ok(Arc::new(SalvageExec::new(children.swap_remove(0), Arc::clone(&self.scan))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (input, scan, output) = (Arc::clone(&self.input), Arc::clone(&self.scan), self.schema());
        let batches = read(input, scan, Arc::clone(&output), context)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten_stream();
        Ok(Box::pin(RecordBatchStreamAdapter::new(output, batches)))
    }
}

async fn read(
    input: Arc<dyn ExecutionPlan>,
    scan: Arc<Scan>,
    output: SchemaRef,
    context: Arc<TaskContext>,
) -> Result<Vec<RecordBatch>> {
    let whole = match scan.damage() {
        Some(why) => Err(Fault::Damage(why.to_owned())),
        None => collected(input, Arc::clone(&context)).await,
    };
    let why = match whole {
        Ok(batches) => return batches.iter().map(|batch| flagged(batch, &output)).collect(),
        Err(Fault::Damage(why)) => why,
        Err(Fault::Other(error)) => return Err(error),
    };
    let starts = scan.page_starts().map_err(|error| DataFusionError::External(Box::new(error)))?;
    let planned = Arc::clone(&scan);
    let rows = move |rows: Range<u64>| {
        let (scan, context) = (Scan { range: rows, ..Scan::clone(&planned) }, Arc::clone(&context));
        async move {
            match scan.damage() {
                Some(why) => Err(Fault::Damage(why.to_owned())),
                None => collected(scan.plan().map_err(Fault::Other)?, context).await,
            }
        }
        .boxed()
    };
    let mut batches = Vec::new();
    for piece in read_in_pieces(&starts, scan.range.end, why, &rows).await? {
        match piece {
            Piece::Read(read) => {
                batches.extend(read.iter().map(|batch| flagged(batch, &output)).collect::<Result<Vec<_>>>()?);
            }
            Piece::Damaged(rows, why) => batches.push(damaged(&scan, rows, &why, &output)?),
        }
    }
    Ok(batches)
}

/// Runs a scan; a decoder that panics on what it reads has met damage too.
async fn collected(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> std::result::Result<Vec<RecordBatch>, Fault> {
    let read = async { execute_stream(plan, context)?.try_collect().await };
    match catch_panic_in(read).await {
        Ok(Ok(batches)) => Ok(batches),
        Ok(Err(error)) => Err(if is_damage(&error) { Fault::Damage(error.to_string()) } else { Fault::Other(error) }),
        Err(panic) => Err(Fault::Damage(panic)),
    }
}

/// Whether an error comes from what is stored, and not from the disk, the file system or a limit of the decoder.
fn is_damage(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ParquetError(error) => !matches!(**error, ParquetError::External(_) | ParquetError::NYI(_)),
        DataFusionError::ArrowError(error, _) => matches!(**error, ArrowError::ParquetError(_)),
        _ => false,
    }
}

/// A batch of the scan with what the scan itself says of rows that are no text.
fn flagged(batch: &RecordBatch, output: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let broken = match batch.column_by_name(BROKEN) {
        Some(broken) => broken.as_binary::<i32>().clone(),
        None => BinaryArray::new_null(rows),
    };
    let where_broken = |text: &str| -> ArrayRef {
        let mut column = StringBuilder::new();
        (0..rows).for_each(|row| column.append_option(broken.is_valid(row).then_some(text)));
        Arc::new(column.finish())
    };
    let (reason, detail) =
        (where_broken(RejectReason::InvalidUtf8.name()), where_broken("bytes that are no UTF-8 in the text column"));
    let mut columns: Vec<ArrayRef> = plain_fields(output).map(|field| Arc::clone(&batch[field.name()])).collect();
    columns.extend([reason, detail, Arc::new(broken)]);
    Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
}

/// Rows that cannot be read. The lineage that a `reviews` dataset carries goes with them: they are named by their place
/// in its part.
fn damaged(scan: &Scan, range: Range<u64>, why: &str, output: &SchemaRef) -> Result<RecordBatch> {
    let rows = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let place = scan.source_file.clone().unwrap_or_else(|| scan.path.display().to_string());
    let mut columns: Vec<ArrayRef> = plain_fields(output)
        .map(|field| match field.name().as_str() {
            "source_file" => text(&place),
            "row" => Arc::new(UInt64Array::from_iter_values(range.clone())),
            _ => new_null_array(field.data_type(), rows),
        })
        .collect();
    let detail = format!("the file is damaged here: {why}");
    columns.extend([text(RejectReason::CorruptPage.name()), text(&detail), new_null_array(&DataType::Binary, rows)]);
    Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
}

/// All columns but those that speak of rejects.
fn plain_fields(output: &SchemaRef) -> impl Iterator<Item = &Arc<Field>> {
    output.fields().iter().filter(|field| ![REASON, DETAIL, RAW_PREFIX].contains(&field.name().as_str()))
}
