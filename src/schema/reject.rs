//! Why a record or row was rejected: the codes of the column `reason`, and counts of rows by them.
//!
//! `schemas/rejects.toml` and the README list the same codes; tests hold both to this file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a record or row was rejected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RejectReason {
    /// Bytes that are not UTF-8 in a column that is read.
    InvalidUtf8,
    /// A quote that opens a field and is closed nowhere: the file ends in it, or it would have swallowed the rows behind.
    UnterminatedQuote,
    /// Fewer fields than the header, or more that are not empty.
    WrongWidth,
    /// Not a JSON object, a text or label that is neither text nor a number, boolean or null, or an array without its end.
    BadJson,
    /// More than 64 MiB.
    TooLarge,
    /// A damaged page of a Parquet file.
    CorruptPage,
    /// No text to embed.
    MissingText,
    /// A text of no characters to embed.
    EmptyText,
    /// No label where one is asked for.
    MissingLabel,
    /// A text that the encoder fails on even alone.
    EncoderFailed,
}

/// A code that is none of [`RejectReason::ALL`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown reject reason `{0}`")]
pub struct UnknownReason(String);

impl RejectReason {
    /// Every reason: those of any input first, then those of `embed`.
    pub const ALL: [RejectReason; 10] = [
        RejectReason::InvalidUtf8,
        RejectReason::UnterminatedQuote,
        RejectReason::WrongWidth,
        RejectReason::BadJson,
        RejectReason::TooLarge,
        RejectReason::CorruptPage,
        RejectReason::MissingText,
        RejectReason::EmptyText,
        RejectReason::MissingLabel,
        RejectReason::EncoderFailed,
    ];

    /// The code in the column `reason`.
    pub fn name(self) -> &'static str {
        match self {
            RejectReason::InvalidUtf8 => "invalid_utf8",
            RejectReason::UnterminatedQuote => "unterminated_quote",
            RejectReason::WrongWidth => "wrong_width",
            RejectReason::BadJson => "bad_json",
            RejectReason::TooLarge => "too_large",
            RejectReason::CorruptPage => "corrupt_page",
            RejectReason::MissingText => "missing_text",
            RejectReason::EmptyText => "empty_text",
            RejectReason::MissingLabel => "missing_label",
            RejectReason::EncoderFailed => "encoder_failed",
        }
    }

    /// Whether it says what the input is, and not that something of it was lost: there was no text.
    pub fn is_without_text(self) -> bool {
        matches!(self, RejectReason::MissingText | RejectReason::EmptyText)
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for RejectReason {
    type Err = UnknownReason;

    fn from_str(given: &str) -> Result<Self, UnknownReason> {
        let known = RejectReason::ALL.into_iter().find(|reason| reason.name() == given);
        known.ok_or_else(|| UnknownReason(given.to_owned()))
    }
}

/// Rejected rows by their reason.
///
/// Written as a map from code to rows. A manifest may come from another version of bertline that has other reasons: their
/// rows are kept under the code as it stands there, so that no total loses them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, u64>", from = "BTreeMap<String, u64>")]
pub struct RejectCounts {
    known: BTreeMap<RejectReason, u64>,
    foreign: BTreeMap<String, u64>,
}

impl RejectCounts {
    /// Counts `rows` more.
    pub fn add(&mut self, reason: RejectReason, rows: u64) {
        *self.known.entry(reason).or_default() += rows;
    }

    /// The same for a code that stands in a file.
    pub fn add_code(&mut self, code: &str, rows: u64) {
        match code.parse() {
            Ok(reason) => self.add(reason, rows),
            Err(UnknownReason(code)) => *self.foreign.entry(code).or_default() += rows,
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &RejectCounts) {
        other.known.iter().for_each(|(reason, rows)| self.add(*reason, *rows));
        other.foreign.iter().for_each(|(code, rows)| *self.foreign.entry(code.clone()).or_default() += rows);
    }

    /// Whether nothing was rejected.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.foreign.is_empty()
    }

    /// The codes with their rows.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let known = self.known.iter().map(|(reason, rows)| (reason.name(), *rows));
        known.chain(self.foreign.iter().map(|(code, rows)| (code.as_str(), *rows)))
    }

    /// Rows that were lost, those that never had a text left out.
    pub fn with_text(&self) -> u64 {
        let lost = self.known.iter().filter(|(reason, _)| !reason.is_without_text());
        lost.map(|(_, rows)| rows).chain(self.foreign.values()).sum()
    }
}

impl FromIterator<(RejectReason, u64)> for RejectCounts {
    fn from_iter<I: IntoIterator<Item = (RejectReason, u64)>>(counts: I) -> Self {
        let mut sum = RejectCounts::default();
        counts.into_iter().for_each(|(reason, rows)| sum.add(reason, rows));
        sum
    }
}

impl From<RejectCounts> for BTreeMap<String, u64> {
    fn from(counts: RejectCounts) -> Self {
        counts.iter().map(|(code, rows)| (code.to_owned(), rows)).collect()
    }
}

impl From<BTreeMap<String, u64>> for RejectCounts {
    fn from(counts: BTreeMap<String, u64>) -> Self {
        let mut sum = RejectCounts::default();
        counts.iter().for_each(|(code, rows)| sum.add_code(code, *rows));
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema::Dataset;

    fn names() -> Vec<&'static str> {
        RejectReason::ALL.into_iter().map(RejectReason::name).collect()
    }

    #[test]
    fn codes_round_trip() {
        for reason in RejectReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert!("no_reason".parse::<RejectReason>().unwrap_err().to_string().contains("no_reason"));
    }

    #[test]
    fn the_contract_lists_every_code_and_no_other() {
        let contract = Dataset::Rejects.contract();
        let column = contract.columns.iter().find(|column| column.name == "reason").unwrap();
        let listed: Vec<&str> = column.doc.strip_prefix("a code: ").unwrap().split(", ").collect();
        assert_eq!(listed, names());
    }

    #[test]
    fn the_readme_lists_every_code_and_no_other() {
        let readme = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let bullet = readme.split("Reasons:").nth(1).unwrap().split("The byte offset").next().unwrap();
        // Flags and commands stand in backticks too; only codes have an underscore.
        let listed: BTreeSet<&str> = bullet.split('`').skip(1).step_by(2).filter(|word| word.contains('_')).collect();
        assert_eq!(listed, names().into_iter().collect());
    }

    #[test]
    fn reasons_of_another_version_are_counted_and_written_as_they_came() {
        let text = r#"{"bad_json":2,"not_yet_known":3,"empty_text":5}"#;
        let mut counts: RejectCounts = serde_json::from_str(text).unwrap();
        counts.merge(&RejectCounts::from_iter([(RejectReason::BadJson, 1)]));
        assert_eq!(serde_json::to_string(&counts).unwrap(), r#"{"bad_json":3,"empty_text":5,"not_yet_known":3}"#);
        assert_eq!(counts.with_text(), 6);
        assert_eq!(counts.iter().map(|(_, rows)| rows).sum::<u64>(), 11);
    }
}
