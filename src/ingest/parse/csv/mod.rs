//! Parses CSV and TSV record by record, knowing where each one starts.
//!
//! What a row-conserving reader needs is rejects instead of errors: every record that cannot be used says why. Blank lines
//! between records are not records. A record that is only longer by empty fields is whole: spreadsheets write such.

mod raw;
mod stray;

pub(crate) use self::raw::{Dialect, RawOutcome, RawRecords};
use self::stray::line_of_stray_quote;
use super::record::{Record, Records, Reject, Review, utf8_detail};
use crate::ingest::Result;
use crate::schema::RejectReason;

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
        let (dialect, width) = (raw.dialect(), fields.width);
        raw.recognise(Box::new(move |record, end| line_of_stray_quote(record, end, dialect, width)));
        Ok(Self { raw, fields })
    }

    fn string(&self, index: usize, what: &str) -> std::result::Result<String, Reject> {
        let bytes = self.raw.field(index);
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|error| Reject::new(RejectReason::InvalidUtf8, utf8_detail(what, bytes, error), self.raw.prefix()))
    }

    fn review(&self) -> std::result::Result<Review, Reject> {
        let beyond = self.fields.width..self.raw.n_fields();
        if self.raw.n_fields() < self.fields.width || beyond.into_iter().any(|index| !self.raw.field(index).is_empty())
        {
            let detail = format!("{} fields instead of {}", self.raw.n_fields(), self.fields.width);
            return Err(Reject::new(RejectReason::WrongWidth, detail, self.raw.prefix()));
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
                Err(Reject::new(RejectReason::UnterminatedQuote, detail, self.raw.prefix()))
            }
            RawOutcome::StrayQuote => {
                let detail = "a quote opens in this line and would have swallowed the rows behind it";
                Err(Reject::new(RejectReason::UnterminatedQuote, detail, self.raw.prefix()))
            }
            RawOutcome::TooLarge => Err(Reject::too_large(self.raw.prefix())),
        };
        Ok(Some(Record { byte_offset, end: self.raw.position(), content }))
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
            let reasons: Vec<RejectReason> =
                records[2..].iter().map(|r| r.content.as_ref().unwrap_err().reason).collect();
            assert_eq!(reasons, [RejectReason::WrongWidth, RejectReason::InvalidUtf8, RejectReason::UnterminatedQuote]);
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
            assert_eq!(records[0].content.as_ref().unwrap_err().reason, RejectReason::UnterminatedQuote);
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
}
