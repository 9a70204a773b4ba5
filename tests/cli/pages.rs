//! Damaged pages of Parquet files: their rows become rejects, all others are as in an undamaged file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::WriterProperties;

use super::datasets::{ordinals, read, strings, vectors};
use super::fixtures::{distinct_text, head};
use super::support::{Place, model};

const ROWS: usize = 400;
/// Rows of a page of the column `text`; those of `label` have more.
const PAGE: usize = 25;

fn write(path: &Path) {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| distinct_text(row, 6))));
    let labels: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| ["pos", "neg"][row % 2])));
    let batch = RecordBatch::try_from_iter([("text", texts), ("label", labels)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS / 2))
        .set_data_page_row_count_limit(PAGE)
        .set_write_batch_size(PAGE)
        .set_dictionary_enabled(false)
        .set_compression(Compression::UNCOMPRESSED);
    let file = fs_err::File::create(path).unwrap().into_file();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The bytes of a page, its header included.
fn page(path: &Path, group: usize, column: usize, page: usize) -> Range<usize> {
    let file = fs_err::File::open(path).unwrap().into_file();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&file, options).unwrap();
    let location = metadata.metadata().offset_index().unwrap()[group][column].page_locations()[page].clone();
    let start = location.offset as usize;
    start..start + location.compressed_page_size as usize
}

fn change(path: &Path, bytes: Range<usize>, to: u8) {
    let mut file = fs_err::read(path).unwrap();
    file[bytes].fill(to);
    fs_err::write(path, file).unwrap();
}

/// A file of which a page of `text` in the middle of the first row group and the last one of the second are damaged, and
/// the rows that these hold.
fn damaged(path: &Path) -> Vec<u64> {
    write(path);
    for (group, at) in [(0, 3), (1, 7)] {
        let end = page(path, group, 0, at).end;
        change(path, end - 4..end, 0xff);
    }
    (75..100).chain(375..400).collect()
}

fn assert_rejected(place: &Place, out: &str, expected: &[u64]) {
    let report = place.json(&format!("{out}/run.json"));
    assert_eq!(report["rejected"], serde_json::json!({ "corrupt_page": expected.len() }));
    assert_eq!((&report["rows_in"], &report["rows_out"]), (&ROWS.into(), &(ROWS - expected.len()).into()));
    let rejects = read(place, &format!("{out}/rejects"));
    assert_eq!(ordinals(&rejects), expected);
    assert_eq!(strings(&rejects, "source_file"), vec!["in.parquet"; expected.len()]);
    assert!(strings(&rejects, "detail").iter().all(|detail| detail.contains("the file is damaged here")));
}

#[test]
fn the_rows_of_damaged_pages_are_rejected_and_all_others_are_as_they_were() {
    let Some(model) = model() else { return };
    let Some(head) = head() else { return };
    let place = Place::new();
    let lost = damaged(&place.path("in.parquet"));
    let kept: Vec<u64> = (0..ROWS as u64).filter(|row| !lost.contains(row)).collect();
    let how = ["--max-reject-share", "0.5"];

    place.run(&[&["ingest", "in.parquet", "--out", "reviews"], &how[..]].concat()).ok();
    assert_rejected(&place, "reviews", &lost);
    let reviews = read(&place, "reviews/reviews");
    assert_eq!(ordinals(&reviews), kept);
    let expected: Vec<String> = kept.iter().map(|row| distinct_text(*row as usize, 6)).collect();
    assert_eq!(strings(&reviews, "text"), expected);

    // Units that end inside a damaged page may read what stands before the damage.
    place.run(&[&["ingest", "in.parquet", "--out", "cut", "--unit-bytes", "3KiB"], &how[..]].concat()).ok();
    let rejected = ordinals(&read(&place, "cut/rejects"));
    assert!(rejected.contains(&99) && rejected.contains(&399), "{rejected:?}");
    assert!(rejected.iter().all(|row| lost.contains(row)), "{rejected:?}");

    place.embed(&model, &[&["in.parquet", "--out", "features"], &how[..]].concat());
    assert_rejected(&place, "features", &lost);
    assert_eq!(ordinals(&read(&place, "features/rows")), kept);

    place.run(&[&["score", "in.parquet", "--head", head, "--out", "scored"], &how[..]].concat()).ok();
    assert_rejected(&place, "scored", &lost);
    let scored = read(&place, "scored/predictions");
    assert_eq!(ordinals(&scored), kept);
    place.run(&["score", "reviews", "--head", head, "--out", "again"]).ok();
    assert_eq!(vectors(&scored, "probabilities"), vectors(&read(&place, "again/predictions"), "probabilities"));
}

#[test]
fn the_default_budget_says_what_is_damaged_and_the_way_out() {
    let place = Place::new();
    damaged(&place.path("in.parquet"));
    place.run(&["ingest", "in.parquet", "--out", "out"]).fails(1, &["corrupt_page 50", "--max-reject-share"]);
}

#[test]
fn a_page_header_that_promises_too_much_costs_its_row_group_and_not_the_process() {
    let place = Place::new();
    let path = place.path("in.parquet");
    write(&path);
    // A header begins with the page's kind and sizes; the number of values follows.
    let start = page(&path, 0, 0, 2).start;
    change(&path, start + 1..start + 12, 0xfe);
    let ran = place.run(&["ingest", "in.parquet", "--out", "out", "--max-reject-share", "1"]).ok();
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert_rejected(&place, "out", &(0..ROWS as u64 / 2).collect::<Vec<_>>());
}
