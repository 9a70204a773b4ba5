//! The texts of a unit on their way through `EmbedExec`: which are distinct, what became of them, what it cost.

use arrow::array::{Array, StringArray};
use hashbrown::HashMap;

use crate::cache::{Failure, Fetched, Key, UnitStats};
use crate::encode::Vectors;
use crate::tokenize::Tokenized;

/// The distinct texts of a unit: `slots[row]` is a text's place in `first`, which holds the row where it stands first.
pub(super) struct Distinct {
    pub(super) keys: Vec<Key>,
    pub(super) first: Vec<usize>,
    pub(super) slots: Vec<Option<u32>>,
}

/// What became of the distinct texts of a unit: the place of each one's vector, or why it failed. Places count over the
/// vectors that this unit has, encoded here or fetched from a cache.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) places: Vec<Option<u32>>,
    pub(super) failures: Vec<Failure>,
    /// For each vector, tokens before truncation, and whether the text was cut.
    pub(super) tokens: Vec<(u32, bool)>,
    pub(super) vectors: Vec<f32>,
    /// What was done for them, and what it cost.
    pub(super) stats: UnitStats,
}

impl Encoded {
    /// Nothing yet, of so many distinct texts.
    pub(super) fn of(texts: usize) -> Encoded {
        Encoded { places: vec![None; texts], failures: vec![None; texts], ..Encoded::default() }
    }

    /// Takes over what a cache had of the texts in `slots`; returns the slots of those that it had not.
    pub(super) fn take_fetched(&mut self, slots: &[usize], fetched: Fetched) -> Vec<usize> {
        self.stats.texts_cached += fetched.asked.len() as u64;
        self.place(fetched.asked.iter().map(|asked| slots[*asked]), &fetched.tokens);
        self.append(fetched.vectors);
        slots.iter().copied().filter(|slot| self.places[*slot].is_none()).collect()
    }

    /// Takes over what the encoder made of the texts in `slots`.
    pub(super) fn take_encoded(&mut self, slots: &[usize], tokenized: &Tokenized, vectors: Vectors) {
        let tokens: Vec<_> = (0..slots.len()).map(|at| (tokenized.n_tokens(at), tokenized.truncated(at))).collect();
        self.stats.texts += tokens.len() as u64;
        self.stats.texts_truncated += tokens.iter().filter(|(_, truncated)| *truncated).count() as u64;
        self.stats.tokens += vectors.tokens;
        self.stats.padded_tokens += vectors.padded_tokens;
        self.stats.batches_split += vectors.splits;
        self.place(slots.iter().copied(), &tokens);
        for failed in vectors.failed {
            self.failures[slots[failed.text]] = Some(failed.reason.into());
        }
        self.append(vectors.values);
    }

    fn place(&mut self, slots: impl Iterator<Item = usize>, tokens: &[(u32, bool)]) {
        for (place, slot) in (self.tokens.len()..).zip(slots) {
            self.places[slot] = Some(place as u32);
        }
        self.tokens.extend_from_slice(tokens);
    }

    fn append(&mut self, vectors: Vec<f32>) {
        // As a rule all of a unit comes from one side, and need not be copied.
        if self.vectors.is_empty() {
            self.vectors = vectors;
        } else {
            self.vectors.extend_from_slice(&vectors);
        }
    }
}

impl Distinct {
    /// Finds the distinct texts; a null or empty text is none.
    pub(super) fn of(texts: &StringArray) -> Distinct {
        let mut found: HashMap<Key, u32> = HashMap::new();
        let mut distinct = Distinct { keys: Vec::new(), first: Vec::new(), slots: Vec::with_capacity(texts.len()) };
        for row in 0..texts.len() {
            if texts.is_null(row) || texts.value(row).is_empty() {
                distinct.slots.push(None);
                continue;
            }
            let key = Key::of(texts.value(row));
            let slot = *found.entry(key).or_insert_with(|| {
                distinct.keys.push(key);
                distinct.first.push(row);
                (distinct.keys.len() - 1) as u32
            });
            distinct.slots.push(Some(slot));
        }
        distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_stands_twice_has_one_slot_and_no_text_has_none() {
        let distinct = Distinct::of(&StringArray::from(vec![Some("a"), None, Some("b"), Some(""), Some("a")]));
        assert_eq!(distinct.slots, [Some(0), None, Some(1), None, Some(0)]);
        assert_eq!((distinct.first, distinct.keys), (vec![0, 2], vec![Key::of("a"), Key::of("b")]));
    }

    #[test]
    fn what_a_cache_has_is_placed_by_the_slot_that_asked_and_the_rest_is_left_to_the_encoder() {
        let mut encoded = Encoded::of(5);
        let fetch = |asked: &[usize], first: f32| Fetched {
            asked: asked.to_vec(),
            vectors: (0..asked.len()).map(|place| first + place as f32).collect(),
            tokens: asked.iter().map(|asked| (*asked as u32, false)).collect(),
        };
        // Slots 1, 3 and 4 ask; the cache has the last and the first of them, in an order of its own.
        assert_eq!(encoded.take_fetched(&[1, 3, 4], fetch(&[2, 0], 10.0)), [3]);
        assert_eq!(encoded.places, [None, Some(1), None, None, Some(0)]);
        assert_eq!(encoded.take_fetched(&[0, 3], fetch(&[1], 20.0)), [0]);
        assert_eq!(encoded.places, [None, Some(1), None, Some(2), Some(0)]);
        assert_eq!(encoded.vectors, [10.0, 11.0, 20.0]);
        assert_eq!(encoded.tokens, [(2, false), (0, false), (1, false)]);
        assert_eq!((encoded.stats.texts_cached, encoded.stats.texts), (3, 0));
    }
}
