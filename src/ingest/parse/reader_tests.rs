//! Tests of whole reads: made-up files, arbitrary bytes, and the real files where they are.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use proptest::prelude::*;

use super::*;
use crate::ingest::RowsReader;
use crate::ingest::{Clean, Discovery, ReadOptions, discover};
use crate::schema::RejectReason;

fn read(path: &Path, reading: &Reading) -> Vec<IngestUnit> {
    read_in_chunks(path, reading, CHUNK_BYTES)
}

fn read_in_chunks(path: &Path, reading: &Reading, chunk: usize) -> Vec<IngestUnit> {
    let discovery = discover(&[path.to_str().unwrap().to_owned()], reading).unwrap();
    in_chunks(&discovery, reading, chunk).map(|unit| unit.unwrap()).collect()
}

fn in_chunks(discovery: &Discovery, reading: &Reading, chunk: usize) -> UnitReader {
    UnitReader::with_opener(discovery.sources(), reading, Opener::new(chunk, Digests::default()))
}

/// The same unit from what another process would be told of it.
fn reread(unit: &IngestUnit) -> IngestUnit {
    let told = serde_json::to_string(&unit.rows).unwrap();
    RowsReader::new(Digests::default()).read(&serde_json::from_str(&told).unwrap()).unwrap()
}

fn strings(units: &[IngestUnit], column: &str) -> Vec<Option<String>> {
    let column = |unit: &IngestUnit| {
        let array = unit.reviews.column_by_name(column).unwrap().clone();
        array.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>()
    };
    units.iter().flat_map(column).collect()
}

fn rejects(units: &[IngestUnit]) -> Vec<(u64, u64, RejectReason)> {
    let mut all = Vec::new();
    for unit in units {
        let numbers = |name: &str| unit.rejects.column_by_name(name).unwrap().as_primitive::<UInt64Type>().clone();
        let reasons = unit.rejects.column_by_name("reason").unwrap().as_string::<i32>();
        for at in 0..unit.rejects.num_rows() {
            all.push((numbers("row").value(at), numbers("byte_offset").value(at), reasons.value(at).parse().unwrap()));
        }
    }
    all
}

fn rows_in(units: &[IngestUnit]) -> u64 {
    units.iter().map(|unit| unit.rows_in).sum()
}

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs_err::write(&path, content).unwrap();
    (folder, path)
}

#[test]
fn a_csv_becomes_reviews_with_kept_columns() {
    let content = b"\xef\xbb\xbfid,text,label,mark\n1,\"a<br />b\", pos ,x\n2,,,y\n3,c\n";
    let (_folder, path) = file("a.csv", content);
    let options = ReadOptions { clean: Clean::Html, ..ReadOptions::default() };
    let reading = Reading { keep: vec!["mark".into(), "none".into()], ..options.into() };
    let units = read(&path, &reading);
    assert_eq!(strings(&units, "text"), [Some("a b".to_owned()), Some(String::new())]);
    assert_eq!(strings(&units, "label"), [Some("pos".to_owned()), None]);
    assert_eq!(strings(&units, "mark"), [Some("x".to_owned()), Some("y".to_owned())]);
    assert_eq!(strings(&units, "none"), [None, None]);
    assert_eq!(rejects(&units), [(2, 49, RejectReason::WrongWidth)]);
    assert_eq!(units[0].rows.ranges[0].rows, 3);
}

#[test]
fn compressed_and_utf16_files_read_as_plain_ones() {
    use std::io::Write as _;
    let content = "text\tlabel\nschön\t1\nübel\t0\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content.as_bytes()).unwrap();
    let utf16: Vec<u8> = format!("\u{feff}{content}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [
        ("a.tsv.gz", gzip.finish().unwrap()),
        ("a.tsv.zst", zstd::encode_all(content.as_bytes(), 1).unwrap()),
        ("a.tsv.gz", content.as_bytes().to_vec()),
        ("a.tsv", utf16),
    ] {
        let (_folder, path) = file(name, &bytes);
        let units = read(&path, &Reading::default());
        assert_eq!(strings(&units, "text"), [Some("schön".to_owned()), Some("übel".to_owned())], "{name}");
    }
}

#[test]
fn empty_files_have_no_records() {
    for name in ["a.csv", "a.tsv", "a.jsonl", "a.txt"] {
        let (_folder, path) = file(name, b"");
        let expected = usize::from(name == "a.txt");
        assert_eq!(read(&path, &Reading::default()).len(), expected, "{name}");
    }
}

