//! Parquet files among the inputs: what planning needs of them, and how they are cut into units.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::ColumnChunkMetaData;

use super::pages::Pages;
use super::spec::{ParquetRows, UnitRows, UnitSpec};
use super::{Result, Scan, ScanColumns, open_parquet};
use crate::files::Stored;
use crate::ingest::ROW_BYTES;

/// A Parquet file among the inputs.
#[derive(Clone, Debug)]
pub(crate) struct ParquetSource {
    /// The file.
    pub path: PathBuf,
    /// Its name as given.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its content.
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
pub(crate) fn carries_lineage(metadata: &ArrowReaderMetadata) -> bool {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    pairs.is_some_and(|pairs| {
        pairs.iter().any(|pair| pair.key == "bertline.dataset" && pair.value.as_deref() == Some("reviews"))
    })
}

impl ParquetSource {
    /// Reads what planning needs from the footer and the page headers of `path`.
    pub(crate) fn open(path: &Path, name: &str, digest: String, columns: ScanColumns) -> Result<ParquetSource> {
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

    /// Whether it is what opening these would give.
    pub(super) fn is(&self, path: &Path, name: &str, digest: &str, columns: &ScanColumns) -> bool {
        self.path == path && self.name == name && self.digest == digest && self.columns == *columns
    }

    /// Rows of the file.
    pub(crate) fn rows(&self) -> u64 {
        self.row_groups.iter().sum()
    }

    /// The scan of some of them.
    pub(crate) fn scan(&self, range: Range<u64>) -> Scan {
        Scan {
            path: self.path.clone(),
            bytes: self.bytes,
            schema: Arc::clone(&self.schema),
            row_groups: Arc::clone(&self.row_groups),
            damaged: Arc::clone(&self.damaged),
            range,
            source_file: (!self.carries_lineage).then(|| self.name.clone()),
            columns: self.columns.clone(),
        }
    }
}

/// Cuts a file into units of about `unit_bytes` of text, at most `limit` rows in all; ordinals go on from `first`.
pub(crate) fn plan_units(source: &ParquetSource, unit_bytes: u64, limit: u64, first: u64) -> Vec<UnitSpec> {
    let rows = source.rows().min(limit);
    let bytes_a_row = source.text_bytes / source.rows().max(1) + ROW_BYTES;
    let step = (unit_bytes / bytes_a_row).max(1);
    (0..rows.div_ceil(step))
        .map(|index| {
            let range = index * step..((index + 1) * step).min(rows);
            let rows_in = range.end - range.start;
            UnitSpec {
                id: unit_id(&source.name, &source.digest, range.start, rows_in),
                ordinal: first + index,
                rows_in,
                bytes: source.bytes * rows_in / source.rows().max(1),
                held_bytes: source.held_bytes * rows_in / source.rows().max(1),
                rows: UnitRows::Parquet(ParquetRows {
                    path: source.path.clone(),
                    name: source.name.clone(),
                    digest: source.digest.clone(),
                    range,
                    columns: source.columns.clone(),
                }),
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
                let UnitRows::Parquet(rows) = &unit.rows else { unreachable!() };
                prop_assert_eq!(rows.range.start, next);
                prop_assert_eq!(unit.ordinal, 7 + index as u64);
                prop_assert!(unit.rows_in > 0);
                next = rows.range.end;
            }
            prop_assert_eq!(next, rows.min(limit));
        }
    }
}
