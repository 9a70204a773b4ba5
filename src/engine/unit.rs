//! Units of work: a row range of one source, cut from the input and the resolved run alone, never from timing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_datasource::memory::MemorySourceConfig;
use datafusion_physical_plan::ExecutionPlan;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::ColumnChunkMetaData;

use super::pages::Pages;
use super::salvage::SalvageExec;
use super::{Error, Mode, Result, Scan, ScanColumns, kept, open_parquet};
use crate::files::Stored;
use crate::ingest::ROW_BYTES;

/// One unit, ready to be planned.
#[derive(Clone, Debug)]
pub struct WorkUnit {
    /// Hash of source name, content digest and row range.
    pub id: String,
    /// Ordinal in the whole run; names the unit's parts.
    pub ordinal: u64,
    /// The source for messages and the manifest.
    pub source: String,
    /// The names of all sources that rows of the unit come from.
    pub sources: Vec<String>,
    /// Records that the unit covers, rejected ones included.
    pub rows_in: u64,
    /// Bytes of input behind it, for progress.
    pub bytes: u64,
    /// Bytes of its texts and of what is kept beside them, unpacked, as far as can be told.
    pub held_bytes: u64,
    /// Seconds that reading it took before it came here.
    pub read_seconds: f64,
    /// What the plan reads.
    pub input: UnitInput,
    /// Records that the parser rejected.
    pub rejects: Option<RecordBatch>,
}

/// The bottom of a unit's plan.
#[derive(Clone, Debug)]
pub enum UnitInput {
    /// A row range of a Parquet file.
    Parquet(Scan),
    /// Reviews that the parser has just made, with the columns of `schemas/reviews.toml`, then kept ones.
    Reviews(RecordBatch),
}

impl WorkUnit {
    /// The bottom of the plan: `source_file`, `row`, `text`, `label`, then kept columns (see [`kept`]), then for Parquet
    /// what is to be rejected and why.
    pub fn scan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = match &self.input {
            UnitInput::Parquet(scan) => scan.plan().map(|plan| {
                let exec = SalvageExec::new(plan, Arc::new(scan.clone()));
                Arc::new(exec) as Arc<dyn ExecutionPlan>
            }),
            UnitInput::Reviews(batch) => kept::mark(batch).and_then(|batch| {
                let schema = batch.schema();
                let exec = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?;
                Ok(exec as Arc<dyn ExecutionPlan>)
            }),
        };
        plan.map_err(|source| Error::Plan { source_file: self.source.clone(), source })
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
        self.held_bytes * TEXT_COPIES + self.rows_in * (vectors + ROW_MEMORY)
    }
}

/// A Parquet file among the inputs.
#[derive(Clone, Debug)]
pub struct ParquetSource {
    /// The file.
    pub path: PathBuf,
    /// Its name as given.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3-128 of its content.
    pub digest: String,
    /// Its Arrow schema.
    pub schema: SchemaRef,
    /// Rows of each row group.
    pub row_groups: Arc<[u64]>,
    /// What is wrong with the pages of each row group, where that shows without decoding them.
    pub damaged: Arc<[Option<String>]>,
    /// Unpacked bytes of the text column over the whole file.
    pub text_bytes: u64,
    /// The same of all columns that are read.
    pub held_bytes: u64,
    /// Whether it is a `reviews` dataset of bertline, which carries its own lineage.
    pub carries_lineage: bool,
    /// The columns to read.
    pub columns: ScanColumns,
}

/// Whether a Parquet file is a `reviews` dataset of bertline, whose rows say themselves where they came from.
pub fn carries_lineage(metadata: &ArrowReaderMetadata) -> bool {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    pairs.is_some_and(|pairs| {
        pairs.iter().any(|pair| pair.key == "bertline.dataset" && pair.value.as_deref() == Some("reviews"))
    })
}

