//! Looks at the start of a source to see how it is laid out: delimiter, quoting, header, columns.
//!
//! No data row may be swallowed as a header: a first record that looks like data (one of its values recurs below it, it
//! is a number in a column of numbers, or it is a sentence) is data, and the columns then go by position.

use std::collections::HashSet;
use std::io::Cursor;

use super::{columns, guess};
use crate::ingest::open::{Sample, Sampler};
use crate::ingest::parse::csv::{Dialect, RawOutcome, RawRecords};
use crate::ingest::parse::json::{self, ElementReader, Objects, is_array};
use crate::ingest::parse::{Layout, LineReader, MAX_RECORD_BYTES, Syntax};
use crate::ingest::{Error, Format, Reading, Result};

const SAMPLE_BYTES: u64 = 1 << 20;
const SAMPLE_RECORDS: usize = 1000;

/// The layout of a CSV, TSV or JSON source, seen in its first MiB; `None` for a source without columns or content.
pub(super) fn layout_of(sampler: &Sampler<'_>, format: Format, reading: &Reading) -> Result<Option<Layout>> {
    match format {
        Format::Csv | Format::Tsv => delimited(sampler, format, reading),
        Format::Jsonl => json(sampler, reading),
        Format::Auto | Format::Parquet | Format::Text | Format::Lines => Ok(None),
    }
}

fn json(sampler: &Sampler<'_>, reading: &Reading) -> Result<Option<Layout>> {
    let mut sample = sampler.settled(SAMPLE_BYTES)?;
    let mut names = json_names(sampler.name(), &sample)?;
    if names.is_empty() && !sample.complete {
        // One object may be as large as a record may be.
        sample = sampler.settled(MAX_RECORD_BYTES as u64)?;
        names = json_names(sampler.name(), &sample)?;
    }
    let array = is_array(&sample.bytes);
    let content = sample.bytes.trim_ascii();
    let empty = content.is_empty() || array && content[1..].trim_ascii_start() == b"]";
    match names.is_empty() {
        true if empty => Ok(None),
        true if content[0] == b'[' => Err(Error::JsonArray { name: sampler.name().to_owned() }),
        true => Err(Error::NotJsonLines { name: sampler.name().to_owned() }),
        false => {
            let columns = columns::resolve_columns(&names, reading, sampler.name())?;
            let syntax = if array { Syntax::JsonArray } else { Syntax::JsonLines };
            Ok(Some(Layout { columns, names, syntax, encoding: sample.encoding }))
        }
    }
}

/// The keys of the first objects; of a sample that is cut, the last one does not count.
fn json_names(name: &str, sample: &Sample) -> Result<Vec<String>> {
    let mut head = sample.bytes.clone();
    let array = is_array(&head);
    if !sample.complete && !array {
        head.truncate(head.iter().rposition(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1));
    }
    let stream = Box::new(Cursor::new(head));
    let mut objects = match array {
        true => Objects::Array(ElementReader::new(name, stream, 0).of_sample()),
        false => Objects::Lines(LineReader::new(name, stream, 0)),
    };
    let (mut names, mut taken) = (Vec::new(), HashSet::new());
    let mut n_objects = 0;
    while n_objects < SAMPLE_RECORDS
        && let Some((_, reject)) = objects.advance()?
    {
        let Some(keys) = json::keys_of(objects.bytes()).filter(|_| reject.is_none()) else { continue };
        n_objects += 1;
        names.extend(keys.into_iter().filter(|key| taken.insert(key.clone())));
    }
    Ok(names)
}

