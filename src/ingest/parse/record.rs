//! The message between the parsers and the units: one record, good or rejected, with its place.
//!
//! Every parser hands over every record it sees in this shape, which is what makes row conservation checkable in one
//! place instead of in each parser.

use std::fmt;

use crate::ingest::Result;

/// A longer record is rejected instead of held in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
/// How much of a rejected record is kept.
pub const RAW_PREFIX_BYTES: usize = 200;

/// Why a record was rejected; the text form is the `reason` column of the rejects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A quote that opens a field and is closed nowhere: the file ends in it, or it would have swallowed the rows behind.
    UnterminatedQuote,
    /// Fewer fields than the header, or more that are not empty.
    WrongWidth,
    /// Bytes that are not UTF-8 in a column that is read.
    InvalidUtf8,
    /// Not a JSON object, a text or label that is neither text nor a number, boolean or null, or an array without its end.
    BadJson,
    /// More than 64 MiB.
    TooLarge,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::UnterminatedQuote => "unterminated_quote",
            Self::WrongWidth => "wrong_width",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::BadJson => "bad_json",
            Self::TooLarge => "too_large",
        })
    }
}

/// A record that could be read.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Review {
    pub text: Option<String>,
    pub label: Option<String>,
    /// In the order of the columns to keep; empty where the source has none.
    pub kept: Vec<Option<String>>,
}

/// A record that could not be read.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Reject {
    pub reason: Reason,
    pub detail: String,
    pub raw_prefix: Vec<u8>,
}

impl Reject {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>, raw: &[u8]) -> Self {
        Self { reason, detail: detail.into(), raw_prefix: raw[..raw.len().min(RAW_PREFIX_BYTES)].to_vec() }
    }

    pub(crate) fn too_large(raw: &[u8]) -> Self {
        Self::new(Reason::TooLarge, format!("more than {} MiB", MAX_RECORD_BYTES >> 20), raw)
    }
}

/// One record and where it starts, in bytes of the stream that the parser reads.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub byte_offset: u64,
    pub content: std::result::Result<Review, Reject>,
}

/// A parser: records in the order of the stream, each exactly once.
pub(crate) trait Records {
    /// The next record, or `None` at the end of the stream.
    fn next_record(&mut self) -> Result<Option<Record>>;
}

/// What `invalid_utf8` tells about the first bad byte.
pub(crate) fn utf8_detail(what: &str, bytes: &[u8], error: std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    format!("byte 0x{:02x} at {at} of the {what}", bytes[at])
}
