//! [`EmbedExec`] turns the reviews of one unit into embeddings, or into predictions where a head is attached.
//!
//! It takes the unit's rows whole (a unit is bounded), finds the distinct texts, claims those that are new, tokenizes
//! them in parallel, sorts by token count, cuts micro-batches by token budget, hands these to the one shared encoder,
//! and puts the results back in input order. Micro-batches never mix units, so a unit's bits do not depend on its
//! neighbours. It is a unary operator on purpose: a custom leaf would be read again by every task of a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::{concat_batches, is_null};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result, internal_err};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType};
use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{TryStreamExt, stream};

use super::context::RunContext;
use super::ledger::{Ledger, Receipt};
use super::mode::Mode;
use super::on_demand::Opened;
use super::texts::{Distinct, Encoded};
use super::{kept, output_rows, salvage};
use crate::cache::{self, Key, Known, UnitStats};
use crate::schema;
use crate::tokenize::Tokenized;

/// The embedding operator.
#[derive(Clone, Debug)]
pub(crate) struct EmbedExec {
    input: Arc<dyn ExecutionPlan>,
    mode: Mode,
    /// Place of the unit in the order in which units claim texts.
    sequence: u64,
    model: String,
    ledger: Ledger,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl EmbedExec {
    /// Puts the operator on top of a scan with the columns `source_file`, `row`, `text`, `label`, then kept ones; what it
    /// does goes into `ledger`.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        mode: Mode,
        sequence: u64,
        model: &str,
        ledger: Ledger,
    ) -> EmbedExec {
        let schema = output_schema(&input.schema(), &mode);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        EmbedExec { input, mode, sequence, model: model.to_owned(), ledger, metrics, properties: Arc::new(properties) }
    }
}

fn output_schema(input: &Schema, mode: &Mode) -> SchemaRef {
    match mode {
        Mode::Embed { width, .. } => {
            let vector = schema::features(*width);
            let vector = vector.field(1).data_type().clone();
            Arc::new(Schema::new(
                vec![
                    Field::new("source_file", DataType::Utf8, false),
                    Field::new("row", DataType::UInt64, false),
                    Field::new("key", DataType::FixedSizeBinary(schema::KEY_BYTES), true),
                    Field::new("label", DataType::Utf8, true),
                    Field::new("embedding", vector, true),
                    Field::new("n_tokens", DataType::UInt32, true),
                    Field::new("truncated", DataType::Boolean, true),
                ]
                .into_iter()
                .chain(salvage::reject_fields())
                .collect::<Vec<_>>(),
            ))
        }
        Mode::Score { classes, optional, .. } => {
            let predictions = schema::predictions(*classes, optional);
            let kept = kept::output_fields(input, &predictions);
            let rejects = salvage::reject_fields().map(Arc::new);
            let rejects = rejects.into_iter().filter(|field| input.index_of(field.name()).is_ok());
            let fields: Vec<_> = predictions.fields().iter().cloned().chain(kept).chain(rejects).collect();
            Arc::new(Schema::new(fields))
        }
    }
}

impl DisplayAs for EmbedExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbedExec: model={}, ", self.model)?;
        match &self.mode {
            Mode::Embed { width, .. } => write!(f, "output=embedding[{width}]"),
            Mode::Score { classes, .. } => write!(f, "output=probabilities[{classes}]"),
        }
    }
}

