//! Which columns of a source are text and label, checked before anything is read or written.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use crate::engine;
use crate::ingest::{self, Columns, Format, Reading, Source};
use crate::pipeline::{Error, Result};

/// The columns of a source.
pub(crate) struct SourceColumns {
    /// What each is for.
    pub(crate) columns: Columns,
    /// Their types, where they have any: in Parquet.
    pub(crate) schema: Option<SchemaRef>,
}

/// The columns of a source; `None` where it has none.
pub(crate) fn of(source: &Source, reading: &Reading) -> Result<Option<SourceColumns>> {
    if source.format != Format::Parquet {
        return Ok(source.columns().map(|columns| SourceColumns { columns: columns.clone(), schema: None }));
    }
    let metadata = engine::open_parquet(&source.location.path)?;
    let schema = metadata.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut columns = ingest::resolve_columns(&names, reading, source.name())?;
    let used = [(Some(&columns.text), "text"), (columns.label.as_ref(), "label")];
    for (column, flag) in used.into_iter().filter_map(|(column, flag)| Some((column?, flag))) {
        let kind = schema.field_with_name(column).map(|field| field.data_type().clone()).unwrap_or(DataType::Null);
        if !is_text(&kind) {
            let (column, file, kind) = (column.clone(), source.name().to_owned(), kind.to_string());
            return Err(Error::NotText { column, file, kind, flag });
        }
    }
    if engine::carries_lineage(&metadata) {
        columns.others.retain(|name| name != "source_file" && name != "row");
    }
    let schema = Some(Arc::clone(schema));
    Ok(Some(SourceColumns { columns, schema }))
}

/// Whether a value has one obvious text form.
fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Boolean | DataType::Null => true,
        other => other.is_string() || other.is_numeric(),
    }
}