fn delimited(sampler: &Sampler<'_>, format: Format, reading: &Reading) -> Result<Option<Layout>> {
    let Sample { bytes: head, complete, encoding } = sampler.settled(SAMPLE_BYTES)?;
    let sample = DelimitedSample { head, complete, name: sampler.name() };
    let dialect = if format == Format::Tsv { sample.tsv_dialect()? } else { sample.csv_dialect()? };
    let records = sample.records(dialect, SAMPLE_RECORDS)?;
    let Some((first, rest)) = records.split_first() else { return Ok(None) };
    if reading.options.header && !is_data(first, rest, reading) {
        let names = guess::header_names(first);
        let hint = if first.iter().any(|name| columns::is_usual(name)) {
            ""
        } else {
            ", or --no-header if its first line is data"
        };
        let columns = columns::resolve(&names, reading, sampler.name(), hint)?;
        let syntax = Syntax::Delimited { dialect, width: names.len() };
        return Ok(Some(Layout { columns, names, syntax, encoding }));
    }
    let width = guess::usual_width(&records);
    let names: Vec<String> = (0..width).map(|position| position.to_string()).collect();
    let columns = guess::by_content(&names, &records, reading, sampler.name())?;
    Ok(Some(Layout { columns, names, syntax: Syntax::Delimited { dialect, width }, encoding }))
}

/// Whether the first record is data rather than a header.
fn is_data(first: &[String], rest: &[Vec<String>], reading: &Reading) -> bool {
    let asked = |name: &String| {
        reading.options.text_column.as_ref() == Some(name) || reading.options.label_column.as_ref() == Some(name)
    };
    if first.iter().any(|name| columns::is_usual(name.trim()) || asked(&name.trim().to_owned())) {
        return false;
    }
    let is_number = |value: &str| value.trim().parse::<f64>().is_ok();
    first.iter().enumerate().any(|(at, value)| {
        let mut below = rest.iter().filter_map(|record| record.get(at)).peekable();
        let in_numbers = is_number(value) && below.peek().is_some() && below.clone().all(|other| is_number(other));
        let recurs = !value.trim().is_empty() && below.any(|other| other == value);
        in_numbers || recurs || value.split_whitespace().nth(5).is_some()
    })
}

struct DelimitedSample<'a> {
    head: Vec<u8>,
    complete: bool,
    name: &'a str,
}

