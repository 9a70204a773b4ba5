//! Which records are in these bytes, where does each begin, and what is a unit of them?
//!
//! Every parser (`csv`, `json`, `lines`) hands over each `record` it sees, good or rejected; `reader` opens one source
//! after the other and `unit` collects their records until a unit is full. A parser is told by the `layout` of its
//! source what it has to know.

pub(crate) mod csv;
pub(crate) mod json;
mod layout;
mod lines;
mod reader;
mod record;
mod source;
mod unit;

pub use layout::Columns;
pub(crate) use layout::{Layout, Syntax};
pub(crate) use lines::LineReader;
pub use reader::{Decoded, SourceDigest, UnitReader};
pub(crate) use record::MAX_RECORD_BYTES;
pub use record::RAW_PREFIX_BYTES;
pub use source::Source;
pub use unit::{IngestUnit, ROW_BYTES, Span};
