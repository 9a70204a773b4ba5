//! Recognises a stray opening quote in CSV, which would swallow the rows behind it.
//!
//! A quote that opens a field and is never closed runs on to the next quote of the file, or to its end, and all rows in
//! between become one long field. RFC 4180 cannot tell that from a text of several lines; but a text of several lines
//! seldom begins with a line that is a whole row, goes on with lines that are whole rows, and ends in a quote that more
//! text follows. Where all of that is seen, the first line alone is broken and reading goes on behind it.

use std::io::Cursor;

use super::raw::{Dialect, End, LOOK_BYTES, RawOutcome, RawRecords};

/// The length of the first line of `record` with its line end, if the quote that it opens is a stray one; `width` is how
/// many fields the records of the file have.
pub(crate) fn line_of_stray_quote(record: &[u8], end: End, dialect: Dialect, width: usize) -> Option<usize> {
    let record = &record[..record.len().min(LOOK_BYTES)];
    let first = record.iter().position(|byte| *byte == b'\n')? + 1;
    if !dialect.quoting || first == record.len() || (end == End::Closed && !text_follows_quote(record, dialect)) {
        return None;
    }
    let plain = Dialect { quoting: false, ..dialect };
    let is_row = widths(&record[..first], plain).first().is_some_and(|found| *found >= width);
    let rest = &record[first..];
    let regular = |dialect| {
        let found = widths(rest, dialect);
        (found.iter().filter(|found| **found == width).count(), found.len())
    };
    let are_rows = [dialect, plain].into_iter().any(|dialect| match (end, regular(dialect)) {
        (End::Closed, (rows, all)) => rows > 0 && rows * 2 >= all,
        (End::Open, (rows, all)) => rows >= 3 && rows * 5 >= all * 4,
    });
    (is_row && are_rows).then_some(first)
}

/// The number of fields of each record; one that does not end has none.
fn widths(bytes: &[u8], dialect: Dialect) -> Vec<usize> {
    let mut records = RawRecords::new("", Box::new(Cursor::new(bytes.to_vec())), 0, dialect);
    let next = || match records.advance() {
        Ok(Some((_, RawOutcome::Complete))) => Some(records.fields().count()),
        Ok(Some(_)) => Some(0),
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

/// Whether a quoted field of several lines is closed in the middle of text.
fn text_follows_quote(record: &[u8], dialect: Dialect) -> bool {
    #[derive(Clone, Copy)]
    enum FieldState {
        Start,
        Unquoted,
        Quoted { multiline: bool },
        AfterQuote { multiline: bool },
    }
    let mut state = FieldState::Start;
    let mut bytes = record.iter();
    while let Some(byte) = bytes.next() {
        state = match (state, *byte) {
            (FieldState::Quoted { .. }, b'\\') if dialect.escape => {
                bytes.next();
                state
            }
            (FieldState::Quoted { multiline }, byte) if byte == dialect.quote => FieldState::AfterQuote { multiline },
            (FieldState::Quoted { multiline }, byte) => FieldState::Quoted { multiline: multiline || byte == b'\n' },
            (FieldState::AfterQuote { multiline }, byte) if byte == dialect.quote => FieldState::Quoted { multiline },
            (FieldState::Start, byte) if byte == dialect.quote => FieldState::Quoted { multiline: false },
            (_, b'\r' | b'\n') => FieldState::Start,
            (_, byte) if byte == dialect.delimiter => FieldState::Start,
            (FieldState::AfterQuote { multiline: true }, _) => return true,
            _ => FieldState::Unquoted,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Dialect = Dialect { delimiter: b',', quote: b'"', quoting: true, escape: false };

    fn stray(record: &str, end: End) -> Option<&str> {
        line_of_stray_quote(record.as_bytes(), end, CSV, 2).map(|length| &record[..length])
    }

    #[test]
    fn rows_behind_a_stray_quote_are_seen() {
        assert_eq!(stray("\"open,pos\nfine,neg\n\"good one\",neg\n", End::Closed), Some("\"open,pos\n"));
        assert_eq!(stray("\"open,pos\n\"open too,neg\n", End::Closed), Some("\"open,pos\n"));
        assert_eq!(stray("\"open,pos\na,b\nc,d\ne,f\n", End::Open), Some("\"open,pos\n"));
    }

    #[test]
    fn texts_of_several_lines_are_left_alone() {
        assert_eq!(stray("\"a, b\nc, d\ne, f\",pos\n", End::Closed), None);
        assert_eq!(stray("\"He said\n\"no\" and left\",pos\n", End::Closed), None);
        assert_eq!(stray("\"cut, in\nthe middle\nof, a\ntext", End::Open), None);
        assert_eq!(stray("\"one line\",pos\n", End::Closed), None);
    }
}
