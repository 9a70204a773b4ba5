//! A file that was found and how it will be read; the message between finding and reading.

use serde::{Deserialize, Serialize};

use super::layout::{Columns, Layout};
use crate::ingest::Format;
use crate::ingest::open::Location;

/// One file of an input, or one member of an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Where it is and what it is called.
    pub location: Location,
    /// How it is laid out; never [`Format::Auto`].
    pub format: Format,
    /// The label that its folder, stem or extension says; used where no column does.
    pub label: Option<String>,
    /// Its columns and how they are written; `None` for text, Parquet, and where there is no content.
    pub(crate) layout: Option<Layout>,
}

impl Source {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.location.name
    }

    /// The columns of a CSV, TSV or JSON source; `None` for one without columns (text and lines), without content, or in
    /// Parquet (give the names of its schema to [`crate::ingest::resolve_columns`]).
    pub fn columns(&self) -> Option<&Columns> {
        self.layout.as_ref().map(|layout| &layout.columns)
    }

    /// The name of its encoding, where it has columns and is not UTF-8.
    pub fn encoding(&self) -> Option<&'static str> {
        let encoding = self.layout.as_ref().map(|layout| layout.encoding);
        encoding.filter(|encoding| *encoding != encoding_rs::UTF_8).map(encoding_rs::Encoding::name)
    }

    /// The label that its records have where they do not say one themselves.
    pub(crate) fn label_of_records(&self) -> Option<&str> {
        let has_column = self.columns().is_some_and(|columns| columns.label.is_some());
        self.label.as_deref().filter(|_| !has_column)
    }

    /// Whether it is in an archive.
    pub(crate) fn is_member(&self) -> bool {
        self.location.member.is_some()
    }
}
