//! Reads what a stage left, as anybody's Parquet reader would: every `.parquet` file of the folder, in order of name.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::support::Place;

/// A content key.
pub(crate) type Key = Vec<u8>;

/// A dataset as one batch; the folder must hold at least one part.
pub(crate) fn read(place: &Place, relative: &str) -> RecordBatch {
    let mut parts: Vec<_> =
        fs_err::read_dir(place.path(relative)).unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.sort();
    let batches: Vec<RecordBatch> = parts.iter().flat_map(|part| read_file(part)).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// One Parquet file.
pub(crate) fn read_file(path: &Path) -> Vec<RecordBatch> {
    let file = fs_err::File::open(path).unwrap().into_file();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let empty = RecordBatch::new_empty(std::sync::Arc::clone(reader.schema()));
    std::iter::once(empty).chain(reader.build().unwrap().map(Result::unwrap)).collect()
}

/// A text column.
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    batch[column].as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
}

/// A text column without nulls.
pub(crate) fn strings(batch: &RecordBatch, column: &str) -> Vec<String> {
    texts(batch, column).into_iter().map(Option::unwrap).collect()
}

/// A `row` column.
pub(crate) fn ordinals(batch: &RecordBatch) -> Vec<u64> {
    batch["row"].as_primitive::<UInt64Type>().values().to_vec()
}

/// An `n_tokens` column.
pub(crate) fn token_counts(batch: &RecordBatch) -> Vec<u32> {
    batch["n_tokens"].as_primitive::<UInt32Type>().values().to_vec()
}

/// A boolean column.
pub(crate) fn flags(batch: &RecordBatch, column: &str) -> Vec<bool> {
    batch[column].as_boolean().iter().map(Option::unwrap).collect()
}

/// A vector column; empty where null.
pub(crate) fn vectors(batch: &RecordBatch, column: &str) -> Vec<Vec<f32>> {
    let lists = batch[column].as_fixed_size_list();
    let value = |row: usize| lists.value(row).as_primitive::<Float32Type>().values().to_vec();
    (0..lists.len()).map(|row| if lists.is_null(row) { Vec::new() } else { value(row) }).collect()
}

/// A `key` column.
pub(crate) fn keys(batch: &RecordBatch) -> Vec<Key> {
    batch["key"].as_fixed_size_binary().iter().map(|key| key.unwrap().to_vec()).collect()
}

/// The documented key of a text.
pub(crate) fn key_of(text: &str) -> Key {
    blake3::hash(text.as_bytes()).as_bytes()[..16].to_vec()
}

/// One row of `embed`'s output joined with its features.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedded {
    pub source_file: String,
    pub row: u64,
    pub key: Key,
    pub label: Option<String>,
    pub embedding: Vec<f32>,
    pub n_tokens: u32,
    pub truncated: bool,
}

/// The rows of `embed`'s output in order; every row must find its features, and no features may be there twice.
pub(crate) fn embedded(place: &Place, out: &str) -> Vec<Embedded> {
    let rows = read(place, &format!("{out}/rows"));
    let features = read(place, &format!("{out}/features"));
    let (embeddings, n_tokens) = (vectors(&features, "embedding"), token_counts(&features));
    let truncated = flags(&features, "truncated");
    let at: HashMap<Key, usize> = keys(&features).into_iter().enumerate().map(|(at, key)| (key, at)).collect();
    assert_eq!(at.len(), features.num_rows(), "a text has two features");
    let (files, labels) = (strings(&rows, "source_file"), texts(&rows, "label"));
    let ordered = files.into_iter().zip(ordinals(&rows)).zip(labels).zip(keys(&rows));
    ordered
        .map(|(((source_file, row), label), key)| {
            let at = *at.get(&key).unwrap_or_else(|| panic!("{source_file} row {row} has no features"));
            let (n_tokens, truncated) = (n_tokens[at], truncated[at]);
            Embedded { source_file, row, key, label, embedding: embeddings[at].clone(), n_tokens, truncated }
        })
        .collect()
}

/// The largest difference of two vectors' values.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The cosine of two vectors, in double precision.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
