//! Digests of files: BLAKE3, of which 128 bits are written down.

use std::io;
use std::path::Path;

use fs_err as fs;

/// The BLAKE3 hash of a file.
pub(crate) fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

/// BLAKE3-128 of a file, in hexadecimal.
pub(crate) fn digest(path: &Path) -> io::Result<String> {
    Ok(short(&hash(path)?))
}

/// The first 128 bits of a hash, in hexadecimal.
pub(crate) fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_owned()
}
