//! The bottom of the plan against real Parquet files: every row once, in order, with its own number, whatever the cut.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, TimeUnit, UInt64Type};
use datafusion_physical_plan::collect;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::{Error, ScanColumns, UnitInput, UnitOpener, UnitRows, UnitSpec, WorkUnit, plan_units, task_context};
use crate::ingest::{Clean, Digests, Encoding, ParsedRows, Parsing};

fn write(path: &Path, rows: usize, row_group: usize) {
    let texts: Vec<Option<String>> = (0..rows).map(|i| (i % 7 != 3).then(|| format!("text<br />{i}"))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int32Array::from_iter_values((0..rows as i32).map(|i| i * 10)))),
        ("body", Arc::new(LargeStringArray::from(texts))),
        ("stars", Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|i| i % 5)))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(row_group)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn units(path: &Path, unit_bytes: u64, clean: Clean) -> Vec<WorkUnit> {
    let columns = ScanColumns {
        text: "body".into(),
        label: Some("stars".into()),
        keep: vec![Field::new("row", DataType::Int32, true), Field::new("absent", DataType::Utf8, true)],
        clean,
    };
    opened(path, unit_bytes, &columns)
}

/// The units of a file, as the run that cuts them opens them.
fn opened(path: &Path, unit_bytes: u64, columns: &ScanColumns) -> Vec<WorkUnit> {
    let mut opener = UnitOpener::new(Digests::default());
    let specs = plan_units(opener.parquet(path, "in/a.parquet", columns).unwrap(), unit_bytes, u64::MAX, 0);
    specs.into_iter().map(|spec| opener.open(spec).unwrap()).collect()
}

/// The same unit in a process that was told no more of it than its spec.
fn elsewhere(unit: &WorkUnit) -> WorkUnit {
    let told = serde_json::to_string(&unit.spec).unwrap();
    let spec: UnitSpec = serde_json::from_str(&told).unwrap();
    assert_eq!(spec, unit.spec);
    UnitOpener::new(Digests::default()).open(spec).unwrap()
}

fn read(unit: &WorkUnit) -> Vec<RecordBatch> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    threads.block_on(collect(unit.scan().unwrap(), task_context(None))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_row_is_read_once_with_its_number(rows in 1usize..300, group in 1usize..120, unit_bytes in 100u64..20_000) {
        let dir = tempfile::tempdir().unwrap();
        // A name that an object store would have to escape.
        let path = dir.path().join("a b#%20(é).parquet");
        write(&path, rows, group);
        let mut next = 0u64;
        for unit in units(&path, unit_bytes, Clean::None) {
            let before = next;
            for batch in read(&unit) {
                let numbers = batch["row"].as_primitive::<UInt64Type>();
                let texts = batch["text"].as_string::<i32>();
                let labels = batch["label"].as_string::<i32>();
                prop_assert_eq!(batch["keep.absent"].null_count(), batch.num_rows());
                let kept = batch["keep.row"].as_primitive::<Int32Type>();
                for i in 0..batch.num_rows() {
                    prop_assert_eq!(numbers.value(i), next);
                    prop_assert_eq!(texts.is_null(i), next % 7 == 3);
                    prop_assert_eq!(labels.value(i), (next % 5).to_string());
                    prop_assert_eq!(kept.value(i) as u64, next * 10);
                    next += 1;
                }
            }
            prop_assert_eq!(next - before, unit.spec.rows_in);
        }
        prop_assert_eq!(next, rows as u64);
    }
}

#[test]
fn a_unit_is_the_same_in_a_process_that_was_told_its_spec() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 200, 70);
    let units = units(&path, 3_000, Clean::Html);
    assert!(units.len() > 3);
    for unit in units.iter().rev() {
        let again = elsewhere(unit);
        assert_eq!(read(&again), read(unit));
    }
    write(&path, 201, 70);
    let error = UnitOpener::new(Digests::default()).open(units[1].spec.clone()).unwrap_err();
    assert!(matches!(&error, Error::InputChanged { name } if name == "in/a.parquet"), "{error:?}");
}

