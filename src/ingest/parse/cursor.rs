//! Goes through the records of one source, from its beginning or from where an earlier reading ended.

use std::sync::Arc;

use super::csv::{CsvRecords, Fields, RawRecords};
use super::json::{ElementReader, JsonRecords, Keys, Objects};
use super::layout::{Layout, Syntax};
use super::lines::{FileRecord, LineReader, LineRecords};
use super::record::{Record, Records};
use super::rows::Parsing;
use super::source::Source;
use super::unit::{RecordOrigin, UnitBuilder};
use crate::ingest::open::{Opened, Opener, Text};
use crate::ingest::{Format, Result};

/// A place between the records of a source.
pub(super) struct Cursor {
    /// Of the source's content.
    pub digest: Arc<str>,
    /// What the source's bytes were.
    pub encoding: &'static encoding_rs::Encoding,
    records: Box<dyn Records + Send>,
    /// The next record.
    row: u64,
    /// Where the record before it ended.
    from: Option<u64>,
    /// Where the record before it began.
    byte_offset: u64,
}

impl Cursor {
    /// Opens a source before its record `row`, `from` being where the one before that ended; its encoding may have been
    /// `settled` already.
    pub(super) fn open(
        opener: &mut Opener,
        source: &Source,
        parsing: &Parsing,
        settled: Option<&'static encoding_rs::Encoding>,
        (row, from): (u64, Option<u64>),
    ) -> Result<Self> {
        let text = Text { asked: parsing.encoding, settled, from };
        let Opened { digest, stream, start, encoding } = opener.open(&source.location, &text)?;
        let name = source.name();
        let is_first = from.is_none();
        let records: Box<dyn Records + Send> = match (source.format, &source.layout) {
            (Format::Text, _) => Box::new(FileRecord::new(name, stream, start)),
            (Format::Lines, _) => Box::new(LineRecords(LineReader::new(name, stream, start))),
            // A file without content has no layout and no records.
            (_, None) => Box::new(NoRecords),
            (_, Some(layout)) => match layout.syntax {
                Syntax::JsonLines => {
                    let objects = Objects::Lines(LineReader::new(name, stream, start));
                    Box::new(JsonRecords::new(objects, keys(layout, parsing)))
                }
                Syntax::JsonArray => {
                    let elements = ElementReader::new(name, stream, start);
                    let objects = Objects::Array(if is_first { elements } else { elements.behind_element() });
                    Box::new(JsonRecords::new(objects, keys(layout, parsing)))
                }
                Syntax::Delimited { dialect, width } => {
                    let raw = RawRecords::new(name, stream, start, dialect);
                    let header = is_first && !layout.columns.header_absent;
                    Box::new(CsvRecords::new(raw, fields(layout, width, parsing), header)?)
                }
            },
        };
        Ok(Self { digest: digest.into(), encoding, records, row, from, byte_offset: 0 })
    }

    /// Puts the next record into a unit; false where there is none.
    pub(super) fn push_next(&mut self, source: &Source, unit: &mut UnitBuilder) -> Result<bool> {
        let Some(record) = self.records.next_record()? else { return Ok(false) };
        self.byte_offset = record.byte_offset;
        let end = record.end;
        let origin =
            RecordOrigin { source, digest: &self.digest, encoding: self.encoding, row: self.row, from: self.from };
        unit.push(&origin, record);
        self.row += 1;
        self.from = Some(end);
        Ok(true)
    }

    /// Bytes of the text that lie before the record read last.
    pub(super) fn byte_offset(&self) -> u64 {
        self.byte_offset
    }
}

fn keys(layout: &Layout, parsing: &Parsing) -> Keys {
    let kept = parsing.keep.clone();
    Keys { text: layout.columns.text.clone(), label: layout.columns.label.clone(), kept }
}

fn fields(layout: &Layout, width: usize, parsing: &Parsing) -> Fields {
    let position = |name: &String| layout.names.iter().position(|other| other == name);
    let text = position(&layout.columns.text).expect("the text is one of the columns; otherwise this is a bug");
    let kept = parsing.keep.iter().map(position).collect();
    Fields { width, text, label: layout.columns.label.as_ref().and_then(position), kept }
}

struct NoRecords;

impl Records for NoRecords {
    fn next_record(&mut self) -> Result<Option<Record>> {
        Ok(None)
    }
}
