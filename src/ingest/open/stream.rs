//! What every reader of this room takes and gives: bytes, some at a time.

use std::io::BufRead;
use std::path::Path;

use crate::ingest::{Error, Result};

/// A stream of bytes that can move to another thread.
pub(crate) type Stream = Box<dyn BufRead + Send>;

/// How much is read at a time.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

pub(crate) fn open_file(path: &Path) -> Result<fs_err::File> {
    fs_err::File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}
