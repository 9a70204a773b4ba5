//! Tells the records of a delimited file apart, knowing where each one starts.
//!
//! `csv-core` does the grammar (quotes, doubled quotes, embedded line ends, CRLF); this adds byte offsets, a ceiling on
//! the size of a record, and going back behind a line whose quote turns out to be a stray one.

use std::io::BufRead as _;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde::{Deserialize, Serialize};

use crate::ingest::open::Stream;
use crate::ingest::parse::record::{MAX_RECORD_BYTES, RAW_PREFIX_BYTES};
use crate::ingest::{Error, Result};

/// A quoted field that goes on for so long is looked at before it ends.
pub(crate) const LOOK_BYTES: usize = 1 << 20;

/// How a record of several lines ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With a closing quote somewhere.
    Closed,
    /// Not within [`LOOK_BYTES`], or not before the file did.
    Open,
}

/// The length of the first line of a record that ended so, with its line end, if the quote that it opens is a stray one.
pub(super) type StrayQuote = Box<dyn Fn(&[u8], End) -> Option<usize> + Send>;

/// How a delimited file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Dialect {
    pub delimiter: u8,
    /// What quotes a field, `"` almost always.
    pub quote: u8,
    /// Whether it does; otherwise it is a character like any other.
    pub quoting: bool,
    /// Whether a quote inside a quoted field is written `\"` (besides `""`).
    pub escape: bool,
}

impl Dialect {
    fn reader(self) -> Reader {
        let escape = self.escape.then_some(b'\\');
        let mut builder = ReaderBuilder::new();
        let mut reader =
            builder.delimiter(self.delimiter).quote(self.quote).quoting(self.quoting).escape(escape).build();
        // csv-core takes off a byte order mark before its first byte; ours is off already.
        let _ = reader.read_record(b"\n", &mut [0; 1], &mut [0; 1]);
        reader
    }
}

/// The raw records of a delimited stream.
pub(crate) struct RawRecords {
    name: String,
    stream: Stream,
    dialect: Dialect,
    reader: Reader,
    /// Bytes consumed so far.
    position: u64,
    fields: Vec<u8>,
    ends: Vec<usize>,
    n_fields: usize,
    /// The record read last as it stands in the stream, as far as it is looked at.
    raw: Vec<u8>,
    /// Bytes that were consumed and given back; those before `returned_at` are consumed again.
    returned: Vec<u8>,
    returned_at: usize,
    /// Recognises stray quotes, where they are to be.
    stray: Option<StrayQuote>,
    max_record_bytes: usize,
}

/// What came of one attempt to read a record; its fields are in the reader.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum RawOutcome {
    Complete,
    Unterminated,
    /// A line whose opening quote would have swallowed the rows behind it.
    StrayQuote,
    TooLarge,
}

impl RawRecords {
    pub(crate) fn new(name: &str, stream: Stream, start: u64, dialect: Dialect) -> Self {
        Self {
            name: name.to_owned(),
            stream,
            dialect,
            reader: dialect.reader(),
            position: start,
            fields: vec![0; 4096],
            ends: vec![0; 32],
            n_fields: 0,
            raw: Vec::new(),
            returned: Vec::new(),
            returned_at: 0,
            stray: None,
            max_record_bytes: MAX_RECORD_BYTES,
        }
    }

    /// Where the next record is looked for.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How the stream is written.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Lets `stray` recognise stray quotes from here on.
    pub(super) fn recognise(&mut self, stray: StrayQuote) {
        self.stray = Some(stray);
    }

    /// How many fields the record read last has.
    pub(super) fn n_fields(&self) -> usize {
        self.n_fields
    }

