//! `export`: the ONNX file, in plain ONNX Runtime from Python, says what `predict` says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::fixtures::{distinct_text, head};
use super::support::{Place, Ran, model, project};

/// A Python that has onnxruntime and tokenizers, or `None` after saying that the test skips.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("BERTLINE_TEST_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!(
            "skipped: BERTLINE_TEST_PYTHON names no Python with onnxruntime and tokenizers (`make test` sets it)"
        );
    }
    found
}

/// Texts of all lengths, one of them longer than the encoder reads.
fn texts() -> Vec<String> {
    let odd = ["Ein schöner Film!", "不错", "a fine little film", "two hours that I want back", "."];
    odd.into_iter().map(str::to_owned).chain([3, 30, 400].map(|words| distinct_text(words, words))).collect()
}

/// The Python lines of the README, with other texts, and their probabilities as JSON.
fn in_python(place: &Place, python: &Path, texts: &[String]) -> Vec<Vec<f64>> {
    let readme = fs_err::read_to_string(project("README.md")).unwrap();
    let lines = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let given = format!("texts = {}", serde_json::to_string(texts).unwrap());
    let script: Vec<&str> =
        lines.lines().map(|line| if line.starts_with("texts = ") { given.as_str() } else { line }).collect();
    let script = script.join("\n").replace("print(probabilities)", "print(json.dumps(probabilities.tolist()))");
    place.write("served.py", format!("import json\n{script}\n"));
    let ran = Command::new(python).arg("served.py").current_dir(place.path("")).output().unwrap();
    serde_json::from_str(&Ran::of(&ran).ok().stdout).unwrap()
}

/// What `predict` says of the texts, class by class.
fn predicted(place: &Place, head: &str, texts: &[String]) -> Vec<Vec<f64>> {
    let arguments: Vec<&str> =
        ["predict", "--head", head, "--json", "--"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let lines = place.run(&arguments).ok().json_lines();
    let numbers = |line: &Value| {
        let probabilities = line["probabilities"].as_object().unwrap();
        probabilities.values().map(|value| value.as_f64().unwrap()).collect()
    };
    lines.iter().map(numbers).collect()
}

/// How far the file's probabilities are from `predict`'s, text by text.
fn differences(place: &Place, python: &Path, head: &str) -> Vec<f64> {
    let texts = texts();
    let (found, due) = (in_python(place, python, &texts), predicted(place, head, &texts));
    assert_eq!(found.len(), texts.len());
    let furthest = |(found, due): (&Vec<f64>, &Vec<f64>)| {
        assert_eq!(found.len(), due.len());
        found.iter().zip(due).map(|(found, due)| (found - due).abs()).fold(0.0, f64::max)
    };
    found.iter().zip(&due).map(furthest).collect()
}

fn assert_same(place: &Place, python: &Path, head: &str) {
    let differences = differences(place, python, head);
    assert!(differences.iter().all(|difference| *difference < 1e-5), "{differences:?}");
}

/// Embeds the demo's tree so, trains a head on it and exports that; the file's size.
fn exported(place: &Place, model: &str, flags: &[&str]) -> u64 {
    let tree = project("tests/demo/tree");
    place.embed(model, &[&["--overwrite", "--out", "features", tree.as_str()], flags].concat());
    place.run(&["train", "features", "--overwrite", "--out", "head"]).ok();
    place.run(&["export", "--head", "head", "--overwrite", "--out", "served/model.onnx"]).ok();
    fs_err::metadata(place.path("served/model.onnx")).unwrap().len()
}

#[test]
fn plain_onnx_runtime_in_python_scores_identically() {
    let (Some(head), Some(python)) = (head(), python()) else { return };
    let place = Place::new();
    let told = place.run(&["export", "--head", head, "--out", "served/model.onnx"]).ok();
    told.says(&["input_ids", "attention_mask", "probabilities", "neg, pos"]);
    assert_same(&place, &python, head);
}

#[test]
fn every_pooling_and_cut_is_in_the_file() {
    let (Some(model), Some(python)) = (model(), python()) else { return };
    let place = Place::new();
    let flags = ["--pooling", "cls-mean", "--layers", "last4", "--truncation", "tail", "--max-length", "16"];
    exported(&place, &model, &flags);
    assert_same(&place, &python, "head");
}

#[test]
fn an_int8_heads_file_computes_in_8_bits() {
    let (Some(model), Some(python)) = (model(), python()) else { return };
    let place = Place::new();
    let plain = exported(&place, &model, &["--precision", "fp32"]);
    let quantised = exported(&place, &model, &["--precision", "int8"]);
    assert!(quantised * 10 < plain * 8, "{quantised} bytes, {plain} in fp32");
    // Where one value rounds to another of 255, all that follows does: a head of these few reviews moves by up to a
    // tenth between fp32 and int8, and by a third of that between two libraries' int8.
    let differences = differences(&place, &python, "head");
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    assert!(mean < 0.02 && differences.iter().all(|difference| *difference < 0.08), "{differences:?}");
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_written() {
    let (Some(model), Some(head)) = (model(), head()) else { return };
    let place = Place::new();
    place.write("served/tokenizer.json", "{}");
    let out = ["--out", "served/model.onnx"];
    place.run(&[&["export", "--head", head][..], &out].concat()).fails(2, &["tokenizer.json", "--overwrite"]);
    place.run(&["export", "--head", head, "--out", "served"]).fails(2, &["served/model.onnx"]);
    place.run(&[&["export", "--head", "nowhere"][..], &out].concat()).fails(2, &["nowhere"]);
    let tree = project("tests/demo/tree");
    place.embed(&model, &[tree.as_str(), "--out", "features", "--truncation", "head-tail"]);
    place.run(&["train", "features", "--out", "head"]).ok();
    place.run(&["export", "--head", "head", "--out", "new/model.onnx"]).fails(2, &["head-tail", "head and tail"]);
    assert!(!place.path("new").exists() && !place.path("served/model.onnx").exists());
}
