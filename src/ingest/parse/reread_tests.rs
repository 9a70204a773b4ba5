//! Tests that a unit is the same when it is read from its rows as data, whatever its sources are.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::ingest::{Clean, ReadOptions, Reading, UnitReader, discover};

const ROWS: usize = 60;

/// Rows with line ends, quotes, breaks, letters beyond ASCII and some that are rejected.
fn csv() -> String {
    let row = |at: usize| match at % 6 {
        0 => format!("{at},\"größe {at}\r\nand \"\"more\"\"\",pos\r\n"),
        1 => format!("{at},too few\n"),
        2 => format!("\n{at},<br />cleaned,  neg \n"),
        3 => format!("{at},\"stray,pos\n{at},fine,neg\n{at},\"fine too\",neg\n"),
        _ => format!("{at},plain text number {at},\n"),
    };
    format!("id,text,label\n{}", (0..ROWS).map(row).collect::<String>())
}

fn json_lines() -> String {
    let row = |at: usize| match at % 3 {
        0 => format!("{{\"text\": \"größe {at}\", \"label\": {at}}}\n"),
        1 => "nonsense\n\n".to_owned(),
        _ => format!("{{\"id\": [{at}], \"text\": \"a\\nb\"}}\r\n"),
    };
    (0..ROWS).map(row).collect()
}

fn json_array() -> String {
    let element = |at: usize| match at % 4 {
        0 => format!("{{\"text\": \"element ]}} {at}\"}}"),
        1 => "3".to_owned(),
        2 => "{\"text\": \"not \"escaped\"}".to_owned(),
        _ => format!("{{\n\"text\": \"über {at}\", \"id\": {at}\n}}"),
    };
    let elements: Vec<String> = (0..ROWS).map(element).collect();
    format!("[{}\n]\n[{{\"text\": \"of a second array\"}}] and more", elements.join(",\n"))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

fn utf16(content: &str) -> Vec<u8> {
    format!("\u{feff}{content}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The units of `path`, each also read again: in one process after the other, and from JSON in one that knows nothing.
#[track_caller]
fn check(path: &Path, reading: &Reading, at_least: usize) -> Vec<IngestUnit> {
    let discovery = discover(&[path.to_str().unwrap().to_owned()], reading).unwrap();
    let units: Vec<IngestUnit> =
        UnitReader::new(discovery.sources(), reading, Digests::default()).map(|unit| unit.unwrap()).collect();
    assert!(units.len() >= at_least, "{} units", units.len());
    let mut reader = RowsReader::new(Digests::default());
    // From the last to the first, so that none goes on where another ended.
    for unit in units.iter().rev() {
        let told = serde_json::to_string(&unit.rows).unwrap();
        let rows: ParsedRows = serde_json::from_str(&told).unwrap();
        assert_eq!(rows, unit.rows);
        for again in [reader.read(&rows).unwrap(), RowsReader::new(Digests::default()).read(&rows).unwrap()] {
            assert_eq!((&again.id, again.rows_in, again.text_bytes), (&unit.id, unit.rows_in, unit.text_bytes));
            assert_eq!((&again.reviews, &again.rejects), (&unit.reviews, &unit.rejects), "{told}");
        }
    }
    units
}

fn reading(unit_bytes: u64) -> Reading {
    let options = ReadOptions { clean: Clean::Html, ..ReadOptions::default() };
    Reading { keep: vec!["id".into(), "absent".into()], unit_bytes, ..options.into() }
}

#[test]
fn a_file_of_any_format_compression_and_encoding_is_read_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let latin = |text: &str| encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
    let lines = csv().replace(',', " ");
    let files: [(&str, Vec<u8>); 12] = [
        ("a.csv", csv().into_bytes()),
        ("b.csv", [b"\xef\xbb\xbf", csv().as_bytes()].concat()),
        ("c.csv.gz", gzip(csv().as_bytes())),
        ("d.csv", utf16(&csv())),
        ("e.csv.zst", zstd::encode_all(latin(&csv()).as_slice(), 1).unwrap()),
        ("f.tsv", csv().replace(',', "\t").into_bytes()),
        ("g.jsonl", json_lines().into_bytes()),
        ("h.jsonl.gz", gzip(&utf16(&json_lines()))),
        ("i.json", json_array().into_bytes()),
        ("j.json.gz", gzip(json_array().as_bytes())),
        ("lines.pos", lines.clone().into_bytes()),
        ("l.neg.gz", gzip(&latin(&lines))),
    ];
    for (name, content) in files {
        let path = folder.path().join(name);
        fs_err::write(&path, content).unwrap();
        let units = check(&path, &reading(500), 5);
        let rejected = units.iter().map(|unit| unit.rejects.num_rows()).sum::<usize>();
        assert_eq!(rejected > 0, !(name.starts_with('l')), "{name}");
        // Where a unit begins is known, but for the first.
        assert!(units.iter().skip(1).all(|unit| unit.rows.ranges[0].from.is_some()), "{name}");
    }
}

#[test]
fn small_files_that_share_a_unit_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    for (at, label) in (0..40).map(|at| (at, if at % 2 == 0 { "pos" } else { "neg" })) {
        fs_err::create_dir_all(folder.path().join(label)).unwrap();
        fs_err::write(folder.path().join(format!("{label}/{at}.txt")), format!("a review <br /> {at}\n")).unwrap();
    }
    fs_err::write(folder.path().join("pos/large.csv"), csv()).unwrap();
    let units = check(folder.path(), &reading(600), 5);
    assert!(units.iter().any(|unit| unit.rows.ranges.len() > 3));
}

#[test]
fn members_of_archives_are_read_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, json) = (csv(), json_lines());
    let files: [(&str, &[u8]); 4] =
        [("pos/1.txt", b"first"), ("a.csv", csv.as_bytes()), ("neg/2.txt", b"second"), ("b.jsonl", json.as_bytes())];
    let tar = crate::testing::tar(&files);
    for (name, archive) in [("a.zip", crate::testing::zip(&files)), ("b.tar.gz", gzip(&tar)), ("c.tar", tar)] {
        let path = folder.path().join(name);
        fs_err::write(&path, archive).unwrap();
        check(&path, &reading(500), 5);
    }
}

#[test]
fn a_source_that_is_another_by_now_and_a_row_that_it_lacks_are_errors_that_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs_err::write(&path, csv()).unwrap();
    let units = check(&path, &reading(500), 5);
    let mut rows = units[1].rows.clone();
    rows.ranges[0].rows = 10_000;
    let error = RowsReader::new(Digests::default()).read(&rows).unwrap_err().to_string();
    assert!(error.contains("a.csv") && error.contains("has no row"), "{error}");
    fs_err::write(&path, csv().replace("plain", "other")).unwrap();
    let error = RowsReader::new(Digests::default()).read(&units[1].rows).unwrap_err();
    assert!(matches!(&error, Error::Changed { name } if name.ends_with("a.csv")), "{error}");
}