    /// The fields of the record read last.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.n_fields).map(|index| self.field(index))
    }

    pub(super) fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }

    /// The start of the record read last, as it stands in the stream.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.raw[..self.raw.len().min(RAW_PREFIX_BYTES)]
    }

    /// Skips line ends between records; false at the end of the stream.
    fn skip_line_ends(&mut self) -> Result<bool> {
        loop {
            let available = fill(&self.returned[self.returned_at..], &mut self.stream, &self.name)?;
            if available.is_empty() {
                return Ok(false);
            }
            let blank = available.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let found = blank < available.len();
            self.consume(blank);
            if found {
                return Ok(true);
            }
        }
    }

    fn consume(&mut self, count: usize) {
        match self.returned_at < self.returned.len() {
            true => self.returned_at += count,
            false => self.stream.consume(count),
        }
        self.position += count as u64;
    }

    /// Reads the next record; returns where it starts and what came of it, or `None` at the end of the stream.
    pub(crate) fn advance(&mut self) -> Result<Option<(u64, RawOutcome)>> {
        self.n_fields = 0;
        self.raw.clear();
        if !self.skip_line_ends()? {
            return Ok(None);
        }
        let start = self.position;
        let (mut n_bytes, mut n_fields) = (0, 0);
        let mut looked_at = self.stray.is_none();
        loop {
            let available = fill(&self.returned[self.returned_at..], &mut self.stream, &self.name)?;
            let at_end = available.is_empty();
            // A line end closes a record that only lacks its own; inside an open quote it closes nothing.
            let input = if at_end { b"\n".as_slice() } else { available };
            let (result, consumed, written, ended) =
                self.reader.read_record(input, &mut self.fields[n_bytes..], &mut self.ends[n_fields..]);
            if !at_end {
                if !looked_at || self.raw.len() < RAW_PREFIX_BYTES {
                    self.raw.extend_from_slice(&input[..consumed]);
                }
                self.consume(consumed);
            }
            (n_bytes, n_fields) = (n_bytes + written, n_fields + ended);
            let open = matches!(result, ReadRecordResult::InputEmpty) && at_end;
            let is_record = matches!(result, ReadRecordResult::Record);
            if !looked_at && (open || is_record || self.raw.len() >= LOOK_BYTES) {
                looked_at = true;
                let end = if open || self.raw.len() >= LOOK_BYTES { End::Open } else { End::Closed };
                if self.give_back_behind_stray_quote(start, end) {
                    return Ok(Some((start, RawOutcome::StrayQuote)));
                }
            }
            let too_large = (self.position - start) as usize > self.max_record_bytes;
            match result {
                ReadRecordResult::InputEmpty if at_end => return Ok(Some((start, RawOutcome::Unterminated))),
                ReadRecordResult::Record if too_large => return Ok(Some((start, RawOutcome::TooLarge))),
                ReadRecordResult::Record => {
                    self.n_fields = n_fields;
                    return Ok(Some((start, RawOutcome::Complete)));
                }
                ReadRecordResult::End => return Ok(None),
                // The rest of a record that is rejected anyway need not be kept.
                _ if too_large => (n_bytes, n_fields) = (0, 0),
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty => {}
            }
        }
    }

    /// Goes back to the end of the record's first line, where a quote in it is a stray one.
    fn give_back_behind_stray_quote(&mut self, start: u64, end: End) -> bool {
        let Some(line) = self.stray.as_ref().and_then(|line_of| line_of(&self.raw, end)) else { return false };
        let mut rest = self.raw.split_off(line);
        rest.extend_from_slice(&self.returned[self.returned_at..]);
        (self.returned, self.returned_at) = (rest, 0);
        self.position = start + line as u64;
        self.reader = self.dialect.reader();
        true
    }
}

/// The next bytes: those that were given back, then those of the stream.
fn fill<'a>(returned: &'a [u8], stream: &'a mut Stream, name: &str) -> Result<&'a [u8]> {
    if !returned.is_empty() {
        return Ok(returned);
    }
    stream.fill_buf().map_err(|source| Error::Read { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    const CSV: Dialect = Dialect { delimiter: b',', quote: b'"', quoting: true, escape: false };

    fn raw(content: &[u8], chunk: usize, dialect: Dialect) -> RawRecords {
        let stream = Box::new(BufReader::with_capacity(chunk, Cursor::new(content.to_vec())));
        RawRecords::new("test", stream, 0, dialect)
    }

    #[test]
    fn a_record_over_the_ceiling_is_rejected_and_the_next_is_read() {
        let content = [b"a,".as_slice(), &[b'x'; 50_000], b",,,,\nb,c\n"].concat();
        for chunk in [1, 333, 1 << 20] {
            let mut records = raw(&content, chunk, CSV);
            records.max_record_bytes = 1000;
            assert_eq!(records.advance().unwrap(), Some((0, RawOutcome::TooLarge)));
            assert_eq!(records.advance().unwrap(), Some((50_007, RawOutcome::Complete)));
            assert_eq!(records.fields().collect::<Vec<_>>(), [b"b", b"c"]);
            assert_eq!(records.advance().unwrap(), None);
        }
    }

    #[test]
    fn without_quoting_a_quote_is_a_character() {
        let mut records = raw(b"\"a\tb\nc\td", 2, Dialect { delimiter: b'\t', quoting: false, ..CSV });
        records.advance().unwrap();
        assert_eq!(records.fields().collect::<Vec<_>>(), [b"\"a".as_slice(), b"b"]);
    }
}
