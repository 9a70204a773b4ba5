//! The content key of a text: BLAKE3-128 of the exact bytes that are tokenized.
//!
//! Embeddings are addressed by content, so that a text is encoded once wherever it stands. 128 bits make an accidental
//! collision among ten billion texts less likely than 1 in 10^18.

use std::fmt;

/// A content key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of `text`.
    pub fn of(text: &str) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Key(key)
    }

    /// The key stored as `bytes`, if there are 16 of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        bytes.try_into().ok().map(Key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn the_key_is_the_first_half_of_blake3() {
        // The first test vector of the BLAKE3 paper's reference: the empty input.
        assert_eq!(Key::of("").to_string(), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_ne!(Key::of("a"), Key::of("a "));
    }
}
