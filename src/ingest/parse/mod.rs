//! Which records are in these bytes, and where does each begin?

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod lines;
mod reader;
pub(crate) mod record;
pub(crate) mod source;
mod unit;

pub use reader::{Decoded, SourceDigest, UnitReader};
pub use record::{RAW_PREFIX_BYTES, Reason};
pub use source::{Discovery, Skipped, Source};
pub use unit::{IngestUnit, ROW_BYTES, Span};
