//! How the records of a source are laid out: what a parser has to know before it can begin.

use serde::{Deserialize, Serialize};

use super::csv::Dialect;
use crate::ingest::open::encoding_by_name;

/// The columns of a source and what each is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Columns {
    /// The column of the text.
    pub text: String,
    /// The column of the label, if there is one.
    pub label: Option<String>,
    /// All other columns, in the order of the source.
    pub others: Vec<String>,
    /// Whether the columns are positions (`0`, `1`, ...) because the file has no header: `--no-header` said so, or the
    /// first line is data by its looks.
    pub header_absent: bool,
}

impl Columns {
    pub(crate) fn new(names: &[String], text: String, label: Option<String>, header_absent: bool) -> Self {
        let others = names.iter().filter(|name| **name != text && Some(*name) != label.as_ref()).cloned().collect();
        Self { text, label, others, header_absent }
    }
}

/// How a source is laid out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub columns: Columns,
    /// All columns, in the order of the source.
    pub names: Vec<String>,
    pub syntax: Syntax,
    #[serde(with = "encoding_by_name")]
    pub encoding: &'static encoding_rs::Encoding,
}

/// How records are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Syntax {
    JsonLines,
    JsonArray,
    Delimited { dialect: Dialect, width: usize },
}
