//! The token ids of many texts in one flat buffer.
//!
//! A unit holds thousands of texts; one allocation with offsets costs a fraction of a vector each, and hands slices
//! straight to the micro-batcher.

/// The ids of texts, in the order in which the texts came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokenized {
    /// The ids of all texts, one after another, specials included.
    ids: Vec<u32>,
    /// Where each text's ids end in `ids`.
    ends: Vec<usize>,
    /// Each text's count with specials, before truncation.
    counts: Vec<u32>,
}

impl Tokenized {
    /// Adds the text that follows the last one: `ids` as the encoder shall see them, `count` before truncation.
    pub(crate) fn push(&mut self, ids: impl IntoIterator<Item = u32>, count: u32) {
        self.ids.extend(ids);
        self.ends.push(self.ids.len());
        self.counts.push(count);
    }

    /// Adds all the texts of `other` behind the ones here.
    pub(super) fn append(&mut self, other: &Tokenized) {
        let start = self.ids.len();
        self.ids.extend_from_slice(&other.ids);
        self.ends.extend(other.ends.iter().map(|end| start + end));
        self.counts.extend_from_slice(&other.counts);
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The ids of text `index`, specials included, at most `max_length`. Panics where there is no such text.
    pub fn ids(&self, index: usize) -> &[u32] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.ids[start..self.ends[index]]
    }

    /// How many ids text `index` has after truncation: what the encoder pays for.
    pub fn length(&self, index: usize) -> u32 {
        self.ids(index).len() as u32
    }

    /// The lengths of all texts after truncation, as the micro-batcher takes them.
    pub fn lengths(&self) -> Vec<u32> {
        (0..self.len()).map(|index| self.length(index)).collect()
    }

    /// How many tokens text `index` has, specials included, before truncation.
    pub fn n_tokens(&self, index: usize) -> u32 {
        self.counts[index]
    }

    /// Whether text `index` lost tokens to `max_length`.
    pub fn truncated(&self, index: usize) -> bool {
        self.length(index) < self.n_tokens(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_texts_keep_their_ids_and_counts() {
        let mut first = Tokenized::default();
        first.push([1, 2, 3], 3);
        let mut second = Tokenized::default();
        second.push([4, 5], 9);
        second.push([6], 1);
        first.append(&second);
        assert_eq!((first.ids(0), first.ids(1), first.ids(2)), (&[1, 2, 3][..], &[4, 5][..], &[6][..]));
        assert_eq!(first.lengths(), [3, 2, 1]);
        assert_eq!((first.n_tokens(1), first.truncated(1), first.truncated(2)), (9, true, false));
    }
}