impl ExecutionPlan for EmbedExec {
    fn name(&self) -> &'static str {
        "EmbedExec"
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
        let (input, ledger) = (children.swap_remove(0), self.ledger.clone());
        Ok(Arc::new(EmbedExec::new(input, self.mode.clone(), self.sequence, &self.model, ledger)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(run) = context.session_config().get_extension::<RunContext>() else {
            return internal_err!("the session has no RunContext");
        };
        let input = self.input.execute(partition, context)?;
        let unit = Unit { run, mode: self.mode.clone(), sequence: self.sequence, output: self.schema() };
        let (ledger, metrics) = (self.ledger.clone(), self.metrics.clone());
        let rows = async move {
            let (batch, stats) = unit.run(input).await?;
            ledger.add(Receipt { stats, ..Receipt::default() }, &metrics);
            Ok(batch)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(rows))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct Unit {
    run: Arc<RunContext>,
    mode: Mode,
    sequence: u64,
    output: SchemaRef,
}

impl Unit {
    async fn run(self, input: SendableRecordBatchStream) -> Result<(RecordBatch, UnitStats)> {
        // Taken before anything can fail, so that units behind this one never wait for a dead one.
        let ticket = self.run.claims.as_ref().map(|claims| claims.ticket(self.sequence));
        let schema = input.schema();
        let reading = Instant::now();
        let batches: Vec<RecordBatch> = input.try_collect().await?;
        let batch = concat_batches(&schema, &batches)?;
        drop(batches);
        let read = reading.elapsed();
        let texts = self.texts(&batch)?;
        let distinct = Distinct::of(&texts);
        let mine = match &ticket {
            Some(ticket) => ticket.claim(&distinct.keys).await.map_err(external)?,
            None => vec![true; distinct.keys.len()],
        };
        let wanted = (0..mine.len()).filter(|slot| mine[*slot]).collect();
        let mut encoded = Encoded::of(distinct.keys.len());
        self.obtain(&texts, &distinct, wanted, &mut encoded).await?;
        if let Some(ticket) = ticket {
            encoded.failures = ticket.settle(&distinct.keys, &encoded.failures).await.map_err(external)?;
        }
        if matches!(self.mode, Mode::Score { .. }) {
            // What earlier units claimed is in the store by now.
            let open = |slot: &usize| encoded.places[*slot].is_none() && encoded.failures[*slot].is_none();
            let others = (0..mine.len()).filter(open).collect();
            self.obtain(&texts, &distinct, others, &mut encoded).await?;
        }
        let (rows, mut stats) = match &self.mode {
            Mode::Embed { width, .. } => {
                output_rows::embedding_rows(&self.output, &batch, &distinct, &encoded, *width)?
            }
            Mode::Score { .. } => match &self.run.head {
                Some(head) => output_rows::predictions(&self.output, &batch, &distinct, &encoded, head)?,
                None => return internal_err!("scoring needs a head"),
            },
        };
        stats.add(&encoded.stats);
        stats.stage_seconds.read += read.as_secs_f64();
        Ok((rows, stats))
    }

    /// The texts to encode: null where the row is a reject for lack of a label.
    fn texts(&self, batch: &RecordBatch) -> Result<StringArray> {
        let texts = batch["text"].as_string::<i32>();
        match self.mode {
            Mode::Embed { require_label: true, .. } => {
                Ok(nullif(texts, &is_null(&batch["label"])?)?.as_string::<i32>().clone())
            }
            _ => Ok(texts.clone()),
        }
    }

    /// Gets the vectors of the distinct texts in `slots`: from a cache, or else from the encoder.
    async fn obtain(
        &self,
        texts: &StringArray,
        distinct: &Distinct,
        slots: Vec<usize>,
        encoded: &mut Encoded,
    ) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let slots = if self.run.known.is_some() { self.fetch(distinct, slots, encoded).await? } else { slots };
        if slots.is_empty() { Ok(()) } else { self.encode(texts, distinct, &slots, encoded).await }
    }

    /// Takes from a cache what it has; returns the slots of the rest.
    async fn fetch(&self, distinct: &Distinct, slots: Vec<usize>, encoded: &mut Encoded) -> Result<Vec<usize>> {
        let keys: Vec<Key> = slots.iter().map(|slot| distinct.keys[*slot]).collect();
        let fetched = self.with_known(move |known| known.fetch(&keys)).await?.unwrap_or_default();
        Ok(encoded.take_fetched(&slots, fetched))
    }

    async fn encode(
        &self,
        texts: &StringArray,
        distinct: &Distinct,
        slots: &[usize],
        encoded: &mut Encoded,
    ) -> Result<()> {
        let opened = self.run.executor.encoder().await?;
        let encoder = &opened.encoder;
        let rows = slots.iter().map(|slot| distinct.first[*slot]).collect();
        let tokenizing = Instant::now();
        let tokenized = tokenize(Arc::clone(&opened), texts.clone(), rows).await?;
        encoded.stats.stage_seconds.tokenize += tokenizing.elapsed().as_secs_f64();
        let plans = encoder.micro_batches(&tokenized.lengths());
        // Given back before this unit waits for others to settle, who need it to get there.
        let turn = self.run.executor.turn().await?;
        let vectors = encoder.encode_texts(&tokenized, plans).await.map_err(external)?;
        drop(turn);
        let first = encoded.tokens.len();
        encoded.take_encoded(slots, &tokenized, vectors);
        self.keep(distinct, slots, encoded, first, encoder.width()).await
    }

    /// Adds what was just encoded, from the place `first` on, to the store, if there is one.
    async fn keep(
        &self,
        distinct: &Distinct,
        slots: &[usize],
        encoded: &Encoded,
        first: usize,
        width: usize,
    ) -> Result<()> {
        if self.run.known.as_ref().is_none_or(|known| known.store().is_none()) {
            return Ok(());
        }
        let (mut keys, mut vectors, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let well = slots.iter().zip(first..).filter(|(slot, _)| encoded.failures[**slot].is_none());
        for (slot, place) in well {
            keys.push(distinct.keys[*slot]);
            vectors.extend_from_slice(&encoded.vectors[place * width..(place + 1) * width]);
            tokens.push(encoded.tokens[place]);
        }
        self.with_known(move |known| known.add(&keys, &vectors, &tokens)).await.map(drop)
    }

    /// Runs what reads or writes cached parts on a thread that may block; `None` where there is no cache.
    async fn with_known<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Known) -> cache::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let run = Arc::clone(&self.run);
        let done = tokio::task::spawn_blocking(move || run.known.as_ref().map(work).transpose());
        done.await.map_err(external)?.map_err(external)
    }
}

async fn tokenize(opened: Arc<Opened>, texts: StringArray, rows: Vec<usize>) -> Result<Tokenized> {
    tokio::task::spawn_blocking(move || {
        let texts: Vec<&str> = rows.iter().map(|row| texts.value(*row)).collect();
        opened.encoder.tokenizer().encode(&texts, &opened.pool)
    })
    .await
    .map_err(external)
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
