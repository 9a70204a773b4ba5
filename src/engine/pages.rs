//! Walks the page headers of a Parquet file: which row groups must not be decoded, and at which rows pages begin.
//!
//! A decoder reserves memory for as many values as a header promises, and a process whose allocation fails is ended.
//! Row groups with a header that cannot be true are therefore never decoded. Headers are few (one a mebibyte or so) and
//! the file is read whole for its digest anyway.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::files::Stored;
use crate::telemetry::catch_panic;

/// The page headers of some columns of a file.
pub(super) struct Pages<'a> {
    file: Arc<Stored>,
    metadata: ArrowReaderMetadata,
    columns: BTreeSet<&'a str>,
}

impl<'a> Pages<'a> {
    /// Those of the top-level columns `columns`.
    pub(super) fn new(file: Stored, metadata: ArrowReaderMetadata, columns: Vec<&'a str>) -> Pages<'a> {
        Pages { file: Arc::new(file), metadata, columns: columns.into_iter().collect() }
    }

    /// What is wrong with each row group, if anything, as far as its headers show it.
    pub(super) fn damaged_groups(&self) -> Vec<Option<String>> {
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(|group| self.chunks(group).find_map(|chunk| self.values_of_pages(group, chunk).err())).collect()
    }

    /// The rows of `range`, counted over the file, at which a page of any column begins; its own start is one of them.
    /// Columns whose rows hold several values, or whose headers are damaged, say nothing.
    pub(super) fn starts(&self, range: &Range<u64>) -> Vec<u64> {
        let mut starts = BTreeSet::from([range.start]);
        let mut first = 0;
        for group in self.metadata.metadata().row_groups() {
            let rows = group.num_rows().max(0).cast_unsigned();
            if first < range.end && first + rows > range.start {
                starts.insert(first);
                for chunk in self.chunks(group).filter(|chunk| chunk.column_descr().max_rep_level() == 0) {
                    let mut next = first;
                    for values in self.values_of_pages(group, chunk).unwrap_or_default() {
                        starts.insert(next);
                        next += values;
                    }
                }
            }
            first += rows;
        }
        starts.into_iter().filter(|start| range.contains(start)).collect()
    }

    fn chunks<'g>(&self, group: &'g RowGroupMetaData) -> impl Iterator<Item = &'g ColumnChunkMetaData> {
        let wanted = |chunk: &&ColumnChunkMetaData| {
            chunk.column_path().parts().first().is_some_and(|name| self.columns.contains(name.as_str()))
        };
        group.columns().iter().filter(wanted)
    }

    /// How many values each data page of a column chunk holds; the error says what cannot be true.
    fn values_of_pages(&self, group: &RowGroupMetaData, chunk: &ColumnChunkMetaData) -> Result<Vec<u64>, String> {
        let walked = catch_panic(|| {
            // Without an offset index, so that the headers themselves are read.
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let mut pages = SerializedPageReader::new(Arc::clone(&self.file), chunk, rows, None)?;
            walk(&mut pages, chunk.num_values().max(0).cast_unsigned())
        });
        let fault = match walked {
            Ok(Ok(values)) => return Ok(values),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a page header lacks what its kind needs".to_owned(),
        };
        Err(format!("column `{}`: {fault}", chunk.column_path().string()))
    }
}

fn walk(pages: &mut dyn PageReader, expected: u64) -> Result<Vec<u64>, ParquetError> {
    let mut values = Vec::new();
    let mut found = 0u64;
    while let Some(page) = pages.peek_next_page()? {
        if page.is_dict {
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()?
                && num_values as usize > buf.len()
            {
                let text = format!("a dictionary of {} bytes cannot hold {num_values} values", buf.len());
                return Err(ParquetError::General(text));
            }
            continue;
        }
        let here = page.num_levels.or(page.num_rows).unwrap_or(0) as u64;
        found = found.saturating_add(here);
        if found > expected {
            break;
        }
        values.push(here);
        pages.skip_next_page()?;
    }
    if found == expected {
        return Ok(values);
    }
    Err(ParquetError::General(format!("the pages do not hold the {expected} values that the footer names")))
}
