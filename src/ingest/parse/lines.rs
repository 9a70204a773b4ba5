//! Reads plain text: one review a line, or one review a file.
//!
//! Only LF ends a line, and one CR before it goes with it; U+0085 and the other separators of Unicode are text. A blank
//! line is a record with empty text, so `row` is the line number from 0. One review a file is the file's content
//! without one last line end.

use std::io::{BufRead as _, Read as _};

use super::record::{MAX_RECORD_BYTES, Record, Records, Reject, Review, utf8_detail};
use crate::ingest::open::Stream;
use crate::ingest::{Error, Result};
use crate::schema::RejectReason;

/// Splits a stream at LF, knowing where each line starts.
pub(crate) struct LineReader {
    name: String,
    stream: Stream,
    position: u64,
    line: Vec<u8>,
    max_line_bytes: usize,
}

/// Where a line starts and whether it was too long to be kept whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LineStart {
    pub byte_offset: u64,
    pub too_large: bool,
}

impl LineReader {
    pub(crate) fn new(name: &str, stream: Stream, start: u64) -> Self {
        Self { name: name.to_owned(), stream, position: start, line: Vec::new(), max_line_bytes: MAX_RECORD_BYTES }
    }

    /// Reads the next line; `None` at the end of the stream.
    pub(crate) fn advance(&mut self) -> Result<Option<LineStart>> {
        self.line.clear();
        let byte_offset = self.position;
        loop {
            let read = |source| Error::Read { name: self.name.clone(), source };
            let available = self.stream.fill_buf().map_err(read)?;
            let line_end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..line_end.unwrap_or(available.len())];
            // One byte over the ceiling is enough to know, and to keep memory bounded.
            let room = (self.max_line_bytes + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let consumed = part.len() + usize::from(line_end.is_some());
            let ended = line_end.is_some() || available.is_empty();
            self.stream.consume(consumed);
            self.position += consumed as u64;
            if ended && self.position == byte_offset {
                return Ok(None);
            }
            if ended {
                return Ok(Some(LineStart { byte_offset, too_large: self.line.len() > self.max_line_bytes }));
            }
        }
    }

    /// Where the next line begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The line read last, without its line end.
    pub(crate) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }
}

/// One review a line.
pub(crate) struct LineRecords(pub LineReader);

impl Records for LineRecords {
    fn next_record(&mut self) -> Result<Option<Record>> {
        let Some(LineStart { byte_offset, too_large }) = self.0.advance()? else { return Ok(None) };
        let line = self.0.line();
        let content = if too_large { Err(Reject::too_large(line)) } else { review(line, "line") };
        Ok(Some(Record { byte_offset, end: self.0.position(), content }))
    }
}

/// One review a file.
pub(crate) struct FileRecord {
    name: String,
    stream: Option<Stream>,
    start: u64,
}

impl FileRecord {
    pub(crate) fn new(name: &str, stream: Stream, start: u64) -> Self {
        Self { name: name.to_owned(), stream: Some(stream), start }
    }
}

impl Records for FileRecord {
    fn next_record(&mut self) -> Result<Option<Record>> {
        let Some(stream) = self.stream.take() else { return Ok(None) };
        let mut bytes = Vec::new();
        stream
            .take(MAX_RECORD_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::Read { name: self.name.clone(), source })?;
        let content = if bytes.len() > MAX_RECORD_BYTES {
            Err(Reject::too_large(&bytes))
        } else {
            let text =
                bytes.strip_suffix(b"\n").map_or(bytes.as_slice(), |text| text.strip_suffix(b"\r").unwrap_or(text));
            review(text, "file")
        };
        Ok(Some(Record { byte_offset: self.start, end: self.start + bytes.len() as u64, content }))
    }
}

fn review(text: &[u8], what: &str) -> std::result::Result<Review, Reject> {
    std::str::from_utf8(text)
        .map(|text| Review { text: Some(text.to_owned()), ..Review::default() })
        .map_err(|error| Reject::new(RejectReason::InvalidUtf8, utf8_detail(what, text, error), text))
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn stream(content: &[u8], chunk: usize) -> Stream {
        Box::new(BufReader::with_capacity(chunk, Cursor::new(content.to_vec())))
    }

    #[test]
    fn only_lf_ends_a_line_and_blank_lines_count() {
        let content = "a\u{85}b\r\n\nc\rd\n\u{2028}x";
        for chunk in [1, 2, 100] {
            let mut records = LineRecords(LineReader::new("test", stream(content.as_bytes(), chunk), 0));
            let all: Vec<Record> = std::iter::from_fn(|| records.next_record().unwrap()).collect();
            let texts: Vec<&str> = all.iter().map(|r| r.content.as_ref().unwrap().text.as_deref().unwrap()).collect();
            assert_eq!(texts, ["a\u{85}b", "", "c\rd", "\u{2028}x"]);
            assert_eq!(all[2].byte_offset, 7);
        }
    }

    #[test]
    fn a_line_over_the_ceiling_is_cut_and_flagged() {
        let mut reader = LineReader::new("test", stream(b"12345\n123456789\n1\n", 4), 0);
        reader.max_line_bytes = 5;
        let starts: Vec<LineStart> = std::iter::from_fn(|| reader.advance().unwrap()).collect();
        assert_eq!(starts.iter().map(|p| p.too_large).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(starts.iter().map(|p| p.byte_offset).collect::<Vec<_>>(), [0, 6, 16]);
    }

    #[test]
    fn a_file_loses_one_last_line_end_only() {
        for (content, text) in [("a\nb\n\n", "a\nb\n"), ("a\r\n", "a"), ("a\r", "a\r"), ("", ""), ("a", "a")] {
            let mut record = FileRecord::new("test", stream(content.as_bytes(), 2), 0);
            let review = record.next_record().unwrap().unwrap().content.unwrap();
            assert_eq!(review.text.as_deref(), Some(text));
            assert_eq!(record.next_record().unwrap(), None);
        }
    }
}
