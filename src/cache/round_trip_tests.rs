//! Property test of the cache: what is committed comes back, bit by bit, for any rows and duplicates.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{self, Dataset};

const WIDTH: usize = 3;

fn begin(dir: &Path) -> Output {
    let run = json!({ "command": "embed", "encoder": {}, "encoder_id": "e1", "numerics": "fp32/test" });
    match Claim::of(dir, &RecordedRun::of(&run), false, &[]).unwrap() {
        Claim::Open(claimed) => claimed.begin().unwrap(),
        Claim::Finished(_) => panic!("finished"),
    }
}

fn vector(key: &Key) -> [f32; WIDTH] {
    std::array::from_fn(|i| f32::from_bits(0x3f80_0000 | u32::from(key.0[i]) << 8))
}

fn features(keys: &[Key]) -> RecordBatch {
    let values: Vec<f32> = keys.iter().flat_map(vector).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let list = FixedSizeListArray::new(item, WIDTH as i32, Arc::new(Float32Array::from(values)), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(FixedSizeBinaryArray::try_from_iter(keys.iter().map(|key| key.0)).unwrap()),
        Arc::new(list),
        Arc::new(UInt32Array::from(vec![7; keys.len()])),
        Arc::new(BooleanArray::from(vec![false; keys.len()])),
    ];
    RecordBatch::try_new(schema::features(WIDTH), columns).unwrap()
}

fn rows(texts: &[(String, Option<String>)], first: u64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a.csv"; texts.len()])),
        Arc::new(UInt64Array::from_iter_values(first..first + texts.len() as u64)),
        Arc::new(FixedSizeBinaryArray::try_from_iter(texts.iter().map(|(text, _)| Key::of(text).0)).unwrap()),
        Arc::new(texts.iter().map(|(_, label)| label.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema::rows(), columns).unwrap()
}

fn write(dir: &Path, dataset: Dataset, name: &str, batch: &RecordBatch, encoder_id: &str) -> Part {
    let metadata = PartMetadata::from([
        ("bertline.encoder_id".to_owned(), encoder_id.to_owned()),
        ("bertline.numerics".to_owned(), "fp32/test".to_owned()),
    ]);
    let mut writer = PartWriter::create(dir, dataset, name, batch.schema(), &metadata).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}

/// Commits the texts in units, each text's vector with the first unit that holds it, and completes the output.
fn commit(dir: &Path, units: &[Vec<(String, Option<String>)>], encoder_id: &str) {
    commit_less(dir, units, encoder_id, &[]);
}

/// As [`commit`], without the vectors of some texts.
fn commit_less(dir: &Path, units: &[Vec<(String, Option<String>)>], encoder_id: &str, without: &[&str]) {
    let mut output = begin(dir);
    let mut seen = HashMap::new();
    let mut first = 0;
    for (index, texts) in units.iter().enumerate() {
        let mut new = Vec::new();
        for (text, _) in texts {
            if !without.contains(&text.as_str()) {
                seen.entry(text.clone()).or_insert_with(|| new.push(Key::of(text)));
            }
        }
        let name = format!("part-{index}.parquet");
        let mut parts = vec![write(dir, Dataset::Rows, &name, &rows(texts, first), encoder_id)];
        if !new.is_empty() {
            parts.push(write(dir, Dataset::Features, &name, &features(&new), encoder_id));
        }
        first += texts.len() as u64;
        let rows_in = texts.len() as u64;
        let stats = UnitStats::default();
        output.commit(UnitRecord { unit: name, source: "a.csv".into(), rows_in, parts, stats }).unwrap();
    }
    output.complete(&json!({})).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_row_comes_back_in_order_with_the_vector_of_its_text(
        units in proptest::collection::vec(
            proptest::collection::vec(("[ab]{1,2}", proptest::option::of("[xy]")), 1..8), 1..5)
    ) {
        let dir = tempfile::tempdir().unwrap();
        commit(dir.path(), &units, "e1");
        let texts: Vec<_> = units.concat();
        // In memory and from disk.
        for most_bytes in [u64::MAX, 0] {
            let set = load_features(&[dir.path().to_owned()], most_bytes).unwrap();
            prop_assert_eq!((set.rows.len(), set.vectors.in_memory()), (texts.len(), most_bytes > 0));
            for (number, (row, (text, label))) in set.rows.iter().zip(&texts).enumerate() {
                let (part, place) = set.vectors.place(row.vector as usize);
                let (found, due) = (set.vectors.read(part).unwrap(), vector(&Key::of(text)));
                prop_assert_eq!(&found[place * WIDTH..][..WIDTH], due.as_slice());
                prop_assert_eq!((row.row, &row.label), (number as u64, label));
            }
            let distinct = committed_keys(dir.path(), &Manifest::read(dir.path()).unwrap().unwrap()).unwrap();
            let vectors = (0..set.vectors.parts()).map(|part| set.vectors.read(part).unwrap().len());
            prop_assert_eq!(distinct.len() * WIDTH, vectors.sum::<usize>());
        }
    }
}

fn some_units() -> Vec<Vec<(String, Option<String>)>> {
    vec![vec![("a".into(), None)], vec![("b".into(), Some("x".into()))]]
}

#[test]
fn a_part_of_another_encoder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), &some_units(), "e2");
    let message = load_features(&[dir.path().to_owned()], u64::MAX).unwrap_err().to_string();
    assert!(message.contains("encoder_id e2") && message.contains("e1"), "{message}");
}

#[test]
fn a_row_whose_vector_is_gone_is_an_error_and_not_a_row_less() {
    let dir = tempfile::tempdir().unwrap();
    commit_less(dir.path(), &some_units(), "e1", &["b"]);
    assert!(matches!(load_features(&[dir.path().to_owned()], u64::MAX), Err(Error::MissingKey { .. })));
}

#[test]
fn a_part_that_is_not_what_was_committed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), &some_units(), "e1");
    write(dir.path(), Dataset::Features, "part-1.parquet", &features(&[Key::of("z")]), "e1");
    assert!(matches!(load_features(&[dir.path().to_owned()], u64::MAX), Err(Error::PartChanged { .. })));
}

#[test]
fn an_unfinished_output_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    let record =
        UnitRecord { unit: "u".into(), source: "a".into(), rows_in: 0, parts: vec![], stats: UnitStats::default() };
    output.commit(record).unwrap();
    drop(output);
    assert!(matches!(load_features(&[dir.path().to_owned()], u64::MAX), Err(Error::Incomplete { .. })));
}
