//! `tokenize`: Hugging Face's ids through the real binary, for every input that the stages read.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int32Type};
use serde_json::{Value, json};

use super::datasets::read_file;
use super::support::{Place, model, shared};

/// The reference texts as they come back from `tokenize`: row, token count, ids.
fn references(path: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for batch in read_file(Path::new(path)) {
        let cast = |column: &str, kind: &DataType| arrow::compute::cast(&batch[column], kind).unwrap();
        let texts = cast("text", &DataType::Utf8);
        let counts = cast("n_tokens", &DataType::Int32);
        let lists = batch["input_ids"].as_list::<i32>();
        for row in 0..batch.num_rows() {
            let (count, ids) = (counts.as_primitive::<Int32Type>().value(row), lists.value(row));
            let ids = ids.as_primitive::<Int32Type>().values().to_vec();
            let line = json!({ "row": all.len(), "n_tokens": count, "truncated": count > 250, "ids": ids });
            all.push((texts.as_string::<i32>().value(row).to_owned(), line));
        }
    }
    all
}

#[test]
fn ids_and_counts_are_hugging_faces_and_the_rate_is_said() {
    let Some(model) = model() else { return };
    let Some(path) = shared("reference/minilm-cls-250.parquet") else { return };
    let place = Place::new();
    let expected = references(&path);
    assert_eq!(expected.len(), 118);
    let texts = expected.iter().map(|(text, _)| format!("{}\n", json!({ "text": text })));
    place.write("in.jsonl", texts.collect::<String>());
    for (input, threads) in [("in.jsonl", "1"), (path.as_str(), "2")] {
        let ran = place.run(&["tokenize", input, "--model", &model, "--threads", threads]).ok();
        let ran = ran.says(&["tokenize: 118 texts, ", " texts/s, ", " MB/s", &format!(" on {threads} thread")]);
        let found = ran.json_lines();
        assert_eq!(found.len(), expected.len());
        for (mut found, (text, expected)) in found.into_iter().zip(&expected) {
            assert_eq!(found["source_file"], input);
            found.as_object_mut().unwrap().remove("source_file");
            assert_eq!(&found, expected, "{text:?}");
        }
    }
}

#[test]
fn texts_are_read_as_the_stages_read_them() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", "id,said,stars\n1,a fine<br />film,5\n2,,1\n3,\"a fine film, a fine cast\",4\n");
    place.write("tree/pos/1.txt", "a fine film");
    let tokenize = |arguments: &[&str]| place.run(&[&["tokenize", "--model", &model], arguments].concat()).ok();
    let clean = tokenize(&["a.csv", "--text-column", "said", "--clean", "html", "--max-length", "5"]).json_lines();
    let tree = tokenize(&["tree", "--json", "--quiet"]);
    assert!(tree.stderr.is_empty(), "{}", tree.stderr);
    let tree = tree.json_lines().remove(0);
    assert_eq!(tree["source_file"], "tree/pos/1.txt");
    assert_eq!(clean[0]["ids"], tree["ids"]);
    // CSV has no null: an empty field is an empty text, of two special tokens.
    assert_eq!((&clean[1]["row"], &clean[1]["n_tokens"]), (&json!(1), &json!(2)));
    assert_eq!((&clean[2]["n_tokens"], &clean[2]["truncated"]), (&json!(9), &json!(true)));
    assert_eq!(clean[2]["ids"].as_array().unwrap().len(), 5);
    let limited = tokenize(&["a.csv", "--text-column", "said", "--limit", "1"]).json_lines();
    assert_eq!(limited.len(), 1);
}

#[test]
fn a_missing_text_is_a_line_and_an_unreadable_record_a_warning() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.jsonl", "{\"text\": \"fine\"}\n{\"text\": null}\n{\"text\": \n");
    let ran = place.run(&["tokenize", "in.jsonl", "--model", &model, "--quiet"]).ok();
    assert!(ran.stderr.starts_with("warning: 1 records could not be read"), "{}", ran.stderr);
    let found = ran.json_lines();
    assert_eq!(found.len(), 2);
    assert_eq!((&found[1]["n_tokens"], &found[1]["ids"]), (&Value::Null, &json!([])));
    place.write("empty.jsonl", "");
    place.run(&["tokenize", "empty.jsonl", "--model", &model]).fails(1, &["no records", "nothing to tokenize"]);
    place.run(&["tokenize", "in.jsonl", "--model", &model, "--max-length", "2"]).fails(2, &["--max-length"]);
}