#[test]
fn types_of_kept_columns_travel_whole() {
    let metadata = [("PARQUET:field_id".to_owned(), "7".to_owned())].into();
    let item = Field::new("element", DataType::Int64, false).with_metadata(metadata);
    let fields =
        vec![Field::new("zone", DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())), true)];
    let columns = ScanColumns {
        text: "body".into(),
        label: None,
        keep: vec![
            Field::new("list", DataType::List(Arc::new(item)), true),
            Field::new("struct", DataType::Struct(fields.into()), true),
            Field::new("dictionary", DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into()), true),
        ],
        clean: Clean::None,
    };
    let told = serde_json::to_string(&columns).unwrap();
    assert_eq!(serde_json::from_str::<ScanColumns>(&told).unwrap(), columns);
}

#[test]
fn texts_of_parquet_are_cleaned_in_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 2, 2);
    let batches = read(&units(&path, 1 << 20, Clean::Html)[0]);
    assert_eq!(batches[0]["text"].as_string::<i32>().value(1), "text 1");
}

#[test]
fn labels_of_parquet_are_trimmed_as_parsers_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some(" pos "), Some("  "), None]));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("body", text.clone(), true), ("stars", text, true)]).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let columns = ScanColumns { text: "body".into(), label: Some("stars".into()), keep: vec![], clean: Clean::None };
    let batches = read(&opened(&path, 1 << 20, &columns)[0]);
    let labels: Vec<_> = batches[0]["label"].as_string::<i32>().iter().collect();
    assert_eq!(labels, [Some("pos"), None, None]);
    assert_eq!(batches[0]["text"].as_string::<i32>().value(0), " pos ");
}

#[test]
fn reviews_just_parsed_enter_the_same_plan() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let columns: Vec<ArrayRef> =
        vec![text.clone(), Arc::new(arrow::array::UInt64Array::from(vec![4, 5])), text.clone(), text];
    let fields = crate::schema::reviews(&[]);
    let fields: Vec<_> = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    let parsing = Parsing { encoding: Encoding::Auto, clean: Clean::None, keep: Vec::new() };
    let rows = UnitRows::Parsed(ParsedRows { ranges: Vec::new(), parsing });
    let spec = UnitSpec { id: "0123456789".into(), ordinal: 0, rows_in: 2, bytes: 1, held_bytes: 1, rows };
    let rejects = RecordBatch::new_empty(crate::schema::rejects());
    let unit = WorkUnit { spec, read_seconds: 0.0, input: UnitInput::Parsed { reviews: batch, rejects } };
    let read = read(&unit);
    assert_eq!(read[0].num_rows(), 2);
    assert_eq!(read[0].schema().field(2).data_type(), &DataType::Utf8);
}

/// What a flipped bit may do to a file that has checksums of neither pages nor values: cost rows, change them where
/// nobody can see it, but never end the process or lose count.
mod mutated {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]
        #[test]
        fn every_row_is_read_or_rejected(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..12),
            group in 40usize..200,
            unit_bytes in 200u64..4_000,
        ) {
            const ROWS: usize = 300;
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.parquet");
            write(&path, ROWS, group);
            let mut bytes = std::fs::read(&path).unwrap();
            let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
            let pages = 4..bytes.len() - 8 - footer;
            for (at, bit) in flips {
                bytes[pages.start + at.index(pages.len())] ^= 1 << bit;
            }
            std::fs::write(&path, bytes).unwrap();
            let mut rows = Vec::new();
            for unit in units(&path, unit_bytes, Clean::None) {
                let batches = read(&unit);
                prop_assert_eq!(&read(&elsewhere(&unit)), &batches);
                for batch in batches {
                    rows.extend(batch["row"].as_primitive::<UInt64Type>().values().iter().copied());
                }
            }
            prop_assert_eq!(rows, (0..ROWS as u64).collect::<Vec<_>>());
        }
    }
}
