//! Takes a JSON array apart, element by element, knowing where each one starts.
//!
//! An array may be as large as any file, so it is never parsed as a whole: this finds where elements end by counting
//! brackets outside strings, and `serde_json` parses each by itself. Damage stays in its element as far as can be: no
//! JSON string holds a line end, so one that does is broken, and the next line that begins an object begins an element.
//! What is missing at the end of the file is a record that says so: a file that was cut off must not pass for a whole.

use std::io::BufRead as _;

use crate::ingest::open::Stream;
use crate::ingest::parse::record::MAX_RECORD_BYTES;
use crate::ingest::{Error, Result};

/// The elements of an array.
pub(crate) struct ElementReader {
    name: String,
    stream: Stream,
    position: u64,
    element: Vec<u8>,
    max_element_bytes: usize,
    state: ArrayState,
    /// Whether the stream may end anywhere.
    is_sample: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ArrayState {
    Outside,
    Inside,
    Done,
}

/// What came of one element; its bytes are in the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Complete,
    TooLarge,
    Broken(&'static str),
}

/// Whether a file that begins so is an array of objects (or an empty one).
pub(crate) fn is_array(head: &[u8]) -> bool {
    let inside = head.trim_ascii_start().strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| inside.starts_with(b"{") || inside.starts_with(b"]"))
}

impl ElementReader {
    pub(crate) fn new(name: &str, stream: Stream, start: u64) -> Self {
        Self {
            name: name.to_owned(),
            stream,
            position: start,
            element: Vec::new(),
            max_element_bytes: MAX_RECORD_BYTES,
            state: ArrayState::Outside,
            is_sample: false,
        }
    }

    /// The same for the beginning of a file.
    pub(crate) fn of_sample(self) -> Self {
        Self { is_sample: true, ..self }
    }

    /// The same for what follows an element.
    pub(crate) fn behind_element(self) -> Self {
        Self { state: ArrayState::Inside, ..self }
    }

    /// Where the next element is looked for.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The element read last, as far as it is kept.
    pub(crate) fn element(&self) -> &[u8] {
        &self.element
    }

    /// Reads the next element; returns where it starts, or `None` behind the array.
    pub(crate) fn advance(&mut self) -> Result<Option<(u64, Outcome)>> {
        self.element.clear();
        loop {
            let next = self.next_byte()?;
            let start = self.position;
            match (self.state, next) {
                (ArrayState::Done, _) | (ArrayState::Outside, None) => return Ok(None),
                (ArrayState::Outside, Some(b'[')) => {
                    self.consume(1);
                    self.state = ArrayState::Inside;
                }
                (ArrayState::Outside, Some(_)) => {
                    self.take_rest()?;
                    self.refuse_swallowed(start)?;
                    return Ok(Some((start, Outcome::Broken("this stands behind the end of the array"))));
                }
                (ArrayState::Inside, None) => {
                    self.state = ArrayState::Done;
                    return Ok(Some((start, Outcome::Broken("the file ends inside the array; it may be cut off"))));
                }
                (ArrayState::Inside, Some(b',')) => self.consume(1),
                (ArrayState::Inside, Some(b']')) => {
                    self.consume(1);
                    self.state = ArrayState::Outside;
                }
                (ArrayState::Inside, Some(_)) => {
                    return Ok(Some((start, self.read_element()?)));
                }
            }
        }
    }

    fn read_element(&mut self) -> Result<Outcome> {
        let start = self.position;
        let mut scanner = Scanner::default();
        let mut length = 0;
        loop {
            let available = self.fill()?;
            if available.is_empty() {
                self.state = ArrayState::Done;
                self.refuse_swallowed(start)?;
                return Ok(Outcome::Broken("the file ends inside this element; it may be cut off"));
            }
            let end = scanner.feed(available);
            let count = end.unwrap_or(available.len());
            length += count;
            self.keep(count)?;
            if end.is_some() {
                if scanner.mismatched {
                    self.refuse_swallowed(start)?;
                }
                return Ok(if length > self.max_element_bytes { Outcome::TooLarge } else { Outcome::Complete });
            }
        }
    }

    /// Ends the run where what was read as one element looks like several: how many rows they are cannot be told.
    fn refuse_swallowed(&self, offset: u64) -> Result<()> {
        let several = self.element.split(|byte| *byte == b'}').skip(1).any(|behind| {
            let behind = behind.trim_ascii_start().strip_prefix(b",").map(<[u8]>::trim_ascii_start);
            behind.is_some_and(|behind| behind.starts_with(b"{"))
        });
        match several && !self.is_sample {
            true => Err(Error::Swallowed { name: self.name.clone(), offset }),
            false => Ok(()),
        }
    }

