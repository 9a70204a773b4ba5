//! Usage errors: exit code 2, the choices listed, nothing written.

use super::fixtures::head;
use super::support::{Place, model};

#[test]
fn a_wrong_column_is_named_with_the_columns_there_are() {
    let place = Place::new();
    place.write("in.csv", "id,review,stars\n1,fine,5\n");
    for flag in ["--text-column", "--label-column"] {
        let ran = place.run(&["ingest", "in.csv", "--out", &flag[2..], flag, "headline"]);
        ran.fails(2, &["`in.csv`", "`headline`", "`id`", "`review`", "`stars`"]);
    }
    let ran = place.run(&["ingest", "in.csv", "--out", "keep", "--keep-columns", "headline"]);
    ran.fails(2, &["`headline`", "`id`", "`stars`"]);
}

#[test]
fn a_wrong_column_of_a_parquet_file_is_named_with_the_columns_there_are() {
    let Some(head) = head() else { return };
    let place = Place::new();
    super::fixtures::parquet(&place.path("in.parquet"));
    for flag in ["--text-column", "--label-column", "--keep-columns"] {
        let ran = place.run(&["score", "in.parquet", "--head", head, "--out", &flag[2..], flag, "headline"]);
        ran.fails(2, &["`headline`", "`id`", "`review`", "`product`"]);
    }
}

#[test]
fn columns_that_cannot_be_told_are_listed() {
    let place = Place::new();
    place.write("none.csv", "id,stars\n1,5\n");
    place.run(&["ingest", "none.csv", "--out", "out"]).fails(2, &["`id`", "`stars`", "--text-column"]);
    place.write("two.csv", "text,TEXT\na,b\n");
    place.run(&["ingest", "two.csv", "--out", "other"]).fails(2, &["`text`", "`TEXT`", "--text-column"]);
}

#[test]
fn a_precision_or_device_that_is_not_to_be_had_is_refused_and_never_replaced() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    let embed = |flag, value| place.run(&["embed", "--model", &model, "in.csv", "--out", "out", flag, value]);
    embed("--precision", "fp16").fails(2, &["fp16", "int8", "fp32"]);
    embed("--precision", "double").fails(2, &["double", "fp32"]);
    embed("--device", "tpu").fails(2, &["tpu", "cpu"]);
    embed("--provider", "tensorrt").fails(2, &["tensorrt", "openvino", "mlas"]);
    place
        .run(&["embed", "--model", &model, "in.csv", "--out", "out", "--provider", "mlas", "--precision", "bf16"])
        .fails(2, &["bf16", "OpenVINO", "--precision fp32"]);
    embed("--max-length", "100000").fails(2, &["100000"]);
    embed("--max-length", "600").fails(2, &["600", "512"]);
    assert!(!place.path("out").exists());
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    place.run(&["ingest", "in.csv", "--out", "out", "--format", "xml"]).fails(2, &["xml", "csv", "jsonl"]);
    place.run(&["ingest", "in.csv", "--out", "out", "--clean", "xml"]).fails(2, &["xml", "html"]);
    place.run(&["train", "features", "--out", "out", "--recipe", "mine"]).fails(2, &["mine", "article"]);
    place.run(&["models", "path", "no-such-model"]).fails(2, &["no-such-model", "all-MiniLM-L6-v2"]);
    place.run(&["fly"]).fails(2, &["fly"]);
    place.run(&["ingest", "in.csv"]).fails(2, &["--out"]);
    place.run(&[]).fails(2, &["Usage"]);
}

#[test]
fn inputs_that_are_not_there_or_hold_nothing_are_errors() {
    let Some(model) = model() else { return };
    let place = Place::new();
    fs_err::create_dir(place.path("empty")).unwrap();
    place.write("header.csv", "text,label\n");
    place.write("photo.jpg", "x");
    place.run(&["ingest", "nowhere.csv", "--out", "out"]).fails(1, &["`nowhere.csv`", "not there"]);
    place.run(&["ingest", "empty", "--out", "out"]).fails(1, &["`empty`", "no reviews", ".csv"]);
    place.run(&["ingest", "photo.jpg", "--out", "out"]).fails(2, &["`photo.jpg`", "--format"]);
    place.run(&["embed", "--model", &model, "header.csv", "--out", "out"]).fails(1, &["header.csv", "no records"]);
}

#[test]
fn a_folder_that_is_no_head_is_refused() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    fs_err::create_dir(place.path("empty")).unwrap();
    place.run(&["score", "in.csv", "--head", "empty", "--out", "out"]).fails(2, &["empty", "bertline train"]);
    place.run(&["score", "in.csv", "--head", "nowhere", "--out", "out"]).fails(2, &["nowhere"]);
    let damaged = place.path("damaged");
    fs_err::create_dir(&damaged).unwrap();
    for file in ["bundle.json", "head.safetensors", "head.onnx"] {
        fs_err::copy(std::path::Path::new(head).join(file), damaged.join(file)).unwrap();
    }
    fs_err::write(damaged.join("head.safetensors"), "short").unwrap();
    place.run(&["score", "in.csv", "--head", "damaged", "--out", "out"]).fails(1, &["head.safetensors"]);
}

#[test]
fn an_error_is_one_line_in_lower_case_without_a_panic() {
    let place = Place::new();
    for arguments in [
        &["ingest", "nowhere.csv", "--out", "out"][..],
        &["show", "nowhere"],
        &["run", "nowhere.toml"],
        &["train", "nowhere", "--out", "head"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: ") && !lines[0].ends_with('.'), "{lines:?}");
        assert!(ran.stdout.is_empty() && lines[0].contains("nowhere"), "{lines:?}");
    }
}
