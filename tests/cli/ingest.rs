//! `ingest`: every format it takes, and what becomes of records that it cannot use.

use std::io::Write;

use super::datasets::{ordinals, read, strings, texts};
use super::support::{Place, shared};

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn a_csv_with_newlines_quotes_and_commas_inside_fields_is_read_as_it_was_written() {
    let place = Place::new();
    let rows =
        [("Line one\nline two", "pos"), ("She said \"no\", twice", "neg"), ("\r\n,\"\",", "pos"), ("plain", "neg")];
    let mut csv = "\u{feff}id,review,sentiment\r\n".to_owned();
    for (row, (text, label)) in rows.iter().enumerate() {
        csv += &format!("{row},\"{}\",{label}\r\n", text.replace('"', "\"\""));
    }
    place.write("in.csv", csv);
    place.run(&["ingest", "in.csv", "--out", "out"]).ok().says(&["`review`", "`sentiment`"]);
    let reviews = read(&place, "out/reviews");
    assert_eq!(texts(&reviews, "text"), rows.map(|(text, _)| Some(text.to_owned())));
    assert_eq!(texts(&reviews, "label"), rows.map(|(_, label)| Some(label.to_owned())));
    assert_eq!(ordinals(&reviews), [0, 1, 2, 3]);
    assert_eq!(strings(&reviews, "source_file"), ["in.csv"; 4]);
}

