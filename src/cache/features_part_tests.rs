//! Reading by row number gives what decoding gives, for any rows and any layout.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use arrow::array::UInt32Array;
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{PartMetadata, PartWriter};
use super::*;
use crate::files::digest;
use crate::schema;

/// Of 500 values a vector, 1,700 rows are four pages of a megabyte.
const WIDTH: usize = 500;
const ROWS: usize = 1700;

fn value(row: usize, column: usize) -> f32 {
    (row * WIDTH + column) as f32
}

fn batch(rows: std::ops::Range<usize>) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = rows.clone().flat_map(|row| (0..WIDTH).map(move |column| value(row, column)));
    let values = Arc::new(Float32Array::from_iter_values(values));
    let keys = rows.clone().map(|row| Key::of(&row.to_string()).0);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(FixedSizeBinaryArray::try_from_iter(keys).unwrap()),
        Arc::new(FixedSizeListArray::new(item, WIDTH as i32, values, None)),
        Arc::new(UInt32Array::from_iter_values(rows.clone().map(|row| row as u32 * 2))),
        Arc::new(rows.map(|row| Some(row % 3 == 0)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema::features(WIDTH), columns).unwrap()
}

/// The same rows as our own writer lays them out, in several row groups, and compressed by somebody else.
static PARTS: LazyLock<(TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let metadata = PartMetadata::new();
    let schema = schema::features(WIDTH);
    let mut own = PartWriter::create(dir.path(), Dataset::Features, "own.parquet", schema, &metadata).unwrap();
    own.write(&batch(0..700)).unwrap();
    own.write(&batch(700..ROWS)).unwrap();
    own.finish().unwrap();
    let plain = super::super::part::properties(Dataset::Features, &metadata).into_builder();
    let groups = plain.set_max_row_group_row_count(Some(600)).build();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let foreign = WriterProperties::builder().set_compression(zstd).build();
    let mut paths = vec![dir.path().join("features/own.parquet")];
    for (name, properties) in [("groups.parquet", groups), ("foreign.parquet", foreign)] {
        let path = dir.path().join(name);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema::features(WIDTH), Some(properties)).unwrap();
        writer.write(&batch(0..ROWS)).unwrap();
        writer.close().unwrap();
        paths.push(path);
    }
    (dir, paths)
});

fn open(path: &std::path::Path, base: u32) -> (FeaturesPart, Vec<Entry>) {
    let mut entries = Vec::new();
    let part = FeaturesPart::open(path, &digest(path).unwrap(), base, &mut entries).unwrap();
    (part, entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_rows_are_read_in_any_layout(
        picked in proptest::collection::btree_set(0..ROWS as u32, 0..40),
        run in 0..ROWS as u32 - 400,
        length in 0u32..400,
    ) {
        let rows: Vec<u32> = picked.into_iter().chain(run..run + length).collect::<std::collections::BTreeSet<_>>()
            .into_iter().collect();
        let wanted: Vec<f32> =
            rows.iter().flat_map(|row| (0..WIDTH).map(|column| value(*row as usize, column))).collect();
        for path in &PARTS.1 {
            let (part, _) = open(path, 0);
            let mut vectors = vec![-1.0];
            part.fetch(&rows, &mut vectors).unwrap();
            prop_assert!(vectors[1..] == wanted[..], "{}", path.display());
        }
    }
}

#[test]
fn our_own_layout_is_read_without_decoding_and_others_are_not_mistaken_for_it() {
    let plain: Vec<Option<usize>> = PARTS
        .1
        .iter()
        .map(|path| match open(path, 0).0.layout {
            Layout::Plain(runs) => Some(runs.len()),
            Layout::Encoded => None,
        })
        .collect();
    assert!(plain[0] >= Some(4) && plain[1] >= Some(5), "{plain:?}");
    assert_eq!(plain[2], None);
}

#[test]
fn every_row_has_an_entry_with_its_key_and_tokens() {
    let (part, entries) = open(&PARTS.1[1], 1000);
    assert_eq!((part.rows(), part.width(), entries.len()), (ROWS as u64, WIDTH, ROWS));
    for (row, entry) in entries.iter().enumerate() {
        assert_eq!((entry.key, entry.row), (Key::of(&row.to_string()), 1000 + row as u32));
        assert_eq!((entry.tokens.n_tokens(), entry.tokens.truncated()), (row as u32 * 2, row % 3 == 0));
    }
}

#[test]
fn rows_that_have_no_number_are_not_found_rather_than_mistaken() {
    let (_, entries) = open(&PARTS.1[0], u32::MAX - 10);
    assert_eq!(
        entries.iter().map(|entry| entry.row).collect::<Vec<_>>(),
        (u32::MAX - 10..u32::MAX).collect::<Vec<_>>()
    );
}
