//! Looks at the start of a source that may still be one of many.

use std::io::{Cursor, Read as _};

use super::encoding::Encoding;
use super::location::Location;
use super::member::MemberPrefix;
use super::opener::{Decoded, Decompressed, failed, raw};
use super::stream::CHUNK_BYTES;
use crate::ingest::Result;

/// The start of a source as UTF-8.
pub(crate) struct Sample {
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
    pub encoding: &'static encoding_rs::Encoding,
}

/// A source that is being looked at.
pub(crate) struct Sampler<'a> {
    location: &'a Location,
    /// What was kept of its content until it has been looked at.
    head: Option<&'a MemberPrefix>,
    encoding: Encoding,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(location: &'a Location, head: Option<&'a MemberPrefix>, encoding: Encoding) -> Self {
        Self { location, head, encoding }
    }

    /// What the source is called.
    pub(crate) fn name(&self) -> &'a str {
        &self.location.name
    }

    /// The first bytes, read in the encoding that they alone look like; that does for looking at their syntax.
    pub(crate) fn first(&self, bytes: u64) -> Result<Sample> {
        let decompressed = self.decompressed(bytes)?;
        let guessed = decompressed.detected.encoding;
        self.taken(bytes, decompressed.decoded(guessed))
    }

    /// The first bytes in the encoding that the source will be read in.
    pub(crate) fn settled(&self, bytes: u64) -> Result<Sample> {
        let decompressed = self.decompressed(bytes)?;
        let settled = decompressed.settled(self.location)?;
        self.taken(bytes, decompressed.decoded(settled))
    }

    /// What was kept, where that is enough.
    fn kept(&self, bytes: u64) -> Option<&'a MemberPrefix> {
        self.head.filter(|head| head.serves(bytes))
    }

    fn decompressed(&self, bytes: u64) -> Result<Decompressed> {
        let raw = match self.kept(bytes) {
            Some(head) => Box::new(Cursor::new(head.bytes.clone())),
            None => raw(self.location)?,
        };
        Decompressed::of(raw, CHUNK_BYTES, self.encoding).map_err(|error| failed(self.location, error))
    }

    fn taken(&self, bytes: u64, decoded: Decoded) -> Result<Sample> {
        let mut taken = Vec::new();
        let read = decoded.stream.take(bytes + 1).read_to_end(&mut taken);
        read.map_err(|error| failed(self.location, error))?;
        let whole = self.kept(bytes).is_none_or(|head| head.complete);
        let complete = taken.len() as u64 <= bytes && whole;
        taken.truncate(bytes as usize);
        Ok(Sample { bytes: taken, complete, encoding: decoded.encoding })
    }
}
