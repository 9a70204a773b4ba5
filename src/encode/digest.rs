//! Short digests, by which graphs, plans and encoders are told apart.

/// The first 32 hex digits of a BLAKE3 digest.
pub(super) fn short_digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}
