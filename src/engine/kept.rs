//! Columns of the input that a stage copies to its output.
//!
//! Inside a plan they stand behind the four working columns under a prefix, so that a kept column may have any name,
//! that of a working column included; at the output the prefix goes, and a name that collides gets `_input`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use datafusion_common::Result;

/// `source_file`, `row`, `text`, `label`.
const WORKING: usize = 4;
const PREFIX: &str = "keep.";

/// The name of a kept column inside a plan.
pub(super) fn inside(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Renames the columns behind the working ones to their names inside a plan.
pub(super) fn mark(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let fields: Vec<Arc<Field>> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| match i {
            0..WORKING => Arc::clone(field),
            _ => Arc::new(field.as_ref().clone().with_name(inside(field.name()))),
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())?)
}

/// The kept columns of a plan's schema as they are called in an output that has `taken` columns already.
pub(super) fn output_fields(input: &Schema, taken: &Schema) -> Vec<Arc<Field>> {
    let mut names: Vec<String> = taken.fields().iter().map(|field| field.name().clone()).collect();
    let kept = input.fields().iter().filter_map(|field| Some((field, field.name().strip_prefix(PREFIX)?)));
    kept.map(|(field, name)| {
        let mut name = name.to_owned();
        while names.contains(&name) {
            name.push_str("_input");
        }
        names.push(name.clone());
        Arc::new(field.as_ref().clone().with_name(name))
    })
    .collect()
}

/// The kept columns of a batch, in the order of [`output_fields`].
pub(super) fn columns(batch: &RecordBatch) -> Vec<ArrayRef> {
    let schema = batch.schema();
    let kept = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name().starts_with(PREFIX));
    kept.map(|(_, column)| Arc::clone(column)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, UInt64Array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::schema;

    #[test]
    fn a_kept_column_that_collides_is_renamed_and_any_other_keeps_its_name() {
        let extra = [Field::new("label", DataType::Utf8, true), Field::new("stars", DataType::Utf8, true)];
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let row: ArrayRef = Arc::new(UInt64Array::from(vec![0]));
        let columns_in = vec![text.clone(), row, text.clone(), text.clone(), text.clone(), text];
        let batch = RecordBatch::try_new(schema::reviews(&extra), columns_in).unwrap();
        let marked = mark(&batch).unwrap();
        let names: Vec<String> = output_fields(&marked.schema(), &schema::predictions(2, &[]))
            .iter()
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(names, ["label_input", "stars"]);
        assert_eq!(columns(&marked).len(), 2);
    }
}
