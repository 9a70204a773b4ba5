//! Parts on disk: written, fsynced, hashed and renamed, as a unit's commit does it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::array::{StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use bertline::cache::{Key, PartMetadata, PartWriter};
use bertline::schema::{self, Dataset};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use super::reviews;

/// About a unit of work: 2 MiB of text.
const REVIEWS: usize = 1600;
const HIDDEN: usize = 384;

#[divan::bench(sample_count = 20, sample_size = 1)]
fn write_features(bencher: Bencher) {
    let schema = schema::features(HIDDEN);
    let mut random = reviews::Random::new(13);
    let keys = reviews::texts(REVIEWS);
    let keys = FixedSizeBinaryArray::try_from_iter(keys.iter().map(|text| Key::of(text).0)).unwrap();
    let values = Float32Array::from_iter_values((0..REVIEWS * HIDDEN).map(|_| random.uniform() as f32 - 0.5));
    let DataType::FixedSizeList(item, width) = schema.field(1).data_type() else { unreachable!() };
    let vectors = FixedSizeListArray::new(Arc::clone(item), *width, Arc::new(values), None);
    let lengths = reviews::lengths(REVIEWS, 1000);
    let truncated: BooleanArray = lengths.iter().map(|&length| Some(length > 250)).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(keys), Arc::new(vectors), Arc::new(UInt32Array::from(lengths)), Arc::new(truncated)];
    write(bencher, Dataset::Features, &schema, columns);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn write_reviews(bencher: Bencher) {
    let texts = reviews::texts(REVIEWS);
    let names = StringArray::from_iter_values((0..REVIEWS).map(|row| format!("reviews/{row:05}.txt")));
    let labels: StringArray = (0..REVIEWS).map(|row| Some(["neg", "pos"][row % 2])).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names),
        Arc::new(UInt64Array::from_iter_values((0..REVIEWS).map(|row| row as u64))),
        Arc::new(StringArray::from(texts)),
        Arc::new(labels),
    ];
    write(bencher, Dataset::Reviews, &schema::reviews(&[]), columns);
}

/// Writes one part again and again into a folder of its own.
fn write(bencher: Bencher, dataset: Dataset, schema: &SchemaRef, columns: Vec<ArrayRef>) {
    let batch = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
    let out = tempfile::tempdir().unwrap();
    let metadata = PartMetadata::new();
    bencher
        .counter(ItemsCount::new(batch.num_rows()))
        .counter(BytesCount::new(batch.get_array_memory_size()))
        .bench_local(|| {
            let schema = Arc::clone(schema);
            let mut part = PartWriter::create(out.path(), dataset, "part.parquet", schema, &metadata).unwrap();
            part.write(&batch).unwrap();
            part.finish().unwrap()
        });
}
