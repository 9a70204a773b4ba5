//! Reads the vectors of a sealed features part by row number, without decoding the column.
//!
//! What [`PartWriter`](super::PartWriter) writes holds embeddings plain, uncompressed and without nulls: the values of a
//! page are the last bytes of it, one vector behind the other. Parquet's own offset index says where pages are, so that
//! a vector is one read at a known place, and a thousand neighbours are one read too: more than ten times the rate of
//! decoding the column (`benches/throughput/features.rs`), and nothing is held in memory. Any other layout of the same
//! columns is decoded as usual.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{Array as _, AsArray};
use arrow::datatypes::{DataType, Float32Type, UInt32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};

use super::index::{Entry, Tokens};
use super::{Error, Key, Result};
use crate::files::{FileState, Stored};
use crate::schema::Dataset;

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;

/// One features part.
#[derive(Debug)]
pub(super) struct FeaturesPart {
    path: PathBuf,
    digest: String,
    rows: u64,
    width: usize,
    layout: Layout,
    /// The encoder id and numerics that it says it was made with.
    made_by: [Option<String>; 2],
    /// What the file was when its digest was right; `None` where it was not.
    whole: OnceLock<Option<FileState>>,
}

#[derive(Debug)]
enum Layout {
    /// Where the vectors of each page begin.
    Plain(Vec<Run>),
    /// Anything else that Parquet can express.
    Encoded,
}

/// Vectors that lie one behind the other, up to the next run's first row.
#[derive(Debug)]
struct Run {
    first: u64,
    offset: u64,
}

impl FeaturesPart {
    /// Reads footer and keys of the part that was sealed with `digest`; each row's entry goes to `entries`, its row
    /// counted from `base`.
    pub(super) fn open(path: &Path, digest: &str, base: u32, entries: &mut Vec<Entry>) -> Result<FeaturesPart> {
        let (file, metadata) = load(path, Stored::open(path)?)?;
        Dataset::Features.contract().check(metadata.schema(), &path.to_string_lossy())?;
        let width = match metadata.schema().field_with_name("embedding").map(|field| field.data_type()) {
            Ok(DataType::FixedSizeList(_, width)) => width.unsigned_abs() as usize,
            _ => 0,
        };
        let layout = plain(metadata.metadata(), width).map_or(Layout::Encoded, Layout::Plain);
        let rows = metadata.metadata().file_metadata().num_rows().max(0).cast_unsigned();
        let made_by = made_by(&metadata);
        // What follows it is counted from its rows: a wrong count would give its texts the vectors of others.
        match read_keys(path, file, metadata, base, entries)? {
            Some(found) if found != rows => Err(Error::PartRows { path: path.to_owned(), found, expected: rows }),
            _ => {
                let (path, digest, whole) = (path.to_owned(), digest.to_owned(), OnceLock::new());
                Ok(FeaturesPart { path, digest, rows, width, layout, made_by, whole })
            }
        }
    }

    /// Hashes the part before it is opened: whoever is to read all of it at once.
    pub(super) fn open_whole(path: &Path, digest: &str, entries: &mut Vec<Entry>) -> Result<FeaturesPart> {
        let state = sealed_state(path, digest);
        if state.is_none() {
            return Err(Error::PartChanged { path: path.to_owned() });
        }
        Ok(FeaturesPart { whole: OnceLock::from(state), ..FeaturesPart::open(path, digest, 0, entries)? })
    }

    /// The encoder id and numerics that it says it was made with.
    pub(super) fn made_by(&self) -> &[Option<String>; 2] {
        &self.made_by
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Values of a vector.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Whether the file is what was sealed. It is hashed when it is first asked for a vector, once a process: opening a
    /// store of many gigabytes must not read them all.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.get_or_init(|| sealed_state(&self.path, &self.digest)).is_some()
    }

    /// The file, which must still be the one that was hashed: somebody may have put another in its place.
    fn reopen(&self) -> Result<Stored> {
        let file = Stored::open(&self.path)?;
        let state = file.state()?;
        match self.is_whole() && self.whole.get().and_then(Option::as_ref) == Some(&state) {
            true => Ok(file),
            false => Err(Error::PartChanged { path: self.path.clone() }),
        }
    }

    /// Appends the vectors of `rows`, which must ascend.
    pub(super) fn fetch(&self, rows: &[u32], vectors: &mut Vec<f32>) -> Result<()> {
        match &self.layout {
            Layout::Plain(runs) => self.read(runs, rows, vectors),
            Layout::Encoded => self.decode(rows, vectors),
        }
    }