#[test]
fn small_files_share_units_and_large_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, n: usize| fs_err::write(folder.path().join(name), "x".repeat(n)).unwrap();
    for (name, n) in [("1.txt", 40), ("2.txt", 40), ("3.txt", 40), ("4.txt", 40), ("5.txt", 500), ("6.txt", 40)] {
        write(name, n);
    }
    let units = read(folder.path(), &Reading { unit_bytes: 300, ..Reading::default() });
    assert_eq!(units.iter().map(|unit| unit.rows.ranges.len()).collect::<Vec<_>>(), [3, 1, 1, 1]);
    let ids: std::collections::HashSet<&str> = units.iter().map(|unit| unit.id.as_str()).collect();
    assert_eq!(ids.len(), 4);
    write("6.txt", 41);
    let changed = read(folder.path(), &Reading { unit_bytes: 300, ..Reading::default() });
    let same: Vec<bool> = units.iter().zip(&changed).map(|(old, new)| old.id == new.id).collect();
    assert_eq!(same, [true, true, true, false]);
}

#[test]
fn rejects_alone_cannot_fill_the_memory() {
    let (_folder, path) = file("a.jsonl", format!("{{\"text\":\"a\"}}\n{}", "nonsense\n".repeat(10_000)).as_bytes());
    let units = read(&path, &Reading { unit_bytes: 1 << 14, ..Reading::default() });
    assert!(units.len() > 10, "{}", units.len());
    assert_eq!(rows_in(&units), 10_001);
}

#[test]
fn very_short_texts_are_bounded_in_rows() {
    let (_folder, path) = file("a.csv", format!("text\n{}", "ok\n".repeat(10_000)).as_bytes());
    let units = read(&path, &Reading { unit_bytes: 1 << 16, ..Reading::default() });
    assert_eq!(rows_in(&units), 10_000);
    let most = units.iter().map(|unit| unit.rows_in).max();
    assert!(most <= Some(1024), "{most:?} rows");
}

#[test]
fn the_limit_counts_records_over_all_sources() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("a.csv"), "text\na\nb\n").unwrap();
    fs_err::write(folder.path().join("b.csv"), "text\nc\nd\n").unwrap();
    let units = read(folder.path(), &Reading::from(ReadOptions { limit: Some(3), ..ReadOptions::default() }));
    assert_eq!(strings(&units, "text").len(), 3);
    assert!(read(folder.path(), &Reading::from(ReadOptions { limit: Some(0), ..ReadOptions::default() })).is_empty());
}

#[test]
fn a_label_column_wins_over_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("pos")).unwrap();
    fs_err::write(folder.path().join("pos/a.csv"), "text,label\na,neg\nb,\n").unwrap();
    fs_err::write(folder.path().join("pos/b.csv"), "text\nc\n").unwrap();
    let units = read(folder.path(), &Reading::default());
    assert_eq!(strings(&units, "label"), [Some("neg".to_owned()), None, Some("pos".to_owned())]);
}

#[test]
fn escaped_quotes_come_out_as_quotes() {
    let content = "id\tsentiment\treview\n\"1_8\"\t1\t\"With \\\"The Wiz\\\" again\"\n\"2_3\"\t0\t\"Plain\"\n";
    let (_folder, path) = file("labeledTrainData.tsv", content.as_bytes());
    let texts = strings(&read(&path, &Reading::default()), "text");
    assert_eq!(texts, [Some("With \"The Wiz\" again".to_owned()), Some("Plain".to_owned())]);
}

#[test]
fn real_imdb_mini() {
    let Some(path) = crate::testing::shared("data/imdb-mini") else { return };
    let units = read(&path, &Reading::default());
    let labels = strings(&units, "label");
    assert_eq!(rows_in(&units), 1200);
    assert_eq!(labels.iter().filter(|label| label.as_deref() == Some("pos")).count(), 600);
    assert_eq!(labels.iter().filter(|label| label.as_deref() == Some("neg")).count(), 600);
    assert!(units.iter().all(|unit| unit.rejects.num_rows() == 0));
}

#[test]
fn real_imdb_cut_inside_a_quote() {
    let Some(path) = crate::testing::shared("data/csv/IMDB Dataset (cut inside a quote).csv") else { return };
    let units = read(&path, &Reading::default());
    assert_eq!(strings(&units, "text").len(), 641);
    let rejects = rejects(&units);
    assert_eq!((rejects.len(), rejects[0].0, rejects[0].2), (1, 641, RejectReason::UnterminatedQuote));
    let content = fs_err::read(&path).unwrap();
    assert_eq!(&content[rejects[0].1 as usize - 1..][..2], b"\n\"");
}

