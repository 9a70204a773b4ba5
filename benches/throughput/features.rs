//! Cached vectors back from disk: keys into the index, vectors by key, and what the column's form on disk costs.
//!
//! `mapped` is the bound: the same bytes copied out of a memory-mapped file. Files are in the page cache throughout.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use bertline::cache::{Key, Known, Store, StoreEncoder};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::reviews;

const HIDDEN: usize = 384;
/// Texts of a unit, hence of a part.
const UNIT: usize = 1600;
const UNITS: usize = 80;
/// Rows of the files that compare forms: 100 MB of floats.
const ROWS: usize = 65_536;

fn floats(rows: usize, seed: u64) -> Vec<f32> {
    let mut random = reviews::Random::new(seed);
    // Four uniforms make values around zero of many magnitudes, as an encoder's are.
    let mut value = || (0..4).map(|_| random.uniform() - 0.5).sum::<f64>() as f32;
    (0..rows * HIDDEN).map(|_| value()).collect()
}

fn keys() -> Vec<Key> {
    (0..UNITS * UNIT).map(|number| Key::of(&number.to_string())).collect()
}

/// A store of 128,000 texts in 80 parts, as a run leaves it: 200 MB.
static STORE: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let known = open(dir.path());
    let vectors = floats(UNIT, 13);
    keys().chunks(UNIT).for_each(|keys| known.add(keys, &vectors, &vec![(230, false); UNIT]).unwrap());
    dir
});

fn open(dir: &Path) -> Known {
    let encoder = StoreEncoder {
        model: "bench".to_owned(),
        encoder_id: "bench".to_owned(),
        numerics: "fp32".to_owned(),
        width: HIDDEN,
        encoder: serde_json::Value::Null,
        numerics_parts: serde_json::Value::Null,
    };
    Known::open(HIDDEN, &[], Some(Store::open(dir, &encoder).unwrap())).unwrap()
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn load_keys(bencher: Bencher) {
    let dir = STORE.path();
    bencher.counter(ItemsCount::new(UNITS * UNIT)).bench_local(|| open(dir));
}

/// By units, in the order in which they were written.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn fetch_in_order(bencher: Bencher) {
    fetch(bencher, keys());
}

/// By units whose texts are scattered over all parts.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn fetch_scattered(bencher: Bencher) {
    let mut keys = keys();
    // They are hashes: their own order is as good as any shuffle.
    keys.sort_unstable();
    fetch(bencher, keys);
}

fn fetch(bencher: Bencher, keys: Vec<Key>) {
    let known = open(STORE.path());
    let all = || keys.chunks(UNIT).map(|keys| known.fetch(keys).unwrap().vectors.len()).sum::<usize>();
    // Parts are hashed when they are first used.
    assert_eq!(all(), keys.len() * HIDDEN);
    count(bencher, keys.len()).bench_local(all);
}

/// As [`fetch_in_order`] by a process that has just started: every part is hashed first.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn fetch_for_the_first_time(bencher: Bencher) {
    let keys = keys();
    let dir = STORE.path();
    count(bencher, keys.len()).with_inputs(|| open(dir)).bench_local_values(|known| {
        keys.chunks(UNIT).map(|keys| known.fetch(keys).unwrap().vectors.len()).sum::<usize>()
    });
}

fn count<'a, 'b>(bencher: Bencher<'a, 'b>, rows: usize) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(rows)).counter(BytesCount::new(rows * HIDDEN * 4))
}

/// What is on disk.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// `FixedSizeList<Float32>`, the public form.
    List,
    /// `FixedSizeBinary`.
    Binary,
}

/// How it is encoded.
#[derive(Clone, Copy, Debug)]
enum Coding {
    Plain,
    Dictionary,
    Zstd,
    Lz4,
    Split,
    SplitZstd,
}

const CODINGS: [Coding; 6] =
    [Coding::Plain, Coding::Dictionary, Coding::Zstd, Coding::Lz4, Coding::Split, Coding::SplitZstd];

fn write(dir: &Path, form: Form, coding: Coding) -> PathBuf {
    let floats = floats(ROWS, 13);
    let column: ArrayRef = match form {
        Form::List => {
            let item = Arc::new(Field::new("item", DataType::Float32, true));
            Arc::new(FixedSizeListArray::new(item, HIDDEN as i32, Arc::new(Float32Array::from(floats)), None))
        }
        Form::Binary => {
            let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
            Arc::new(FixedSizeBinaryArray::new(4 * HIDDEN as i32, bytes.into(), None))
        }
    };
    let schema = Arc::new(Schema::new(vec![Field::new("embedding", column.data_type().clone(), false)]));
    let properties = WriterProperties::builder().set_dictionary_enabled(matches!(coding, Coding::Dictionary));
    let properties = match coding {
        Coding::Plain | Coding::Dictionary => properties,
        Coding::Zstd => properties.set_compression(Compression::ZSTD(ZstdLevel::default())),
        Coding::Lz4 => properties.set_compression(Compression::LZ4_RAW),
        Coding::Split => properties.set_encoding(Encoding::BYTE_STREAM_SPLIT),
        Coding::SplitZstd => properties
            .set_encoding(Encoding::BYTE_STREAM_SPLIT)
            .set_compression(Compression::ZSTD(ZstdLevel::default())),
    };
    let path = dir.join("part.parquet");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build())).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![column]).unwrap()).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    eprintln!("{form:?} {coding:?}: {:.3} of the floats' bytes on disk", bytes as f64 / (ROWS * HIDDEN * 4) as f64);
    path
}

#[divan::bench(args = CODINGS, sample_count = 5, sample_size = 1)]
fn decode_list(bencher: Bencher, coding: Coding) {
    decode(bencher, Form::List, coding);
}

#[divan::bench(args = CODINGS, sample_count = 5, sample_size = 1)]
fn decode_binary(bencher: Bencher, coding: Coding) {
    decode(bencher, Form::Binary, coding);
}

fn decode(bencher: Bencher, form: Form, coding: Coding) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), form, coding);
    count(bencher, ROWS).bench_local(|| {
        let file = std::fs::File::open(&path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(8192).build().unwrap();
        reader.map(|batch| values(&batch.unwrap()["embedding"], form)).sum::<usize>()
    });
}

fn values(column: &ArrayRef, form: Form) -> usize {
    match form {
        Form::List => column.as_fixed_size_list().values().as_primitive::<Float32Type>().values().len(),
        Form::Binary => column.as_fixed_size_binary().value_data().len() / 4,
    }
}

/// The bound: a copy of the floats out of a memory-mapped file, by units as `fetch` does it.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn mapped(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("floats");
    let bytes: Vec<u8> = floats(ROWS, 13).iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&path, bytes).unwrap();
    count(bencher, ROWS).bench_local(|| {
        let file = std::fs::File::open(&path).unwrap();
        #[expect(unsafe_code, reason = "the file is this test's own, and nobody cuts it off while it is mapped")]
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        map.chunks(UNIT * HIDDEN * 4).map(|unit| divan::black_box(unit.to_vec()).len()).sum::<usize>()
    });
}
