//! How the digest of a file is written down: BLAKE3, of which 128 bits stand for all.

/// The first 128 bits of a hash, in hexadecimal.
pub(super) fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_owned()
}