    fn take_rest(&mut self) -> Result<()> {
        self.state = ArrayState::Done;
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                return Ok(());
            }
            self.keep(count)?;
        }
    }

    /// Consumes bytes into the element, of which one byte over the ceiling is enough to know.
    fn keep(&mut self, count: usize) -> Result<()> {
        let room = (self.max_element_bytes + 1).saturating_sub(self.element.len());
        let read = |source| Error::Read { name: self.name.clone(), source };
        let available = self.stream.fill_buf().map_err(read)?;
        self.element.extend_from_slice(&available[..count.min(room)]);
        self.consume(count);
        Ok(())
    }

    /// The next byte that is no white space, not consumed.
    fn next_byte(&mut self) -> Result<Option<u8>> {
        loop {
            let available = self.fill()?;
            if available.is_empty() {
                return Ok(None);
            }
            let blank = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = available.get(blank).copied();
            self.consume(blank);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn fill(&mut self) -> Result<&[u8]> {
        self.stream.fill_buf().map_err(|source| Error::Read { name: self.name.clone(), source })
    }

    fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.position += count as u64;
    }
}

/// Finds the end of an element.
#[derive(Default)]
struct Scanner {
    /// The brackets that are open.
    open: Vec<u8>,
    /// A bracket was closed by one of the other kind.
    mismatched: bool,
    in_string: bool,
    escaped: bool,
    /// A string had a line end in it.
    broken: bool,
    /// Only white space since the last line end.
    at_line_start: bool,
}

impl Scanner {
    /// How many of the bytes belong to the element, if it ends in them.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let resumes = self.broken && self.at_line_start && *byte == b'{';
            self.at_line_start = *byte == b'\n' || self.at_line_start && byte.is_ascii_whitespace();
            match byte {
                _ if resumes => return Some(at),
                b'\n' if self.in_string => (self.in_string, self.escaped, self.broken) = (false, false, true),
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.in_string => {
                    self.in_string = false;
                    if self.open.is_empty() {
                        return Some(at + 1);
                    }
                }
                _ if self.in_string => {}
                b'"' => self.in_string = true,
                b'{' | b'[' => self.open.push(*byte),
                b',' | b']' if self.open.is_empty() => return Some(at),
                b'}' if self.open.is_empty() => return Some(at + 1),
                b']' | b'}' => {
                    let due = if *byte == b']' { b'[' } else { b'{' };
                    self.mismatched |= self.open.pop() != Some(due);
                    if self.open.is_empty() {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    const OK: Outcome = Outcome::Complete;

    fn read(content: &[u8], chunk: usize, max: usize) -> Vec<(u64, Outcome, String)> {
        let stream = Box::new(BufReader::with_capacity(chunk, Cursor::new(content.to_vec())));
        let mut reader = ElementReader { max_element_bytes: max, ..ElementReader::new("test", stream, 0) };
        let next = || {
            let (start, outcome) = reader.advance().unwrap()?;
            Some((start, outcome, String::from_utf8_lossy(reader.element()).into_owned()))
        };
        std::iter::from_fn(next).collect()
    }

    #[track_caller]
    fn check(content: &str, expected: &[(u64, Outcome, &str)]) {
        for chunk in [1, 3, 1000] {
            let read = read(content.as_bytes(), chunk, 1000);
            let read: Vec<(u64, Outcome, &str)> =
                read.iter().map(|(at, how, text)| (*at, *how, text.as_str())).collect();
            assert_eq!(read, expected, "{chunk}");
        }
    }

    #[test]
    fn elements_come_with_their_places() {
        check(
            " [ {\"a\": \"]}\\\"\"} ,\n{\"b\": [{}]},3, \"x\"]\n",
            &[(3, OK, "{\"a\": \"]}\\\"\"}"), (19, OK, "{\"b\": [{}]}"), (31, OK, "3"), (34, OK, "\"x\"")],
        );
        check("[]", &[]);
        check("[{}]\n[{}]", &[(1, OK, "{}"), (6, OK, "{}")]);
    }

    #[test]
    fn what_is_missing_or_too_much_at_the_end_is_said() {
        let (cut, inside) = (
            "the file ends inside the array; it may be cut off",
            "the file ends inside this element; it may be cut off",
        );
        check("[{},", &[(1, OK, "{}"), (4, Outcome::Broken(cut), "")]);
        check("[{},{\"a\":", &[(1, OK, "{}"), (4, Outcome::Broken(inside), "{\"a\":")]);
        check("[{}] x", &[(1, OK, "{}"), (5, Outcome::Broken("this stands behind the end of the array"), "x")]);
    }

    #[test]
    fn a_stray_quote_costs_its_line_alone() {
        let broken = "{\"t\":\"un\"closed\"},\n";
        let content = format!("[\n{broken}{{\"t\":\"b\"}},\n{{\"t\":\"c\"}}\n]");
        check(&content, &[(2, OK, broken), (21, OK, "{\"t\":\"b\"}"), (32, OK, "{\"t\":\"c\"}")]);
    }

    #[test]
    fn an_element_over_the_ceiling_is_passed_over() {
        let content = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(5000));
        for chunk in [1, 1 << 12] {
            let found: Vec<Outcome> =
                read(content.as_bytes(), chunk, 100).iter().map(|(_, outcome, _)| *outcome).collect();
            assert_eq!(found, [Outcome::TooLarge, OK]);
        }
    }
}
