//! Which records are in these bytes, where does each begin, and what is a unit of them?
//!
//! Every parser (`csv`, `json`, `lines`) hands over each `record` it sees, good or rejected; it is told by the `layout` of
//! its source what it has to know. A `cursor` goes through the records of one source, `reader` through those of all, and
//! `unit` collects them. What a unit consists of is data (`rows`), from which `reread` makes the same unit in any process.

pub(crate) mod csv;
mod cursor;
pub(crate) mod json;
mod layout;
mod lines;
mod reader;
mod record;
mod reread;
mod rows;
mod source;
mod unit;

pub use layout::Columns;
pub(crate) use layout::{Layout, Syntax};
pub(crate) use lines::LineReader;
pub use reader::{Decoded, SourceDigest, UnitReader};
pub(crate) use record::MAX_RECORD_BYTES;
pub use record::RAW_PREFIX_BYTES;
pub use reread::RowsReader;
pub use rows::{ParsedRows, Parsing, RecordRange};
pub use source::Source;
pub use unit::{IngestUnit, ROW_BYTES};
