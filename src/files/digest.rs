//! Digests of files: BLAKE3, of which 128 bits are written down.

use std::io;
use std::path::Path;

use super::Stored;

/// BLAKE3-128 of a file, in hexadecimal.
pub(crate) fn digest(path: &Path) -> io::Result<String> {
    Stored::open(path)?.digest()
}

/// The first 128 bits of a hash, in hexadecimal.
pub(super) fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_owned()
}