impl DelimitedSample<'_> {
    /// The whole records of the sample, with broken bytes replaced: they are only looked at.
    fn records(&self, dialect: Dialect, at_most: usize) -> Result<Vec<Vec<String>>> {
        let mut raw = RawRecords::new(self.name, Box::new(Cursor::new(self.head.clone())), 0, dialect);
        let mut records: Vec<Vec<String>> = Vec::new();
        while records.len() < at_most {
            match raw.advance()? {
                None => {
                    // The last record of a cut sample is cut.
                    if !self.complete && records.len() > 1 {
                        records.pop();
                    }
                    break;
                }
                Some((_, RawOutcome::Complete)) => {
                    records.push(raw.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect());
                }
                Some(_) => break,
            }
        }
        Ok(records)
    }

    /// Commas, unless the first line has none and another usual delimiter splits the lines alike.
    fn csv_dialect(&self) -> Result<Dialect> {
        let comma = Dialect { delimiter: b',', quote: b'"', quoting: true, escape: false };
        if self.records(comma, 1)?.first().is_none_or(|first| first.len() > 1) {
            return self.with_escape(self.with_quote(comma)?);
        }
        for delimiter in *b";\t|" {
            let dialect = Dialect { delimiter, ..comma };
            let records = self.records(dialect, SAMPLE_RECORDS)?;
            let width = guess::usual_width(&records);
            if width > 1 && records[0].len() == width && n_regular(&records) * 5 >= records.len() * 4 {
                return self.with_escape(self.with_quote(dialect)?);
            }
        }
        Ok(comma)
    }

    /// Many TSV files know no quotes, and a stray one must not swallow the rows after it: quotes count only where some
    /// field starts with one, and not where more lines are regular without them.
    fn tsv_dialect(&self) -> Result<Dialect> {
        let plain = Dialect { delimiter: b'\t', quote: b'"', quoting: false, escape: false };
        let as_lines = self.records(plain, usize::MAX)?;
        if !as_lines.iter().flatten().any(|field| field.starts_with('"')) {
            return Ok(plain);
        }
        let quoted = self.with_escape(Dialect { quoting: true, ..plain })?;
        // Where the sample is cut, one record more or less says nothing.
        let n_quoted = n_regular(&self.records(quoted, usize::MAX)?) + usize::from(!self.complete);
        Ok(if n_regular(&as_lines) > n_quoted { plain } else { quoted })
    }

    /// A few writers quote with `'`. An apostrophe is no quote, so there must be no `"` anywhere, and four of five lines
    /// must have a field that begins with `'` and one that ends with it.
    fn with_quote(&self, dialect: Dialect) -> Result<Dialect> {
        if self.head.contains(&b'"') {
            return Ok(dialect);
        }
        let lines = self.records(Dialect { quoting: false, ..dialect }, SAMPLE_RECORDS)?;
        let is_quoted = |line: &&Vec<String>| {
            line.iter().any(|field| field.starts_with('\'')) && line.iter().any(|field| field.ends_with('\''))
        };
        // The header may be without.
        let n_quoted = lines.iter().skip(1).filter(is_quoted).count();
        let quoted = n_quoted > 0 && n_quoted * 5 >= (lines.len() - 1) * 4;
        Ok(if quoted { Dialect { quote: b'\'', ..dialect } } else { dialect })
    }

    /// Some writers put `\"` where RFC 4180 wants `""`. A `\"` that is followed by more of its field can only be that;
    /// one at the end of a field may as well be a backslash and a closing quote, so regularity decides.
    fn with_escape(&self, dialect: Dialect) -> Result<Dialect> {
        let ends_field = |byte: u8| byte == dialect.delimiter || matches!(byte, b'\r' | b'\n' | b'"');
        if !self.head.windows(3).any(|bytes| bytes.starts_with(b"\\\"") && !ends_field(bytes[2])) {
            return Ok(dialect);
        }
        let escaped = Dialect { escape: true, ..dialect };
        let count = |dialect| self.records(dialect, usize::MAX).map(|records| n_regular(&records));
        Ok(if count(escaped)? >= count(dialect)? { escaped } else { dialect })
    }
}