impl ParquetSource {
    /// Reads what planning needs from the footer and the page headers of `path`.
    pub fn open(path: &Path, name: &str, digest: String, columns: ScanColumns) -> Result<ParquetSource> {
        let metadata = open_parquet(path)?;
        let groups = metadata.metadata().row_groups();
        let carries_lineage = carries_lineage(&metadata);
        let bytes_of = |names: &[&str]| {
            let chunks = groups.iter().flat_map(|group| group.columns());
            let named = |name: Option<&String>| name.is_some_and(|name| names.contains(&name.as_str()));
            let chunks = chunks.filter(|chunk| named(chunk.column_path().parts().first()));
            // Behind a dictionary a text stands once, however often it occurs; newer writers say how long all of them are.
            let unpacked = |chunk: &ColumnChunkMetaData| {
                chunk.unencoded_byte_array_data_bytes().unwrap_or(0).max(chunk.uncompressed_size())
            };
            chunks.map(|chunk| unpacked(chunk).max(0).cast_unsigned()).sum()
        };
        let (text_bytes, held_bytes) = (bytes_of(&[&columns.text]), bytes_of(&columns.names(carries_lineage)));
        let file = Stored::open(path)?;
        let bytes = file.bytes();
        let damaged = Pages::new(file, metadata.clone(), columns.names(carries_lineage)).damaged_groups();
        Ok(ParquetSource {
            path: path.to_owned(),
            name: name.to_owned(),
            bytes,
            digest,
            schema: Arc::clone(metadata.schema()),
            row_groups: groups.iter().map(|group| group.num_rows().max(0).cast_unsigned()).collect(),
            damaged: damaged.into(),
            text_bytes,
            held_bytes,
            carries_lineage,
            columns,
        })
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.row_groups.iter().sum()
    }
}

/// Cuts a file into units of about `unit_bytes` of text, at most `limit` rows in all; ordinals go on from `first`.
pub fn plan_units(source: &ParquetSource, unit_bytes: u64, limit: u64, first: u64) -> Vec<WorkUnit> {
    let rows = source.rows().min(limit);
    let bytes_a_row = source.text_bytes / source.rows().max(1) + ROW_BYTES;
    let step = (unit_bytes / bytes_a_row).max(1);
    (0..rows.div_ceil(step))
        .map(|index| {
            let range = index * step..((index + 1) * step).min(rows);
            let rows_in = range.end - range.start;
            let name = (!source.carries_lineage).then(|| source.name.clone());
            WorkUnit {
                id: unit_id(&source.name, &source.digest, range.start, rows_in),
                ordinal: first + index,
                source: source.name.clone(),
                sources: vec![source.name.clone()],
                rows_in,
                bytes: source.bytes * rows_in / source.rows().max(1),
                held_bytes: source.held_bytes * rows_in / source.rows().max(1),
                read_seconds: 0.0,
                input: UnitInput::Parquet(Scan {
                    path: source.path.clone(),
                    bytes: source.bytes,
                    schema: Arc::clone(&source.schema),
                    row_groups: Arc::clone(&source.row_groups),
                    damaged: Arc::clone(&source.damaged),
                    range,
                    source_file: name,
                    columns: source.columns.clone(),
                }),
                rejects: None,
            }
        })
        .collect()
}

fn unit_id(name: &str, digest: &str, first_row: u64, rows: u64) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [name, digest] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&first_row.to_le_bytes()).update(&rows.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::*;

    fn source(rows: u64, text_bytes: u64) -> ParquetSource {
        ParquetSource {
            path: PathBuf::from("a.parquet"),
            name: "a.parquet".to_owned(),
            bytes: text_bytes / 2,
            digest: "d".to_owned(),
            schema: Arc::new(Schema::empty()),
            row_groups: Arc::from([rows]),
            damaged: Arc::from([None]),
            text_bytes,
            held_bytes: text_bytes,
            carries_lineage: false,
            columns: ScanColumns {
                text: "text".to_owned(),
                label: None,
                keep: Vec::new(),
                clean: crate::ingest::Clean::None,
            },
        }
    }

    proptest! {
        #[test]
        fn units_cover_every_row_once_and_in_order(rows in 0u64..5000, bytes in 0u64..10_000_000, limit in 0u64..6000) {
            let units = plan_units(&source(rows, bytes), 100_000, limit, 7);
            let mut next = 0;
            for (index, unit) in units.iter().enumerate() {
                let UnitInput::Parquet(scan) = &unit.input else { unreachable!() };
                prop_assert_eq!(scan.range.start, next);
                prop_assert_eq!(unit.ordinal, 7 + index as u64);
                prop_assert!(unit.rows_in > 0);
                next = scan.range.end;
            }
            prop_assert_eq!(next, rows.min(limit));
        }
    }
}
