//! Reads the rows of a unit again, in whatever process.

use super::cursor::Cursor;
use super::rows::{ParsedRows, RecordRange};
use super::unit::{IngestUnit, UnitBuilder};
use crate::ingest::open::{CHUNK_BYTES, Digests, Opener};
use crate::ingest::{Error, Result};

/// Reads units again, one after the other.
pub struct RowsReader {
    opener: Opener,
}

impl RowsReader {
    /// `digests` are shared with whoever else reads the same files.
    pub fn new(digests: Digests) -> Self {
        Self { opener: Opener::new(CHUNK_BYTES, digests) }
    }

    /// The unit that has these rows, as it was when it was cut.
    ///
    /// # Errors
    /// A source that is no longer what it was, and what stops any reading.
    pub fn read(&mut self, rows: &ParsedRows) -> Result<IngestUnit> {
        let mut unit = UnitBuilder::new(rows.parsing.clone());
        for RecordRange { source, digest, encoding, first_row, rows: count, from } in &rows.ranges {
            let start = (*first_row, *from);
            let mut cursor = Cursor::open(&mut self.opener, source, &rows.parsing, Some(encoding), start)?;
            if *cursor.digest != **digest {
                return Err(Error::Changed { name: source.name().to_owned() });
            }
            for row in *first_row..first_row + count {
                if !cursor.push_next(source, &mut unit)? {
                    return Err(Error::NoSuchRow { name: source.name().to_owned(), row });
                }
            }
        }
        unit.finish()
    }
}

#[cfg(test)]
#[path = "reread_tests.rs"]
mod tests;