#[test]
fn real_tweets() {
    let Some(path) = crate::testing::shared("data/csv/Tweets.csv") else { return };
    let units = read(&path, &Reading { keep: vec!["airline".into()], ..Reading::default() });
    let texts = strings(&units, "text");
    assert_eq!(texts.len(), 14_640);
    assert_eq!(texts.iter().flatten().filter(|text| text.contains('\n')).count(), 138);
    let labels = strings(&units, "label");
    let count = |label: &str| labels.iter().flatten().filter(|other| *other == label).count();
    assert_eq!([count("negative"), count("neutral"), count("positive")], [9178, 3099, 2363]);
    assert!(strings(&units, "airline").iter().all(Option::is_some));
}

#[test]
fn real_sst2_has_no_header() {
    let Some(path) = crate::testing::shared("data/sst2-no-header") else { return };
    let units = read(&path, &Reading::default());
    assert_eq!(rows_in(&units), 6920 + 872 + 1821);
    assert!(units.iter().all(|unit| unit.rejects.num_rows() == 0));
    let labels = strings(&units, "label");
    assert!(labels.iter().all(|label| matches!(label.as_deref(), Some("0" | "1"))));
}

fn quote(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_strings_survive_csv(rows in prop::collection::vec(("\\PC{0,12}|[\",\r\n;\t a\u{85}]{0,12}", "[a-z]{1,3}"), 0..20)) {
        let mut content = "text,label\r\n".to_owned();
        for (text, label) in &rows {
            content += &format!("{},{}\r\n", quote(text), quote(label));
        }
        let (_folder, path) = file("a.csv", content.as_bytes());
        let units = read_in_chunks(&path, &Reading { unit_bytes: 200, ..Reading::default() }, 5);
        let expected: Vec<Option<String>> = rows.iter().map(|(text, _)| Some(text.clone())).collect();
        prop_assert_eq!(strings(&units, "text"), expected);
    }

    #[test]
    fn any_bytes_are_conserved_and_cut_alike(
        parts in prop::collection::vec(prop_oneof![
            Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\"".to_vec()), Just(b",".to_vec()), Just(b"\t".to_vec()),
            Just(b"{\"text\": \"a\"}".to_vec()), Just(b"[{\"text\": \"a\"},\n".to_vec()), Just(b"]}".to_vec()), Just(b"{\"text\": {}}\n".to_vec()), Just(b"text,label\n".to_vec()),
            Just(vec![0xef, 0xbb, 0xbf]), prop::collection::vec(any::<u8>(), 0..8),
        ], 0..40),
        name in prop::sample::select(vec!["a.csv", "a.tsv", "a.jsonl", "a.json", "a.pos", "b.txt"]),
        chunk in 1_usize..40,
    ) {
        let (_folder, path) = file(name, &parts.concat());
        let reading = Reading { unit_bytes: 150, ..Reading::default() };
        let discovery = discover(&[path.to_str().unwrap().to_owned()], &reading);
        // Bytes that look like a compressed file, and columns that cannot be told, are errors and not records.
        let Ok(discovery) = discovery else { return Ok(()) };
        let read = |chunk| in_chunks(&discovery, &reading, chunk).collect::<Result<Vec<_>>>();
        let (Ok(whole), Ok(chunked)) = (read(1 << 16), read(chunk)) else { return Ok(()) };
        let shape = |units: &[IngestUnit]| {
            units.iter().map(|u| (u.id.clone(), u.rows.clone(), u.reviews.clone(), u.rejects.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(shape(&whole), shape(&chunked));
        for unit in &whole {
            let again = reread(unit);
            prop_assert_eq!((&again.id, &again.rows), (&unit.id, &unit.rows));
            prop_assert_eq!((&again.reviews, &again.rejects), (&unit.reviews, &unit.rejects));
            prop_assert_eq!(unit.rows_in as usize, unit.reviews.num_rows() + unit.rejects.num_rows());
            prop_assert_eq!(unit.rows_in, unit.rows.ranges.iter().map(|range| range.rows).sum::<u64>());
            let rows: Vec<u64> = unit.reviews.column(1).as_primitive::<UInt64Type>().values().to_vec();
            prop_assert!(rows.is_sorted());
        }
        if name == "b.txt" && discovery.found[0].source.format == Format::Text {
            prop_assert_eq!(rows_in(&whole), 1);
        }
    }
}
