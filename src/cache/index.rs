//! A compact map from content keys to the rows of cached parts: 24 bytes a distinct text and a directory beside it.
//!
//! Entries lie sorted in one allocation of the very size: a hash table of the same entries keeps between an eighth and
//! more than half of its slots empty, and doubles while it grows. Keys are hashes, hence evenly spread: their first
//! bits lead to a bucket of a few entries, so that a look-up costs two reads of memory, as in a hash table.

use super::Key;

/// Entries that a bucket of the directory holds on average; with 4 bytes a bucket, half a byte an entry.
const BUCKET: usize = 8;

/// Where a text's vector lies, and what else is known of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Counted over all parts.
    pub(super) row: u32,
    pub(super) tokens: Tokens,
}

/// The tokens of a text before truncation and whether it was cut, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tokens(u32);

impl Tokens {
    pub(super) fn new(n_tokens: u32, truncated: bool) -> Tokens {
        // A text of 2^31 tokens does not fit into an Arrow string.
        Tokens(n_tokens << 1 | u32::from(truncated))
    }

    pub(super) fn n_tokens(self) -> u32 {
        self.0 >> 1
    }

    pub(super) fn truncated(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Sorted entries, and where each bucket begins.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
    starts: Vec<u32>,
    bits: u32,
}

impl Index {
    /// Sorts the entries; of those with the same key, the one with the lowest row stays.
    pub(super) fn of(mut entries: Vec<Entry>) -> Index {
        entries.sort_unstable_by_key(|entry| (u128::from_be_bytes(entry.key.0), entry.row));
        entries.dedup_by_key(|entry| entry.key);
        entries.shrink_to_fit();
        let bits = (entries.len() / BUCKET).max(1).ilog2();
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (place, entry) in entries.iter().enumerate() {
            // Empty buckets before this entry's begin here too. Rows are u32, so places are.
            starts.resize(starts.len().max(bucket(&entry.key, bits) + 1), place as u32);
        }
        starts.resize((1 << bits) + 1, entries.len() as u32);
        Index { entries, starts, bits }
    }

    /// The entry of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        let bucket = bucket(key, self.bits);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        entries.binary_search_by(|entry| entry.key.cmp(key)).ok().map(|place| &entries[place])
    }

    /// Distinct keys.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The number that the first `bits` of a key make.
fn bucket(key: &Key, bits: u32) -> usize {
    let [a, b, c, d, ..] = key.0;
    // In two steps: a shift by 32 is none.
    (u32::from_be_bytes([a, b, c, d]) >> (31 - bits) >> 1) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few first bytes, so that buckets fill up, stay empty and end at keys that are alike; few last ones, so that
        /// keys repeat.
        #[test]
        fn the_index_answers_as_a_map_of_first_rows_does(
            keys in proptest::collection::vec((prop_oneof![Just(0u8), Just(255), any::<u8>()], 0u8..4), 0..400),
            asked in proptest::collection::vec((any::<u8>(), 0u8..5), 50),
        ) {
            let key = |(first, last): (u8, u8)| {
                let mut bytes = [7; 16];
                (bytes[0], bytes[15]) = (first, last);
                Key(bytes)
            };
            let entry = |(row, given): (usize, &(u8, u8))| {
                Entry { key: key(*given), row: row as u32, tokens: Tokens::new(row as u32 * 3, row % 2 == 0) }
            };
            let entries: Vec<Entry> = keys.iter().enumerate().map(entry).collect();
            let mut map = HashMap::new();
            for entry in &entries {
                map.entry(entry.key).or_insert(*entry);
            }
            let mut shuffled = entries;
            shuffled.reverse();
            let index = Index::of(shuffled);
            prop_assert_eq!(index.len(), map.len());
            for asked in keys.iter().chain(&asked) {
                prop_assert_eq!(index.get(&key(*asked)), map.get(&key(*asked)));
            }
        }
    }

    #[test]
    fn real_keys_are_found_among_many_and_an_entry_takes_24_bytes() {
        let key = |number: u32| Key::of(&number.to_string());
        let entry = |row| Entry { key: key(row), row, tokens: Tokens::new(row, false) };
        let index = Index::of((0..10_000).map(entry).collect());
        assert!((0..10_000).all(|row| index.get(&key(row)) == Some(&entry(row))));
        assert!((10_000..20_000).all(|row| index.get(&key(row)).is_none()));
        assert_eq!(size_of::<Entry>(), 24);
        assert_eq!(index.entries.capacity(), 10_000);
        assert!(index.starts.capacity() * 4 < 10_000 * 2);
    }

    #[test]
    fn tokens_and_truncation_share_four_bytes() {
        for (n_tokens, truncated) in [(0, true), (3, false), ((1 << 31) - 1, true)] {
            let tokens = Tokens::new(n_tokens, truncated);
            assert_eq!((tokens.n_tokens(), tokens.truncated()), (n_tokens, truncated));
        }
    }
}
