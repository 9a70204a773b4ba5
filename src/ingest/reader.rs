//! Streams the units of all sources, in order.
//!
//! The layout of every source is looked at before the first record is read, so that a wrong column name stops the run
//! at its start and not an hour into it. After that, one file is open at a time and memory holds one unit and one
//! record.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};

use super::csv::{CsvRecords, Fields, RawRecords};
use super::jsonl::{JsonlRecords, Keys};
use super::lines::{FileRecord, LineReader, LineRecords};
use super::open::{self, CHUNK_BYTES, Opened};
use super::peek::{self, Layout};
use super::record::Records;
use super::unit::{Place, UnitBuilder};
use super::{Discovery, Format, IngestUnit, ReadOptions, Result, Source};

/// A source and the digest of its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceDigest {
    /// The source's name.
    pub name: String,
    /// Its size on disk.
    pub bytes: u64,
    /// BLAKE3 of the raw file, 64 hexadecimal digits.
    pub digest: Arc<str>,
}

/// The units of all sources that are not Parquet.
pub struct UnitReader {
    sources: Vec<(Source, Option<Layout>)>,
    options: ReadOptions,
    schema: SchemaRef,
    unit: UnitBuilder,
    next_source: usize,
    current: Option<Current>,
    digests: Vec<SourceDigest>,
    rows_read: u64,
    bytes_finished: u64,
    done: bool,
    chunk: usize,
}

struct Current {
    source: usize,
    digest: Arc<str>,
    records: Box<dyn Records + Send>,
    row: u64,
    byte_offset: u64,
}

impl UnitReader {
    /// Looks at the layout of every source and settles the schema of the reviews.
    ///
    /// # Errors
    /// Those of [`super::columns_of`].
    pub fn new(discovery: &Discovery, options: &ReadOptions) -> Result<Self> {
        Self::with_chunk(discovery, options, CHUNK_BYTES)
    }

    fn with_chunk(discovery: &Discovery, options: &ReadOptions, chunk: usize) -> Result<Self> {
        let read_here = || discovery.sources.iter().filter(|source| source.format != Format::Parquet);
        let layouts = read_here().map(|source| peek::layout_of(source, options)).collect::<Result<Vec<_>>>()?;
        let extra: Vec<Field> = options.keep.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let schema = crate::schema::reviews(&extra);
        let unit = UnitBuilder::new(Arc::clone(&schema), crate::schema::rejects(), options.clone());
        Ok(Self {
            sources: read_here().cloned().zip(layouts).collect(),
            options: options.clone(),
            schema,
            unit,
            next_source: 0,
            current: None,
            digests: Vec::new(),
            rows_read: 0,
            bytes_finished: 0,
            done: false,
            chunk,
        })
    }

    /// The schema of every unit's reviews: source_file, row, text, label, and the columns to keep.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The sources that are read here and the columns of those that have any.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, Option<&super::Columns>)> {
        self.sources.iter().map(|(source, layout)| (source, layout.as_ref().map(|layout| &layout.columns)))
    }

    /// The digests of the sources opened so far.
    pub fn digests(&self) -> &[SourceDigest] {
        &self.digests
    }

    /// Records read so far, rejected ones included.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Bytes of the files that lie behind the records read so far, for progress; a guess inside a compressed file.
    pub fn bytes_read(&self) -> u64 {
        let within = |current: &Current| current.byte_offset.min(self.sources[current.source].0.bytes);
        self.bytes_finished + self.current.as_ref().map_or(0, within)
    }

    /// A source as large as a unit shares none, so a change in one large file leaves the units of its neighbours alone.
    fn is_large(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|(source, _)| source.bytes >= self.options.unit_bytes)
    }

    fn open(&self, index: usize) -> Result<Current> {
        let (source, layout) = &self.sources[index];
        let Opened { digest, stream, start } = open::open(source, self.chunk)?;
        let records: Box<dyn Records + Send> = match (source.format, layout) {
            (Format::Text, _) => Box::new(FileRecord::new(&source.name, stream, start)),
            (Format::Lines, _) => Box::new(LineRecords(LineReader::new(&source.name, stream, start))),
            // A file without content has no layout and no records.
            (_, None) => Box::new(NoRecords),
            (_, Some(layout)) => match &layout.delimited {
                None => Box::new(JsonlRecords::new(LineReader::new(&source.name, stream, start), self.keys(layout))),
                Some(delimited) => {
                    let raw = RawRecords::new(&source.name, stream, start, delimited.dialect);
                    let fields = self.fields(layout, delimited.width);
                    Box::new(CsvRecords::new(raw, fields, !layout.columns.header_absent)?)
                }
            },
        };
        Ok(Current { source: index, digest: digest.into(), records, row: 0, byte_offset: 0 })
    }

    fn keys(&self, layout: &Layout) -> Keys {
        let kept = self.options.keep.clone();
        Keys { text: layout.columns.text.clone(), label: layout.columns.label.clone(), kept }
    }

    fn fields(&self, layout: &Layout, width: usize) -> Fields {
        let position = |name: &String| layout.names.iter().position(|other| other == name);
        let text = position(&layout.columns.text).expect("the text is one of the columns; otherwise this is a bug");
        let kept = self.options.keep.iter().map(position).collect();
        Fields { width, text, label: layout.columns.label.as_ref().and_then(position), kept }
    }

    /// Opens the next source; false where there is none.
    fn advance_source(&mut self) -> Result<bool> {
        if self.next_source == self.sources.len() {
            return Ok(false);
        }
        let current = self.open(self.next_source)?;
        self.next_source += 1;
        let source = &self.sources[current.source].0;
        let digest = Arc::clone(&current.digest);
        self.digests.push(SourceDigest { name: source.name.clone(), bytes: source.bytes, digest });
        self.current = Some(current);
        Ok(true)
    }

    /// Reads until a unit is full; `None` where nothing is left.
    fn fill(&mut self) -> Result<Option<IngestUnit>> {
        loop {
            if self.options.limit.is_some_and(|limit| self.rows_read >= limit) {
                break;
            }
            let Some(current) = &mut self.current else {
                if self.is_large(self.next_source) && !self.unit.is_empty() {
                    return self.unit.finish().map(Some);
                }
                if !self.advance_source()? {
                    break;
                }
                continue;
            };
            let Some(record) = current.records.next_record()? else {
                let finished = current.source;
                self.bytes_finished += self.sources[finished].0.bytes;
                self.current = None;
                if self.is_large(finished) && !self.unit.is_empty() {
                    return self.unit.finish().map(Some);
                }
                continue;
            };
            let (source, layout) = &self.sources[current.source];
            let has_label_column = layout.as_ref().is_some_and(|layout| layout.columns.label.is_some());
            let label = source.label.as_deref().filter(|_| !has_label_column);
            current.byte_offset = record.byte_offset;
            self.unit.push(&Place { source, digest: &current.digest, row: current.row, label }, record);
            current.row += 1;
            self.rows_read += 1;
            if self.unit.is_full() {
                return self.unit.finish().map(Some);
            }
        }
        self.done = true;
        if self.unit.is_empty() { Ok(None) } else { self.unit.finish().map(Some) }
    }
}

impl Iterator for UnitReader {
    type Item = Result<IngestUnit>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let unit = self.fill();
        self.done |= unit.is_err();
        unit.transpose()
    }
}

struct NoRecords;

impl Records for NoRecords {
    fn next_record(&mut self) -> Result<Option<super::record::Record>> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
