//! Settles the columns to keep over all inputs, so that every part of an output has one schema.
//!
//! A file that lacks a column has nulls in it; a column that has two types, or comes from text formats too, is text.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use super::{Error, Result, columns};
use crate::engine;
use crate::ingest::{Discovery, Format, ReadOptions};

/// `source_file`, `row`, `text`, `label`.
const WORKING: usize = 4;

/// Which columns of the input travel into the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// None.
    None,
    /// All but the text and the label, which the reviews have anyway.
    All,
    /// All, the text and the label too, for an output that has neither.
    Every,
    /// These; each must be in at least one input.
    Named(Vec<String>),
}

/// The columns to keep with their types, in the order in which they were named or first occur.
pub(super) fn settle(discovery: &Discovery, options: &ReadOptions, keep: &Keep) -> Result<Vec<Field>> {
    let mut found: Vec<Field> = Vec::new();
    let mut wanted: Vec<String> = Vec::new();
    for source in &discovery.sources {
        // Looked at even where nothing is kept: a wrong column name must show before an output folder is touched.
        let Some(columns) = columns::of(source, options)? else { continue };
        let every = [std::slice::from_ref(&columns.text), columns.label.as_slice(), &columns.others].concat();
        let kept = if *keep == Keep::All { &columns.others } else { &every };
        wanted.extend(kept.iter().cloned());
        let schema = match source.format {
            Format::Parquet => Some(engine::open_parquet(&source.path)?.schema().clone()),
            _ => None,
        };
        for name in every {
            let field = schema.as_ref().and_then(|schema| schema.field_with_name(&name).ok());
            merge(&mut found, &name, field.map_or(DataType::Utf8, |field| field.data_type().clone()));
        }
    }
    match keep {
        Keep::None => return Ok(Vec::new()),
        Keep::Named(names) => wanted = names.clone(),
        Keep::All | Keep::Every => {}
    }
    // What is parsed from text formats is text, also where such a file lacks the column.
    if discovery.sources.iter().any(|source| source.format != Format::Parquet) {
        found.iter_mut().for_each(|field| field.set_data_type(DataType::Utf8));
    }
    let mut kept: Vec<Field> = Vec::new();
    for name in wanted {
        let Some(field) = found.iter().find(|field| *field.name() == name) else {
            let columns = found.iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ");
            return Err(Error::NoSuchKept { column: name, columns });
        };
        if !kept.contains(field) {
            kept.push(field.clone());
        }
    }
    Ok(kept)
}

/// Reviews just parsed, with their kept columns (behind the four of the contract) under the names of the input.
pub(super) fn named(reviews: &RecordBatch, kept: &[Field]) -> RecordBatch {
    let schema = reviews.schema();
    let fields: Vec<FieldRef> =
        schema.fields().iter().take(WORKING).cloned().chain(kept.iter().cloned().map(Arc::new)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), reviews.columns().to_vec())
        .expect("a unit has the kept columns in the order in which they were settled, else this is a bug")
}

fn merge(found: &mut Vec<Field>, name: &str, kind: DataType) {
    match found.iter_mut().find(|field| field.name() == name) {
        None => found.push(Field::new(name, kind, true)),
        Some(known) if *known.data_type() == kind => {}
        Some(known) => *known = Field::new(name, DataType::Utf8, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_two_types_is_text() {
        let mut found = Vec::new();
        merge(&mut found, "id", DataType::Int64);
        merge(&mut found, "id", DataType::Int64);
        assert_eq!(found, [Field::new("id", DataType::Int64, true)]);
        merge(&mut found, "id", DataType::Utf8);
        assert_eq!(found, [Field::new("id", DataType::Utf8, true)]);
    }
}
