//! The contracts between stages: one file a dataset under `schemas/`, loaded here and checked at every stage's door.
//!
//! Useful for: what columns a dataset has, their Arrow types, which reasons a reject may have.
//! Not for: how a dataset is written or found (`cache`), or what the columns mean to a model (`encode`, `head`).

mod contract;
mod reject;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Field, Schema, SchemaRef};

pub use contract::{Contract, Error, Result};
pub use reject::{RejectCounts, RejectReason, UnknownReason};

/// Bytes of a content key (BLAKE3-128).
pub const KEY_BYTES: i32 = 16;

/// The datasets that stages leave behind; each is a folder of Parquet parts by that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Reviews as ingested.
    Reviews,
    /// Records that could not be used.
    Rejects,
    /// One line an input row, with its content key.
    Rows,
    /// One line a distinct text, with its embedding.
    Features,
    /// One line an input row, scored.
    Predictions,
}

impl Dataset {
    /// Every dataset.
    pub const ALL: [Dataset; 5] =
        [Dataset::Reviews, Dataset::Rejects, Dataset::Rows, Dataset::Features, Dataset::Predictions];

    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Dataset::Reviews => "reviews",
            Dataset::Rejects => "rejects",
            Dataset::Rows => "rows",
            Dataset::Features => "features",
            Dataset::Predictions => "predictions",
        }
    }

    /// The contract as `schemas/<name>.toml` states it.
    pub fn contract(self) -> &'static Contract {
        static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
            let texts = [
                include_str!("../../schemas/reviews.toml"),
                include_str!("../../schemas/rejects.toml"),
                include_str!("../../schemas/rows.toml"),
                include_str!("../../schemas/features.toml"),
                include_str!("../../schemas/predictions.toml"),
            ];
            texts
                .iter()
                .map(|text| Contract::parse(text).expect("schemas/ are tested to parse; this is a bug"))
                .collect()
        });
        &CONTRACTS[self as usize]
    }
}

/// The `reviews` schema, followed by `extra` columns that the user asked to keep.
pub fn reviews(extra: &[Field]) -> SchemaRef {
    let schema = Dataset::Reviews.contract().arrow(None, &[]);
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone()).chain(extra.iter().cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// The `rejects` schema.
pub fn rejects() -> SchemaRef {
    Dataset::Rejects.contract().arrow(None, &[])
}

/// The `rows` schema.
pub fn rows() -> SchemaRef {
    Dataset::Rows.contract().arrow(None, &[])
}

/// The `features` schema for embeddings of `width` values.
pub fn features(width: usize) -> SchemaRef {
    Dataset::Features.contract().arrow(Some(width), &[])
}

/// The `predictions` schema for `classes` classes and of the optional columns those named; kept columns are the caller's.
pub fn predictions(classes: usize, optional: &[&str]) -> SchemaRef {
    Dataset::Predictions.contract().arrow(Some(classes), optional)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn every_contract_parses_and_is_named_after_its_folder() {
        for dataset in Dataset::ALL {
            assert_eq!(dataset.contract().dataset, dataset.name());
            assert!(dataset.contract().columns.iter().all(|column| !column.doc.is_empty()));
        }
    }

    #[test]
    fn vectors_have_the_width_that_is_asked_for() {
        let schema = features(384);
        assert!(matches!(schema.field_with_name("embedding").unwrap().data_type(), DataType::FixedSizeList(_, 384)));
        assert!(predictions(3, &[]).column_with_name("true_label").is_none());
        assert!(predictions(3, &["true_label"]).column_with_name("true_label").is_some());
    }

    #[test]
    fn a_missing_column_and_a_wrong_type_are_both_named() {
        let schema = Schema::new(vec![
            Field::new("source_file", DataType::Utf8, false),
            Field::new("row", DataType::Utf8, false),
        ]);
        let message = Dataset::Rows.contract().check(&schema, "a.parquet").unwrap_err().to_string();
        assert!(message.contains("a.parquet") && message.contains("`key`") && message.contains("`row`"), "{message}");
    }
}
