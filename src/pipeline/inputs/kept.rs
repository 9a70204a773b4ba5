//! Settles the columns to keep over all inputs, so that every part of an output has one schema.
//!
//! A file that lacks a column has nulls in it; a column that has two types, or comes from text formats too, is text.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field};

use super::columns::SourceColumns;
use crate::ingest::{Discovery, Format};
use crate::pipeline::{Error, Result};

/// Which columns of the input travel into the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
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
pub(crate) fn settle(discovery: &Discovery, columns: &[Option<SourceColumns>], keep: &Keep) -> Result<Vec<Field>> {
    let mut found = Found::default();
    let mut wanted: Vec<String> = Vec::new();
    for SourceColumns { columns, schema } in columns.iter().flatten() {
        let every = [std::slice::from_ref(&columns.text), columns.label.as_slice(), &columns.others].concat();
        let kept = if *keep == Keep::All { &columns.others } else { &every };
        wanted.extend(kept.iter().cloned());
        for name in every {
            let field = schema.as_ref().and_then(|schema| schema.field_with_name(&name).ok());
            found.merge(&name, field.map_or(DataType::Utf8, |field| field.data_type().clone()));
        }
    }
    match keep {
        Keep::None => return Ok(Vec::new()),
        Keep::Named(names) => wanted = names.clone(),
        Keep::All | Keep::Every => {}
    }
    // What is parsed from text formats is text, also where such a file lacks the column.
    if discovery.sources().any(|source| source.format != Format::Parquet) {
        found.fields.iter_mut().for_each(|field| field.set_data_type(DataType::Utf8));
    }
    let (mut kept, mut taken) = (Vec::new(), HashSet::new());
    for name in wanted {
        let Some(place) = found.places.get(&name) else {
            let columns = found.fields.iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ");
            return Err(Error::NoSuchKept { column: name, columns });
        };
        if taken.insert(*place) {
            kept.push(found.fields[*place].clone());
        }
    }
    Ok(kept)
}

/// Columns in the order in which they first occur; there may be very many of them.
#[derive(Default)]
struct Found {
    fields: Vec<Field>,
    places: HashMap<String, usize>,
}

impl Found {
    fn merge(&mut self, name: &str, kind: DataType) {
        match self.places.get(name).map(|place| &mut self.fields[*place]) {
            None => {
                self.places.insert(name.to_owned(), self.fields.len());
                self.fields.push(Field::new(name, kind, true));
            }
            Some(known) if *known.data_type() == kind => {}
            Some(known) => *known = Field::new(name, DataType::Utf8, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_two_types_is_text() {
        let mut found = Found::default();
        found.merge("id", DataType::Int64);
        found.merge("id", DataType::Int64);
        assert_eq!(found.fields, [Field::new("id", DataType::Int64, true)]);
        found.merge("id", DataType::Utf8);
        assert_eq!(found.fields, [Field::new("id", DataType::Utf8, true)]);
    }
}