/// How many records have the width that most have.
fn n_regular(records: &[Vec<String>]) -> usize {
    let width = guess::usual_width(records);
    records.iter().filter(|record| record.len() == width).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::ReadOptions;
    use crate::ingest::open::Location;
    use crate::ingest::parse::Columns;

    fn layout(name: &str, content: &str, reading: &Reading) -> Result<Option<Layout>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, content).unwrap();
        let format = match path.extension().unwrap().to_str().unwrap() {
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            _ => Format::Jsonl,
        };
        let location = Location { path, name: name.to_owned(), bytes: content.len() as u64, member: None };
        layout_of(&Sampler::new(&location, None, reading.options.encoding), format, reading)
    }

    fn dialect(name: &str, content: &str) -> Dialect {
        match layout(name, content, &Reading::default()).unwrap().unwrap().syntax {
            Syntax::Delimited { dialect, .. } => dialect,
            other => panic!("{other:?}"),
        }
    }

    fn columns(name: &str, content: &str) -> Columns {
        layout(name, content, &Reading::default()).unwrap().unwrap().columns
    }

    #[test]
    fn a_first_line_of_data_is_not_a_header() {
        let sst2 = columns("a.tsv", "one long string of cliches\t0\na gem\t1\nk 19 exploits our fear\t0\n");
        assert!(sst2.header_absent);
        assert_eq!((sst2.text.as_str(), sst2.label.as_deref()), ("0", Some("1")));
        let news = columns(
            "a.csv",
            "\"3\",\"Short title\",\"a longer story of it\"\n\"4\",\"Other\",\"a far longer story of it\"\n\"3\",\"Ti\",\"and one more story of it\"\n",
        );
        assert_eq!((news.text.as_str(), news.label.as_deref()), ("2", Some("0")));
        let single = columns("a.csv", "this is a review and no header\nshort one\n");
        assert!(single.header_absent);
    }

    #[test]
    fn a_header_is_a_header() {
        assert!(!columns("a.csv", "text,label\na,1\ntext,1\n").header_absent);
        assert!(!columns("a.csv", "text\n").header_absent);
        let reading = Reading::from(ReadOptions { text_column: Some("foo".into()), ..ReadOptions::default() });
        assert!(!layout("a.csv", "id,foo\n1,a\n", &reading).unwrap().unwrap().columns.header_absent);
        let error = layout("a.csv", "id,foo\n1,a\n2,b\n", &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("`id`, `foo`") && error.to_string().contains("--no-header"), "{error}");
    }

    #[test]
    fn no_header_is_obeyed_and_positions_can_be_asked_for() {
        let reading =
            Reading::from(ReadOptions { header: false, text_column: Some("1".into()), ..ReadOptions::default() });
        let columns = layout("a.csv", "text,label\na,b\n", &reading).unwrap().unwrap().columns;
        assert_eq!((columns.text.as_str(), columns.header_absent), ("1", true));
    }

    #[test]
    fn semicolons_and_stray_quotes_are_seen() {
        assert_eq!(dialect("a.csv", "text;label\n\"a, b\";1\nc;2\n").delimiter, b';');
        let quoting = |content: &str| dialect("a.tsv", content).quoting;
        assert!(!quoting("text\tlabel\n\"stray\t1\nb\t0\n"));
        assert!(!quoting("text\tlabel\nplain\t1\n"));
        assert!(quoting("text\tlabel\n\"two\nlines\"\t1\n"));
        assert!(quoting("text\tlabel\n\"a \\\"b\\\" c\"\t1\n"));
        assert!(quoting("text\tlabel\n\"say \"\"hi\"\"\"\t1\n"));
    }

    #[test]
    fn single_quotes_are_quotes_where_every_line_has_them() {
        assert_eq!(dialect("a.csv", "text,label\n'it''s fine, really',1\n'dull',0\n").quote, b'\'');
        assert_eq!(dialect("a.csv", "text,label\n'tis fine,1\ndull,0\nthe others',1\n").quote, b'"');
    }

    #[test]
    fn escaped_quotes_are_seen_and_backslashes_left_alone() {
        let escape = |content: &str| dialect("a.csv", content).escape;
        assert!(escape("text,label\n\"a \\\"b, c\\\" d\",1\n\"e\",0\n"));
        assert!(!escape("text,label\n\"C:\\\",1\n\"e\",0\n\"f\",0\n"));
        assert!(!escape("text,label\n\"a \"\"b\"\"\",1\n"));
    }

    #[test]
    fn json_keys_are_the_union_of_the_first_objects() {
        let columns = columns("a.jsonl", "{\"id\":1}\nbroken\n\n{\"stars\":5,\"review\":\"x\"}\n");
        assert_eq!((columns.text.as_str(), columns.label.as_deref()), ("review", Some("stars")));
        assert_eq!(columns.others, ["id"]);
        let array = layout("a.json", "[\n{\"text\": \"a\"},{\"stars\": 1}]", &Reading::default()).unwrap().unwrap();
        assert_eq!((array.syntax, array.names), (Syntax::JsonArray, vec!["text".to_owned(), "stars".to_owned()]));
        let texts = layout("a.json", "[\"a\", \"b\"]", &Reading::default()).unwrap_err();
        assert!(
            texts.to_string().contains("not of objects") && texts.to_string().contains("map({text: .})"),
            "{texts}"
        );
        assert_eq!(layout("a.json", "[ ]", &Reading::default()).unwrap(), None);
        let pretty = layout("a.jsonl", "{\n\"text\": \"a\"\n}", &Reading::default()).unwrap_err();
        assert!(pretty.to_string().contains("JSON lines"), "{pretty}");
        assert_eq!(layout("a.jsonl", "\n", &Reading::default()).unwrap(), None);
    }
}
