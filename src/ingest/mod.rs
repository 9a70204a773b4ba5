//! Turns whatever the user names into Arrow record batches of reviews, cut into units of work.
//!
//! People's reviews come as CSV, JSON lines, text trees and more, and everything after this room wants one format with
//! known positions. So this room finds the files, in archives too, and sees how they are laid out ([`discover`]), parses
//! them with streaming parsers that know where each record starts, and hands over units ([`UnitReader`]) in which every
//! record is one row of the reviews or one reject: nothing is dropped, and one broken record never stops a run.
//! Parquet is found here and read by the engine.
//!
//! What counts as what:
//! - `row` is a record's ordinal in its file from 0: a header does not count, a rejected record does. Blank lines are no
//!   records in CSV, TSV and JSON lines; with `lines` they are records with empty text.
//! - Missing and null text is a row with null text, empty text a row with empty text: later stages decide.
//! - Labels are text without outer white space; an empty one is null. A source without a label column has the label of
//!   its folder, stem or extension, if that says one.
//! - Byte offsets count in the file as it is without compression and archive; in a file that is not UTF-8 they count in
//!   the text as UTF-8, behind the byte order mark where there is one.

mod error;
mod find;
mod open;
mod options;
mod parse;

pub use error::{Error, Result};
pub use find::{Columns, discover, resolve_columns};
pub use open::{Encoding, content_digest};
pub use options::{Clean, Format, ReadOptions};
pub use parse::{
    Decoded, Discovery, IngestUnit, RAW_PREFIX_BYTES, ROW_BYTES, Reason, Skipped, Source, SourceDigest, Span,
    UnitReader,
};
