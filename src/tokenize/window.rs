//! Which tokens of a long text the encoder sees: how many, and from which end.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// What is kept of a text that has more tokens than the encoder is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// The first tokens.
    #[default]
    Head,
    /// The last ones, where reviews often come to their point.
    Tail,
    /// A quarter from the beginning and three from the end, as Sun et al. found best for IMDB (2019, "How to Fine-Tune
    /// BERT for Text Classification?", 128 + 382 of 510 tokens).
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
    const ALL: [Truncation; 3] = [Truncation::Head, Truncation::Tail, Truncation::HeadTail];

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
        formatter.pad(match self {
            Truncation::Head => "head",
            Truncation::Tail => "tail",
            Truncation::HeadTail => "head-tail",
        })
    }
}

impl FromStr for Truncation {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|truncation| truncation.to_string() == given);
        found.ok_or_else(|| Error::UnknownTruncation { given: given.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_others_are_refused_with_the_choice() {
        for truncation in Truncation::ALL {
            assert_eq!(truncation.to_string().parse::<Truncation>().unwrap(), truncation);
        }
        let told = "right".parse::<Truncation>().unwrap_err();
        assert!(told.is_usage() && told.to_string().contains("head, tail, head-tail"), "{told}");
    }

    #[test]
    fn a_quarter_comes_from_the_head() {
        assert_eq!([1, 4, 248, 510].map(|room| Truncation::HeadTail.first_of(room)), [1, 1, 62, 128]);
    }
}