    fn read(&self, runs: &[Run], rows: &[u32], vectors: &mut Vec<f32>) -> Result<()> {
        let file = self.reopen()?;
        let bytes_a_row = (self.width * size_of::<f32>()) as u64;
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let first = u64::from(*first);
            let at = runs.partition_point(|run| run.first <= first) - 1;
            let end = runs.get(at + 1).map_or(self.rows, |next| next.first);
            let neighbours =
                rest.iter().zip(first..end).take_while(|(row, wanted)| u64::from(**row) == *wanted).count();
            let start = vectors.len();
            vectors.resize(start + neighbours * self.width, 0.0);
            let offset = runs[at].offset + (first - runs[at].first) * bytes_a_row;
            // Parquet is little-endian, as are the machines that this program is built for.
            file.read_range(offset, bytemuck::cast_slice_mut(&mut vectors[start..]))?;
            rest = &rest[neighbours..];
        }
        Ok(())
    }

    fn decode(&self, rows: &[u32], vectors: &mut Vec<f32>) -> Result<()> {
        let (file, metadata) = load(&self.path, self.reopen()?)?;
        let mut selectors = Vec::new();
        let mut next = 0;
        for row in rows.iter().map(|row| *row as usize) {
            selectors.extend([RowSelector::skip(row - next), RowSelector::select(1)]);
            next = row + 1;
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_selection(RowSelection::from(selectors));
        for batch in reader(&self.path, builder, &["embedding"])? {
            let batch = batch.map_err(|error| unreadable(&self.path, error.into()))?;
            let list = batch["embedding"].as_fixed_size_list();
            let start = list.value_offset(0) as usize;
            let values = list.values().as_primitive::<Float32Type>().values();
            vectors.extend_from_slice(&values[start..start + list.len() * self.width]);
        }
        Ok(())
    }
}

/// What a file is if it has this digest.
fn sealed_state(path: &Path, digest: &str) -> Option<FileState> {
    let hash = || -> std::io::Result<Option<FileState>> {
        let file = Stored::open(path)?;
        // Before the hash: what changes during it shows.
        let state = file.state()?;
        Ok((file.digest()? == digest).then_some(state))
    };
    hash().ok().flatten()
}

fn unreadable(path: &Path, source: parquet::errors::ParquetError) -> Error {
    Error::Parquet { path: path.to_owned(), source }
}

fn load(path: &Path, file: Stored) -> Result<(Stored, ArrowReaderMetadata)> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| unreadable(path, error))?;
    Ok((file, metadata))
}

fn reader(
    path: &Path,
    builder: ParquetRecordBatchReaderBuilder<Stored>,
    columns: &[&str],
) -> Result<ParquetRecordBatchReader> {
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| unreadable(path, error))
}

/// The encoder id and numerics in a part's metadata.
pub(super) fn made_by(metadata: &ArrowReaderMetadata) -> [Option<String>; 2] {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    ["bertline.encoder_id", "bertline.numerics"].map(|key| {
        let found = pairs.iter().flat_map(|pairs| pairs.iter()).find(|pair| pair.key == key);
        found.and_then(|pair| pair.value.clone())
    })
}

/// Returns the rows that were read; `None` where there are more than can be numbered.
fn read_keys(
    path: &Path,
    file: Stored,
    metadata: ArrowReaderMetadata,
    base: u32,
    entries: &mut Vec<Entry>,
) -> Result<Option<u64>> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mut row = base;
    for batch in reader(path, builder, &["key", "n_tokens", "truncated"])? {
        let batch = batch.map_err(|error| unreadable(path, error.into()))?;
        let keys = batch["key"].as_fixed_size_binary();
        let n_tokens = batch["n_tokens"].as_primitive::<UInt32Type>().values();
        let truncated = batch["truncated"].as_boolean().values();
        for ((key, n_tokens), truncated) in keys.value_data().chunks_exact(16).zip(n_tokens).zip(truncated) {
            // Rows beyond have no number here: their texts are not found, hence encoded again.
            let Some(next) = row.checked_add(1) else { return Ok(None) };
            if let Some(key) = Key::from_bytes(key) {
                entries.push(Entry { key, row, tokens: Tokens::new(*n_tokens, truncated) });
            }
            row = next;
        }
    }
    Ok(Some(u64::from(row - base)))
}

/// Where the vectors of each page begin, if the column is as [`PartWriter`](super::PartWriter) writes it.
fn plain(metadata: &ParquetMetaData, width: usize) -> Option<Vec<Run>> {
    // Others may write nulls inside a vector, which take no room among the values.
    let ours = metadata.file_metadata().created_by().is_some_and(|name| name.starts_with("bertline "));
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|column| column.path().parts().first().is_some_and(|n| n == "embedding"))?;
    let pages = metadata.offset_index()?;
    let bytes_a_row = u64::try_from(width * size_of::<f32>()).ok()?;
    let (mut runs, mut first) = (Vec::new(), 0);
    for (group, pages) in metadata.row_groups().iter().zip(pages) {
        let rows = u64::try_from(group.num_rows()).ok()?;
        if !ours || !is_plain(group.column(column), rows * width as u64) {
            return None;
        }
        let pages = pages.get(column)?.page_locations();
        let ends = pages.iter().skip(1).map(|page| page.first_row_index.cast_unsigned()).chain([rows]);
        for (page, end) in pages.iter().zip(ends) {
            let start = page.first_row_index.cast_unsigned();
            // Levels come before the values, and nothing behind them.
            let page_end = page.offset.cast_unsigned() + u64::try_from(page.compressed_page_size).ok()?;
            let offset = page_end.checked_sub(end.checked_sub(start)? * bytes_a_row)?;
            runs.push(Run { first: first + start, offset });
        }
        first += rows;
    }
    Some(runs)
}

fn is_plain(column: &ColumnChunkMetaData, values: u64) -> bool {
    column.compression() == Compression::UNCOMPRESSED
        && column.dictionary_page_offset().is_none()
        && column.num_values().cast_unsigned() == values
        // RLE is of the levels.
        && column.encodings().all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE))
}

#[cfg(test)]
#[path = "features_part_tests.rs"]
mod tests;
