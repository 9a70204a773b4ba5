//! Parses CSV and TSV record by record, knowing where each one starts.
//!
//! `csv-core` does the grammar (quotes, doubled quotes, embedded line ends, CRLF); this adds what a row-conserving
//! reader needs around it: byte offsets, a ceiling on the size of a record, and rejects instead of errors. Blank lines
//! between records are not records. A record that is only longer by empty fields is whole: spreadsheets write such.

mod stray;

use std::io::BufRead as _;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use self::stray::{End, LOOK_BYTES, line_of_stray_quote};
use crate::ingest::open::Stream;
use crate::ingest::parse::record::{
    MAX_RECORD_BYTES, RAW_PREFIX_BYTES, Reason, Record, Records, Reject, Review, utf8_detail,
};
use crate::ingest::{Error, Result};

/// How a delimited file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// Which fields of a record become which columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fields {
    /// Fields a record must have.
    pub width: usize,
    pub text: usize,
    pub label: Option<usize>,
    /// One for each column to keep; `None` where this source lacks it.
    pub kept: Vec<Option<usize>>,
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
    /// Fields of a record, where stray quotes are to be recognised.
    width: Option<usize>,
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
            width: None,
            max_record_bytes: MAX_RECORD_BYTES,
        }
    }

    /// The fields of the record read last.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.n_fields).map(|index| self.field(index))
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }

    /// The start of the record read last, as it stands in the stream.
    fn prefix(&self) -> &[u8] {
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
        let mut looked_at = self.width.is_none();
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
        let Some(width) = self.width else { return false };
        let Some(line) = line_of_stray_quote(&self.raw, end, self.dialect, width) else { return false };
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

/// The reviews of a delimited stream.
pub(crate) struct CsvRecords {
    raw: RawRecords,
    fields: Fields,
}

impl CsvRecords {
    /// Reads on from the start of a stream; `header` says that the first record is one.
    pub(crate) fn new(mut raw: RawRecords, fields: Fields, header: bool) -> Result<Self> {
        if header {
            raw.advance()?;
        }
        raw.width = Some(fields.width);
        Ok(Self { raw, fields })
    }

    fn string(&self, index: usize, what: &str) -> std::result::Result<String, Reject> {
        let bytes = self.raw.field(index);
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|error| Reject::new(Reason::InvalidUtf8, utf8_detail(what, bytes, error), self.raw.prefix()))
    }

    fn review(&self) -> std::result::Result<Review, Reject> {
        let beyond = self.fields.width..self.raw.n_fields;
        if self.raw.n_fields < self.fields.width || beyond.into_iter().any(|index| !self.raw.field(index).is_empty()) {
            let detail = format!("{} fields instead of {}", self.raw.n_fields, self.fields.width);
            return Err(Reject::new(Reason::WrongWidth, detail, self.raw.prefix()));
        }
        let text = Some(self.string(self.fields.text, "text")?);
        let label = self.fields.label.map(|index| self.string(index, "label")).transpose()?;
        let kept =
            self.fields.kept.iter().map(|index| index.map(|index| self.string(index, "kept column")).transpose());
        Ok(Review { text, label, kept: kept.collect::<std::result::Result<_, _>>()? })
    }
}

impl Records for CsvRecords {
    fn next_record(&mut self) -> Result<Option<Record>> {
        let Some((byte_offset, outcome)) = self.raw.advance()? else { return Ok(None) };
        let content = match outcome {
            RawOutcome::Complete => self.review(),
            RawOutcome::Unterminated => {
                let detail = "the file ends inside a quoted field";
                Err(Reject::new(Reason::UnterminatedQuote, detail, self.raw.prefix()))
            }
            RawOutcome::StrayQuote => {
                let detail = "a quote opens in this line and would have swallowed the rows behind it";
                Err(Reject::new(Reason::UnterminatedQuote, detail, self.raw.prefix()))
            }
            RawOutcome::TooLarge => Err(Reject::too_large(self.raw.prefix())),
        };
        Ok(Some(Record { byte_offset, content }))
    }
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

    fn all(content: &[u8], chunk: usize) -> Vec<Record> {
        let fields = Fields { width: 2, text: 0, label: Some(1), kept: vec![] };
        let mut records = CsvRecords::new(raw(content, chunk, CSV), fields, true).unwrap();
        std::iter::from_fn(|| records.next_record().unwrap()).collect()
    }

    #[test]
    fn quotes_line_ends_and_positions() {
        let content = b"t,l\r\n\"a\r\nb \"\"q\"\"\",1\r\n\r\nc,2\r\nonly\nx,\xff\n\"open,3\nmore";
        for chunk in [1, 2, 7, 1000] {
            let records = all(content, chunk);
            let offsets: Vec<u64> = records.iter().map(|record| record.byte_offset).collect();
            assert_eq!(offsets, [5, 23, 28, 33, 37]);
            assert_eq!(records[0].content.as_ref().unwrap().text.as_deref(), Some("a\r\nb \"q\""));
            assert_eq!(records[1].content.as_ref().unwrap().label.as_deref(), Some("2"));
            let reasons: Vec<Reason> = records[2..].iter().map(|r| r.content.as_ref().unwrap_err().reason).collect();
            assert_eq!(reasons, [Reason::WrongWidth, Reason::InvalidUtf8, Reason::UnterminatedQuote]);
            assert_eq!(records[4].content.as_ref().unwrap_err().raw_prefix, b"\"open,3\nmore");
        }
    }

    #[test]
    fn a_stray_quote_costs_its_line_alone_whatever_the_chunk() {
        let rows = "fine,1\n\"good one\",2\nplain,3\n";
        let content = format!("t,l\n\"open,0\n{rows}\"open too,4\n{rows}\"last,5\na,6\nb,7\nc,8\n");
        for chunk in [1, 5, 1000] {
            let labels: Vec<Option<String>> =
                all(content.as_bytes(), chunk).into_iter().map(|r| r.content.ok()?.label).collect();
            let labels: Vec<&str> = labels.iter().map(|label| label.as_deref().unwrap_or("-")).collect();
            assert_eq!(labels, ["-", "1", "2", "3", "-", "1", "2", "3", "-", "6", "7", "8"], "{chunk}");
        }
    }

    #[test]
    fn a_quote_that_is_open_to_the_end_of_a_large_file_costs_its_line_alone() {
        let content = format!("t,l\n\"open,0\n{}", "a row of some length,1\n".repeat(100_000));
        for chunk in [1000, 1 << 18] {
            let records = all(content.as_bytes(), chunk);
            assert_eq!(records.len(), 100_001);
            assert_eq!(records[0].content.as_ref().unwrap_err().reason, Reason::UnterminatedQuote);
            assert!(records[1..].iter().all(|record| record.content.is_ok()));
            assert_eq!(records[1].byte_offset, 12);
        }
    }

    #[test]
    fn empty_fields_too_many_are_no_fields() {
        let records = all(b"t,l\na,1,,\nb,2,x\nc\n", 3);
        assert_eq!(records[0].content.as_ref().unwrap().label.as_deref(), Some("1"));
        assert!(records[1].content.is_err() && records[2].content.is_err());
    }

    #[test]
    fn a_closing_quote_at_the_very_end_closes() {
        assert_eq!(all(b"t,l\n1,\"a\"", 3)[0].content.as_ref().unwrap().label.as_deref(), Some("a"));
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
