//! The rows of a unit as data: everything from which any process can read them again.

use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::ingest::open::{Encoding, encoding_by_name};
use crate::ingest::{Clean, Reading};

/// How records are parsed, whatever source they are in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parsing {
    /// The encoding that texts are to be in, or [`Encoding::Auto`].
    pub encoding: Encoding,
    /// Cleaning of the texts.
    pub clean: Clean,
    /// Further columns to carry along, as text; null where a source has no such column.
    pub keep: Vec<String>,
}

impl From<&Reading> for Parsing {
    fn from(reading: &Reading) -> Self {
        let (encoding, clean) = (reading.options.encoding, reading.options.clean);
        Self { encoding, clean, keep: reading.keep.clone() }
    }
}

/// Records of one source that follow one another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordRange {
    /// Where they are.
    pub source: Source,
    /// BLAKE3 of the raw file, 64 hexadecimal digits; of a member's name and the raw archive's digest.
    pub digest: String,
    /// What the encoding of the source was found to be, which may take a reading of the whole.
    #[serde(with = "encoding_by_name")]
    pub(crate) encoding: &'static encoding_rs::Encoding,
    /// The first record, from 0.
    pub first_row: u64,
    /// Records, rejected ones included.
    pub rows: u64,
    /// Where the record before them ended, in bytes of the text as UTF-8; `None` where there is none.
    pub from: Option<u64>,
}

/// The rows of a unit that was parsed: of one source, or of several small ones in a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParsedRows {
    /// In the order of the rows.
    pub ranges: Vec<RecordRange>,
    /// How they are parsed.
    pub parsing: Parsing,
}

impl ParsedRows {
    /// The unit's id, 32 hexadecimal digits: BLAKE3 over the name, content digest, row range and label of each range.
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for RecordRange { source, digest, first_row, rows, .. } in &self.ranges {
            let (name, label) = (source.name(), source.label_of_records());
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(digest.as_bytes());
            hasher.update(&first_row.to_le_bytes());
            hasher.update(&rows.to_le_bytes());
            // A label that comes from a folder depends on the folders beside it.
            hasher.update(label.map_or(&[0], |_| &[1])).update(label.unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}
