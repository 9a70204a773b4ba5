//! Turns whatever the user names into Arrow record batches of reviews, cut into units of work.
//!
//! People's reviews come as CSV, JSON lines, text trees and more, and everything after this room wants one format with
//! known positions. So this room finds the files, in archives too, and sees how they are laid out ([`discover`]), parses
//! them with streaming parsers that know where each record starts, and hands over units ([`UnitReader`]) in which every
//! record is one row of the reviews or one reject: nothing is dropped, and one broken record never stops a run.
//! Parquet is found here and read by the engine.
//!
//! ```text
//! find   which files, how laid out, which columns and labels?   -> Discovery of Sources
//!   parse   which records are in these bytes, what is a unit?   Source -> IngestUnit
//!     open   which bytes does a source hold?                    Location -> UTF-8 bytes
//! ```
//! Each asks only those below it: to see how a file is laid out, `find` opens it and parses its start. Sources go down
//! from `find` to `parse`, which opens one after the other; bytes and records come up.
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
pub use find::{Discovery, FoundSource, Skipped, discover, resolve_columns};
pub use open::{Digests, Encoding, Location, any_path};
pub use options::{Clean, Format, ReadOptions, Reading, UNIT_BYTES};
pub use parse::{
    Columns, Decoded, IngestUnit, ParsedRows, Parsing, RAW_PREFIX_BYTES, ROW_BYTES, RecordRange, RowsReader, Source,
    SourceDigest, UnitReader,
};
