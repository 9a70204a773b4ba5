//! Streams the units of all sources, in order.
//!
//! The layout of every source was looked at when it was found, so that a wrong column name stops a run at its start and
//! not an hour into it. From there on, one file is open at a time and memory holds one unit and one record.

use std::sync::Arc;

use super::cursor::Cursor;
use super::rows::Parsing;
use super::source::Source;
use super::unit::{IngestUnit, UnitBuilder};
use crate::ingest::open::{CHUNK_BYTES, Digests, Opener};
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
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Decoded {
    /// The encoding by its name.
    pub encoding: String,
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
    parsing: Parsing,
    limit: u64,
    unit_bytes: u64,
    unit: UnitBuilder,
    next_source: usize,
    current: Option<(usize, Cursor)>,
    digests: Vec<SourceDigest>,
    rows_read: u64,
    bytes_finished: u64,
    done: bool,
}

impl UnitReader {
    /// Settles how the units are cut; nothing is opened yet.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a Source>, reading: &Reading, digests: Digests) -> Self {
        Self::with_opener(sources, reading, Opener::new(CHUNK_BYTES, digests))
    }

    fn with_opener<'a>(sources: impl IntoIterator<Item = &'a Source>, reading: &Reading, opener: Opener) -> Self {
        let parsing = Parsing::from(reading);
        Self {
            sources: sources.into_iter().filter(|source| source.format != Format::Parquet).cloned().collect(),
            opener,
            decoded: Vec::new(),
            limit: reading.options.limit.unwrap_or(u64::MAX),
            unit_bytes: reading.unit_bytes,
            unit: UnitBuilder::new(parsing.clone()),
            parsing,
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
        let within =
            |(source, cursor): &(usize, Cursor)| cursor.byte_offset().min(self.sources[*source].location.bytes);
        self.bytes_finished + self.current.as_ref().map_or(0, within)
    }

    /// A source as large as a unit shares none, so a change in one large file leaves the units of its neighbours alone.
    fn is_large(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| source.location.bytes >= self.unit_bytes)
    }

    /// Opens the next source; false where there is none.
    fn advance_source(&mut self) -> Result<bool> {
        let Some(source) = self.sources.get(self.next_source) else { return Ok(false) };
        let settled = source.layout.as_ref().map(|layout| layout.encoding);
        let cursor = Cursor::open(&mut self.opener, source, &self.parsing, settled, (0, None))?;
        remember(&mut self.decoded, cursor.encoding, source.name());
        let digest = Arc::clone(&cursor.digest);
        self.digests.push(SourceDigest { name: source.name().to_owned(), bytes: source.location.bytes, digest });
        self.current = Some((self.next_source, cursor));
        self.next_source += 1;
        Ok(true)
    }

    /// Reads until a unit is full; `None` where nothing is left.
    fn fill(&mut self) -> Result<Option<IngestUnit>> {
        while self.rows_read < self.limit {
            let Some((index, cursor)) = &mut self.current else {
                if self.is_large(self.next_source) && !self.unit.is_empty() {
                    return self.unit.finish().map(Some);
                }
                if !self.advance_source()? {
                    break;
                }
                continue;
            };
            let index = *index;
            if !cursor.push_next(&self.sources[index], &mut self.unit)? {
                self.bytes_finished += self.sources[index].location.bytes;
                self.current = None;
                if self.is_large(index) && !self.unit.is_empty() {
                    return self.unit.finish().map(Some);
                }
                continue;
            }
            self.rows_read += 1;
            if self.unit.is_full(self.unit_bytes) {
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
        None => decoded.push(Decoded { encoding: encoding.name().to_owned(), files: 1, first: name.to_owned() }),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