#[test]
fn a_broken_record_is_rejected_with_its_place_and_the_rest_goes_on() {
    let place = Place::new();
    place.write("in.csv", b"text,label\ngood,pos\nbad \xff byte,neg\none,two,three\nfine,neg\n");
    place.run(&["ingest", "in.csv", "--max-reject-share", "1", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!((texts(&reviews, "text"), ordinals(&reviews)), (some(&["good", "fine"]), vec![0, 3]));
    let rejects = read(&place, "out/rejects");
    assert_eq!(strings(&rejects, "reason"), ["invalid_utf8", "wrong_width"]);
    assert_eq!(ordinals(&rejects), [1, 2]);
    let run = place.json("out/run.json");
    assert_eq!((&run["rows_in"], &run["rows_out"], &run["rows_rejected"]), (&4.into(), &2.into(), &2.into()));
}

#[test]
fn a_jsonl_keeps_a_missing_text_as_null_and_rejects_what_is_no_json() {
    let place = Place::new();
    place
        .write("in.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"label\":0}\n{\"text\":null}\nnot json\n{\"text\":\"\"}\n");
    place.run(&["ingest", "in.jsonl", "--max-reject-share", "1", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!(texts(&reviews, "text"), [Some("a".to_owned()), None, None, Some(String::new())]);
    assert_eq!(texts(&reviews, "label"), [Some("1".to_owned()), Some("0".to_owned()), None, None]);
    assert_eq!(ordinals(&reviews), [0, 1, 2, 4]);
    assert_eq!(strings(&read(&place, "out/rejects"), "reason"), ["bad_json"]);
}

#[test]
fn a_tsv_without_header_is_read_with_and_without_being_told() {
    let place = Place::new();
    place.write("in.tsv", "a long and winding text\t1\nanother text of some length\t0\nthe third of these texts\t1\n");
    for (out, flags) in [("guessed", &[][..]), ("told", &["--no-header"][..])] {
        place.run(&[&["ingest", "in.tsv", "--out", out], flags].concat()).ok();
        let reviews = read(&place, &format!("{out}/reviews"));
        assert_eq!(texts(&reviews, "label"), some(&["1", "0", "1"]), "{out}");
        assert_eq!(texts(&reviews, "text")[0].as_deref(), Some("a long and winding text"), "{out}");
    }
}

#[test]
fn real_movie_phrases_without_header_are_all_there() {
    let Some(folder) = shared("data/sst2-no-header") else { return };
    let place = Place::new();
    place.run(&["ingest", &folder, "--out", "out"]).ok();
    let labels = strings(&read(&place, "out/reviews"), "label");
    assert_eq!(labels.len(), 6920 + 872 + 1821);
    assert!(labels.iter().all(|label| label == "0" || label == "1"));
}

#[test]
fn compressed_files_are_read_as_what_they_hold() {
    let place = Place::new();
    let csv = "text,label\nfirst,pos\nsecond,neg\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(csv.as_bytes()).unwrap();
    place.write("in/a.csv.gz", gz.finish().unwrap());
    place.write("in/b.csv.zst", zstd::encode_all(csv.replace("first", "third").as_bytes(), 3).unwrap());
    place.run(&["ingest", "in", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!(texts(&reviews, "text"), some(&["first", "second", "third", "second"]));
    assert_eq!(strings(&reviews, "source_file")[1..3], ["in/a.csv.gz", "in/b.csv.zst"]);
    assert_eq!(ordinals(&reviews), [0, 1, 0, 1]);
}

#[test]
fn a_damaged_gz_is_an_error_that_names_it() {
    let place = Place::new();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all("text\n".repeat(10_000).as_bytes()).unwrap();
    let whole = gz.finish().unwrap();
    place.write("in.csv.gz", &whole[..whole.len() / 2]);
    place.run(&["ingest", "in.csv.gz", "--out", "out"]).fails(1, &["`in.csv.gz`", "cut off"]);
}

#[test]
fn a_glob_takes_what_it_matches_and_nothing_else() {
    let place = Place::new();
    for (name, text) in [("in/2020.csv", "older"), ("in/2021.csv", "newer"), ("in/other.csv", "unwanted")] {
        place.write(name, format!("text\n{text}\n"));
    }
    place.run(&["ingest", "in/20*.csv", "--out", "out"]).ok();
    assert_eq!(texts(&read(&place, "out/reviews"), "text"), some(&["older", "newer"]));
    place.run(&["ingest", "in/19*.csv", "--out", "none"]).fails(1, &["`in/19*.csv`", "matches nothing"]);
}

#[test]
fn one_review_a_line_ends_at_line_feeds_only() {
    let place = Place::new();
    place.write("notes.pos", "first\u{85}still first\nsecond\r\n\nfourth");
    place.run(&["ingest", "notes.pos", "--out", "out"]).ok();
    let reviews = read(&place, "out/reviews");
    let found: Vec<String> = texts(&reviews, "text").into_iter().flatten().filter(|text| !text.is_empty()).collect();
    assert_eq!(found, ["first\u{85}still first", "second", "fourth"]);
    assert!(texts(&reviews, "label").iter().all(|label| label.as_deref() == Some("pos")));
}

#[test]
fn break_tags_go_only_where_they_are_asked_to() {
    let place = Place::new();
    place.write("in.csv", "text\nfine<br /><br />film\n");
    place.run(&["ingest", "in.csv", "--out", "raw"]).ok();
    place.run(&["ingest", "in.csv", "--out", "clean", "--clean", "html"]).ok();
    assert_eq!(texts(&read(&place, "raw/reviews"), "text"), some(&["fine<br /><br />film"]));
    let clean = strings(&read(&place, "clean/reviews"), "text").remove(0);
    assert!(!clean.contains("<br") && clean.split_whitespace().eq(["fine", "film"]), "{clean}");
}

#[test]
fn other_columns_are_kept_on_demand() {
    let place = Place::new();
    place.write("in.csv", "id,text,stars\n7,fine,5\n");
    place.run(&["ingest", "in.csv", "--out", "none"]).ok();
    place.run(&["ingest", "in.csv", "--out", "some", "--keep-columns", "stars"]).ok();
    assert!(read(&place, "none/reviews").column_by_name("stars").is_none());
    let reviews = read(&place, "some/reviews");
    assert_eq!(strings(&reviews, "stars"), ["5"]);
    assert!(reviews.column_by_name("id").is_none());
}

#[test]
fn a_limit_stops_the_reading() {
    let place = Place::new();
    place.write("in.csv", "text\na\nb\nc\n");
    place.run(&["ingest", "in.csv", "--out", "out", "--limit", "2"]).ok();
    assert_eq!(texts(&read(&place, "out/reviews"), "text"), some(&["a", "b"]));
}
