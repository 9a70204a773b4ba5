//! One dataset's contract: parsed from TOML, lowered to an Arrow schema, checked against a file's schema.
//!
//! Kept as data so that people can read a dataset's columns without reading Rust, and so that the code cannot drift
//! from what is documented.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;
use thiserror::Error;

/// What can be wrong with a contract or with a file held against it.
#[derive(Debug, Error)]
pub enum Error {
    /// A file under `schemas/` does not parse.
    #[error("a schema file does not parse")]
    Parse(#[source] Box<toml::de::Error>),
    /// A dataset's file does not have the columns that its contract states.
    #[error("`{place}` is not a `{dataset}` dataset of bertline: {problems}")]
    Mismatch {
        /// The file or folder.
        place: String,
        /// The contract it was held against.
        dataset: String,
        /// Every problem, separated by semicolons.
        problems: String,
    },
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// A dataset's columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The dataset's (and its folder's) name.
    pub dataset: String,
    /// Raised whenever the columns change meaning.
    pub version: u32,
    /// Whether further columns of the input may follow.
    #[serde(default)]
    pub extra_columns: bool,
    /// The columns, in order.
    #[serde(rename = "column")]
    pub columns: Vec<Column>,
}

/// One column of a contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its logical type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether nulls may occur.
    pub nullable: bool,
    /// What it holds.
    pub doc: String,
    /// Whether it is there only on demand.
    #[serde(default)]
    pub optional: bool,
}

/// Logical types of the contracts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
    /// Unsigned, 64 bits.
    Uint64,
    /// Unsigned, 32 bits.
    Uint32,
    /// Single precision.
    Float32,
    /// True or false.
    Boolean,
    /// A content key of 16 bytes.
    Key,
    /// A fixed number of single-precision values.
    Vector,
}

impl Contract {
    /// Reads a contract from the text of its file.
    pub fn parse(text: &str) -> Result<Contract> {
        toml::from_str(text).map_err(|error| Error::Parse(Box::new(error)))
    }

    /// The Arrow schema; `width` is the length of vector columns, `optional` names the optional columns that are there.
    pub fn arrow(&self, width: Option<usize>, optional: &[&str]) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .filter(|column| !column.optional || optional.contains(&column.name.as_str()))
            .map(|column| Field::new(&column.name, data_type(column.kind, width), column.nullable))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Holds `schema`, found at `place`, against the contract; every problem is named at once.
    pub fn check(&self, schema: &Schema, place: &str) -> Result<()> {
        let mut problems = Vec::new();
        for column in self.columns.iter().filter(|column| !column.optional) {
            match schema.field_with_name(&column.name) {
                Err(_) => problems.push(format!("column `{}` is missing", column.name)),
                Ok(field) if !matches(column.kind, field.data_type()) => {
                    problems.push(format!("column `{}` is {}, not {:?}", column.name, field.data_type(), column.kind));
                }
                Ok(_) => {}
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let dataset = self.dataset.clone();
        Err(Error::Mismatch { place: place.to_owned(), dataset, problems: problems.join("; ") })
    }
}

fn data_type(kind: Kind, width: Option<usize>) -> DataType {
    match kind {
        Kind::Utf8 => DataType::Utf8,
        Kind::Binary => DataType::Binary,
        Kind::Uint64 => DataType::UInt64,
        Kind::Uint32 => DataType::UInt32,
        Kind::Float32 => DataType::Float32,
        Kind::Boolean => DataType::Boolean,
        Kind::Key => DataType::FixedSizeBinary(super::KEY_BYTES),
        Kind::Vector => {
            let width =
                width.and_then(|width| i32::try_from(width).ok()).expect("vector columns get a width; this is a bug");
            DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), width)
        }
    }
}

fn matches(kind: Kind, found: &DataType) -> bool {
    match (kind, found) {
        (Kind::Vector, DataType::FixedSizeList(item, _)) => item.data_type() == &DataType::Float32,
        (Kind::Vector, _) => false,
        (kind, found) => &data_type(kind, None) == found,
    }
}
