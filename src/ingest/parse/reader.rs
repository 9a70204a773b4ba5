//! Streams the units of all sources, in order.
//!
//! The layout of every source was looked at when it was found, so that a wrong column name stops a run at its start and
//! not an hour into it. From there on, one file is open at a time and memory holds one unit and one record.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::csv::{CsvRecords, Fields, RawRecords};
use super::json::{ElementReader, JsonRecords, Keys, Objects};
use super::layout::{Layout, Syntax};
use super::lines::{FileRecord, LineReader, LineRecords};
use super::record::{Record, Records};
use super::source::Source;
use super::unit::{IngestUnit, RecordOrigin, UnitBuilder};
use crate::ingest::open::{CHUNK_BYTES, Digests, Opened, Opener, Text};
use crate::ingest::{Format, Reading, Result};

/// A source and the digest of its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceDigest {
    /// The source's name.
    pub name: String,
    /// Its size on disk.
    pub bytes: u64,
    /// BLAKE3 of the raw file, 64 hexadecimal digits; of a member's name and the raw archive's digest.
    pub digest: Arc<str>,
}

/// Sources that were in another encoding than UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Decoded {
    /// The encoding by its name.
    pub encoding: &'static str,
    /// How many sources.
    pub files: u64,
    /// The first one's name.
    pub first: String,
}

/// The units of all sources that are not Parquet.
pub struct UnitReader {
    sources: Vec<Source>,
    opener: Opener,
    decoded: Vec<Decoded>,
    reading: Reading,
    unit: UnitBuilder,
    next_source: usize,
    current: Option<OpenSource>,
    digests: Vec<SourceDigest>,
    rows_read: u64,
    bytes_finished: u64,
    done: bool,
}

struct OpenSource {
    source: usize,
    digest: Arc<str>,
    records: Box<dyn Records + Send>,
    row: u64,
    byte_offset: u64,
}

impl UnitReader {
    /// Settles the schema of the reviews; nothing is opened yet.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a Source>, reading: &Reading, digests: Digests) -> Self {
        let opener = Opener::new(CHUNK_BYTES, digests);
        Self::with_opener(sources, reading, opener)
    }

    fn with_opener<'a>(sources: impl IntoIterator<Item = &'a Source>, reading: &Reading, opener: Opener) -> Self {
        let extra: Vec<Field> = reading.keep.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let schema = crate::schema::reviews(&extra);
        let unit = UnitBuilder::new(schema, crate::schema::rejects(), reading.clone());
        Self {
            sources: sources.into_iter().filter(|source| source.format != Format::Parquet).cloned().collect(),
            opener,
            decoded: Vec::new(),
            reading: reading.clone(),
            unit,
            next_source: 0,
            current: None,
            digests: Vec::new(),
            rows_read: 0,
            bytes_finished: 0,
            done: false,
        }
    }

    /// The digests of the sources opened so far.
    pub fn digests(&self) -> &[SourceDigest] {
        &self.digests
    }

    /// The other encodings of the sources opened so far, in the order in which they were met.
    pub fn decoded(&self) -> &[Decoded] {
        &self.decoded
    }

    /// Bytes of the files that lie behind the records read so far, for progress; a guess inside a compressed file.
    pub fn bytes_read(&self) -> u64 {
        let within = |current: &OpenSource| current.byte_offset.min(self.sources[current.source].location.bytes);
        self.bytes_finished + self.current.as_ref().map_or(0, within)
    }

    /// A source as large as a unit shares none, so a change in one large file leaves the units of its neighbours alone.
    fn is_large(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| source.location.bytes >= self.reading.unit_bytes)
    }

    fn open(&mut self, index: usize) -> Result<OpenSource> {
        let source = &self.sources[index];
        let Opened { digest, stream, start, encoding } = self.opener.open(
            &source.location,
            &Text {
                asked: self.reading.options.encoding,
                settled: source.layout.as_ref().map(|layout| layout.encoding),
                from: None,
            },
        )?;
        remember(&mut self.decoded, encoding, source.name());
        let records: Box<dyn Records + Send> = match (source.format, &source.layout) {
            (Format::Text, _) => Box::new(FileRecord::new(source.name(), stream, start)),
            (Format::Lines, _) => Box::new(LineRecords(LineReader::new(source.name(), stream, start))),
            // A file without content has no layout and no records.
            (_, None) => Box::new(NoRecords),
            (_, Some(layout)) => match layout.syntax {
                Syntax::JsonLines => {
                    let objects = Objects::Lines(LineReader::new(source.name(), stream, start));
                    Box::new(JsonRecords::new(objects, self.keys(layout)))
                }
                Syntax::JsonArray => {
                    let objects = Objects::Array(ElementReader::new(source.name(), stream, start));
                    Box::new(JsonRecords::new(objects, self.keys(layout)))
                }
                Syntax::Delimited { dialect, width } => {
                    let raw = RawRecords::new(source.name(), stream, start, dialect);
                    let fields = self.fields(layout, width);
                    Box::new(CsvRecords::new(raw, fields, !layout.columns.header_absent)?)
                }
            },
        };
        Ok(OpenSource { source: index, digest: digest.into(), records, row: 0, byte_offset: 0 })
    }

    fn keys(&self, layout: &Layout) -> Keys {
        let kept = self.reading.keep.clone();
        Keys { text: layout.columns.text.clone(), label: layout.columns.label.clone(), kept }
    }

    fn fields(&self, layout: &Layout, width: usize) -> Fields {
        let position = |name: &String| layout.names.iter().position(|other| other == name);
        let text = position(&layout.columns.text).expect("the text is one of the columns; otherwise this is a bug");
        let kept = self.reading.keep.iter().map(position).collect();
        Fields { width, text, label: layout.columns.label.as_ref().and_then(position), kept }
    }

    /// Opens the next source; false where there is none.
    fn advance_source(&mut self) -> Result<bool> {
        if self.next_source == self.sources.len() {
            return Ok(false);
        }
        let current = self.open(self.next_source)?;
        self.next_source += 1;
        let source = &self.sources[current.source];
        let digest = Arc::clone(&current.digest);
        self.digests.push(SourceDigest { name: source.name().to_owned(), bytes: source.location.bytes, digest });
        self.current = Some(current);
        Ok(true)
    }

    /// Reads until a unit is full; `None` where nothing is left.
    fn fill(&mut self) -> Result<Option<IngestUnit>> {
        loop {
            if self.reading.options.limit.is_some_and(|limit| self.rows_read >= limit) {
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
                self.bytes_finished += self.sources[finished].location.bytes;
                self.current = None;
                if self.is_large(finished) && !self.unit.is_empty() {
                    return self.unit.finish().map(Some);
                }
                continue;
            };
            let source = &self.sources[current.source];
            let has_label_column = source.columns().is_some_and(|columns| columns.label.is_some());
            let label = source.label.as_deref().filter(|_| !has_label_column);
            current.byte_offset = record.byte_offset;
            self.unit.push(&RecordOrigin { source, digest: &current.digest, row: current.row, label }, record);
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

fn remember(decoded: &mut Vec<Decoded>, encoding: &'static encoding_rs::Encoding, name: &str) {
    if encoding == encoding_rs::UTF_8 {
        return;
    }
    match decoded.iter_mut().find(|known| known.encoding == encoding.name()) {
        Some(known) => known.files += 1,
        None => decoded.push(Decoded { encoding: encoding.name(), files: 1, first: name.to_owned() }),
    }
}

struct NoRecords;

impl Records for NoRecords {
    fn next_record(&mut self) -> Result<Option<Record>> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
