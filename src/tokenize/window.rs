//! Which tokens of a long text the encoder sees: how many, and from which end.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is kept of a text that has more tokens than the encoder is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// The first tokens.
    #[default]
    Head,
    /// The last ones, where reviews often come to their point.
    Tail,
    /// A quarter from the beginning, the rest from the end.
    // As Sun et al. found best for IMDB (2019, "How to Fine-Tune BERT for Text Classification?", 128 + 382 of 510 tokens).
    HeadTail,
}

/// The tokens of a text that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// At most so many, specials included.
    pub max_length: usize,
    /// Which ones, where there are more.
    pub truncation: Truncation,
}

impl From<usize> for Window {
    /// The first tokens.
    fn from(max_length: usize) -> Window {
        Window { max_length, truncation: Truncation::Head }
    }
}

impl Truncation {
    /// How many of the `room` tokens that a longer text keeps are its first; the others are its last.
    pub(super) fn first_of(self, room: usize) -> usize {
        match self {
            Truncation::Head => room,
            Truncation::Tail => 0,
            Truncation::HeadTail => room.div_ceil(4),
        }
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_comes_from_the_head() {
        assert_eq!([1, 4, 248, 510].map(|room| Truncation::HeadTail.first_of(room)), [1, 1, 62, 128]);
    }
}
