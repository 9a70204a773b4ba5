//! A unit as data: everything from which any process can make its plan again.
//!
//! A unit is the row range of one source, or small sources packed together. Its spec says which rows and how they are read,
//! never what has been read: that is what a [`super::WorkUnit`] adds, and what [`super::UnitOpener`] makes of a spec.

use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ScanColumns;
use crate::ingest::{ParsedRows, RecordRange, any_path};

/// A unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnitSpec {
    /// Hash of source names, content digests and row ranges.
    pub id: String,
    /// Ordinal in the whole run; names the unit's parts.
    pub ordinal: u64,
    /// Records that the unit covers, rejected ones included.
    pub rows_in: u64,
    /// Bytes of input behind it, for progress.
    pub bytes: u64,
    /// Bytes of its texts and of what is kept beside them, unpacked, as far as can be told.
    pub held_bytes: u64,
    /// Which rows they are.
    pub rows: UnitRows,
}

/// The rows of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnitRows {
    /// Of a Parquet file, which the plan scans.
    Parquet(ParquetRows),
    /// Of anything else, which is parsed.
    Parsed(ParsedRows),
}

/// A row range of one Parquet file. What else a scan needs is in the file's footer and page headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParquetRows {
    /// The file.
    #[serde(with = "any_path")]
    pub path: PathBuf,
    /// Its name as given.
    pub name: String,
    /// BLAKE3 of its content.
    pub digest: String,
    /// The rows, counted over the file.
    pub range: Range<u64>,
    /// The columns to read.
    pub columns: ScanColumns,
}

impl UnitSpec {
    /// The records that it covers: the names of their sources, and their ordinals there.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        let (parquet, parsed) = match &self.rows {
            UnitRows::Parquet(rows) => (Some((rows.name.as_str(), rows.range.clone())), [].as_slice()),
            UnitRows::Parsed(rows) => (None, rows.ranges.as_slice()),
        };
        let rows = |range: &RecordRange| range.first_row..range.first_row + range.rows;
        parquet.into_iter().chain(parsed.iter().map(move |range| (range.source.name(), rows(range))))
    }

    /// The names of all sources that rows of the unit come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.ranges().map(|(name, _)| name)
    }

    /// The first of them, for messages and the manifest.
    pub(crate) fn source(&self) -> &str {
        self.sources().next().unwrap_or_default()
    }
}
