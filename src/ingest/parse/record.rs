//! The message between the parsers and the units: one record, good or rejected, with its place.
//!
//! Every parser hands over every record it sees in this shape, which is what makes row conservation checkable in one
//! place instead of in each parser.

use crate::ingest::Result;
use crate::schema::RejectReason;

/// A longer record is rejected instead of held in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
/// How much of a rejected record is kept.
pub const RAW_PREFIX_BYTES: usize = 200;

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
    pub reason: RejectReason,
    pub detail: String,
    pub raw_prefix: Vec<u8>,
}

impl Reject {
    pub(crate) fn new(reason: RejectReason, detail: impl Into<String>, raw: &[u8]) -> Self {
        Self { reason, detail: detail.into(), raw_prefix: raw[..raw.len().min(RAW_PREFIX_BYTES)].to_vec() }
    }

    pub(crate) fn too_large(raw: &[u8]) -> Self {
        Self::new(RejectReason::TooLarge, format!("more than {} MiB", MAX_RECORD_BYTES >> 20), raw)
    }
}

/// One record, where it starts and where the parser goes on behind it, in bytes of the stream that it reads.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub byte_offset: u64,
    pub end: u64,
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
