//! A unit that is ready to be planned: its spec, and what this process has of its rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_datasource::memory::MemorySourceConfig;
use datafusion_physical_plan::ExecutionPlan;

use super::salvage::SalvageExec;
use super::spec::UnitSpec;
use super::{Error, Mode, Result, Scan, kept};

/// One unit, ready to be planned.
#[derive(Clone, Debug)]
pub(crate) struct WorkUnit {
    /// What it consists of.
    pub spec: UnitSpec,
    /// Seconds that reading it took before it came here.
    pub read_seconds: f64,
    /// What the plan reads.
    pub input: UnitInput,
}

/// The bottom of a unit's plan.
#[derive(Clone, Debug)]
pub(crate) enum UnitInput {
    /// A row range of a Parquet file.
    Parquet(Scan),
    /// What a parser has made.
    Parsed {
        /// The columns of `schemas/reviews.toml`, then kept ones.
        reviews: RecordBatch,
        /// The columns of `schemas/rejects.toml`.
        rejects: RecordBatch,
    },
}

impl WorkUnit {
    /// The bottom of the plan: `source_file`, `row`, `text`, `label`, then kept columns (see [`kept`]), then for Parquet
    /// what is to be rejected and why.
    pub(crate) fn scan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = match &self.input {
            UnitInput::Parquet(scan) => scan.plan().map(|plan| {
                let exec = SalvageExec::new(plan, Arc::new(scan.clone()));
                Arc::new(exec) as Arc<dyn ExecutionPlan>
            }),
            UnitInput::Parsed { reviews, .. } => kept::mark(reviews).and_then(|batch| {
                let schema = batch.schema();
                let exec = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?;
                Ok(exec as Arc<dyn ExecutionPlan>)
            }),
        };
        plan.map_err(|source| Error::Plan { source_file: self.spec.source().to_owned(), source })
    }

    /// Records that the parser rejected.
    pub(crate) fn rejects(&self) -> Option<&RecordBatch> {
        match &self.input {
            UnitInput::Parquet(_) => None,
            UnitInput::Parsed { rejects, .. } => Some(rejects),
        }
    }
}

#[cfg(test)]
impl WorkUnit {
    /// A unit of reviews that were just parsed, whatever file they are from.
    pub(super) fn of_reviews(id: &str, ordinal: u64, reviews: RecordBatch, rejects: RecordBatch) -> WorkUnit {
        use super::spec::{ParquetRows, UnitRows};
        let rows = (reviews.num_rows() + rejects.num_rows()) as u64;
        let columns = super::ScanColumns {
            text: "text".to_owned(),
            label: None,
            keep: Vec::new(),
            clean: crate::ingest::Clean::None,
        };
        let name = "a.csv".to_owned();
        let range = ParquetRows { path: (&name).into(), name, digest: String::new(), range: 0..rows, columns };
        let id = id.to_owned();
        let spec = UnitSpec { id, ordinal, rows_in: rows, bytes: 100, held_bytes: 100, rows: UnitRows::Parquet(range) };
        WorkUnit { spec, read_seconds: 0.25, input: UnitInput::Parsed { reviews, rejects } }
    }
}

/// Copies of a text on its way: as read, as it goes to the tokenizer, its tokens, and what is written.
const TEXT_COPIES: u64 = 4;
/// Copies of a vector in `embed`: as it comes from the encoder, in the order of rows, those of new texts, as written.
const VECTOR_COPIES: u64 = 4;
/// What a row takes beside: its key, its places, its share of the columns.
const ROW_MEMORY: u64 = 128;

impl WorkUnit {
    /// Bytes that the unit takes while it is in flight, about; `mode` says what is made of it.
    pub(super) fn memory(&self, mode: Option<&Mode>) -> u64 {
        let float = size_of::<f32>() as u64;
        let vectors = match mode {
            None => 0,
            Some(Mode::Embed { width, .. }) => *width as u64 * float * VECTOR_COPIES,
            Some(Mode::Score { width, classes, .. }) => (*width as u64 + *classes as u64 * VECTOR_COPIES) * float,
        };
        self.spec.held_bytes * TEXT_COPIES + self.spec.rows_in * (vectors + ROW_MEMORY)
    }
}
