//! Vectors and token counts against Hugging Face's, through the real binary.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int32Type};

use super::datasets::{Embedded, cosine, embedded, max_difference, read_file};
use super::support::{Place, model, shared};

/// A text of the reference with Hugging Face's token count and CLS vector.
struct Expected {
    name: String,
    text: String,
    n_tokens: i32,
    cls: Vec<f32>,
}

fn expected(path: &str) -> Vec<Expected> {
    let mut all = Vec::new();
    for batch in read_file(Path::new(path)) {
        let n_tokens = arrow::compute::cast(&batch["n_tokens"], &arrow::datatypes::DataType::Int32).unwrap();
        let text = arrow::compute::cast(&batch["text"], &arrow::datatypes::DataType::Utf8).unwrap();
        let name = arrow::compute::cast(&batch["name"], &arrow::datatypes::DataType::Utf8).unwrap();
        let floats = arrow::datatypes::DataType::new_list(arrow::datatypes::DataType::Float32, true);
        let cls = arrow::compute::cast(&batch["cls"], &floats).unwrap();
        for row in 0..batch.num_rows() {
            all.push(Expected {
                name: name.as_string::<i32>().value(row).to_owned(),
                text: text.as_string::<i32>().value(row).to_owned(),
                n_tokens: n_tokens.as_primitive::<Int32Type>().value(row),
                cls: cls.as_list::<i32>().value(row).as_primitive::<Float32Type>().values().to_vec(),
            });
        }
    }
    all
}

fn jsonl<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(|text| format!("{}\n", serde_json::json!({ "text": text }))).collect()
}

#[test]
fn vectors_and_token_counts_agree_with_hugging_face() {
    let Some(model) = model() else { return };
    let Some(path) = shared("reference/minilm-cls-250.parquet") else { return };
    let place = Place::new();
    let expected = expected(&path);
    assert_eq!(expected.len(), 118);
    place.write("in.jsonl", jsonl(expected.iter().map(|expected| expected.text.as_str())));
    place.embed(&model, &["in.jsonl", "--out", "out", "--precision", "fp32", "--max-length", "250"]);
    let found: HashMap<u64, Embedded> = embedded(&place, "out").into_iter().map(|row| (row.row, row)).collect();
    for (row, Expected { name, text, n_tokens, cls }) in expected.iter().enumerate() {
        // An empty text has a vector at Hugging Face and is a reject here.
        let Some(found) = found.get(&(row as u64)) else {
            assert!(text.is_empty(), "{name} is not there");
            continue;
        };
        assert_eq!(found.n_tokens as i32, *n_tokens, "{name}");
        assert_eq!(found.truncated, *n_tokens > 250, "{name}");
        assert!(cosine(&found.embedding, cls) >= 0.99999, "{name}: cosine {}", cosine(&found.embedding, cls));
        assert!(max_difference(&found.embedding, cls) <= 1e-3, "{name}: {}", max_difference(&found.embedding, cls));
    }
}

#[test]
fn a_review_alone_has_the_vector_that_it_has_among_others() {
    let Some(model) = model() else { return };
    let Some(path) = shared("reference/minilm-cls-250.parquet") else { return };
    let place = Place::new();
    let expected = expected(&path);
    let some: Vec<&str> = expected.iter().map(|expected| expected.text.as_str()).take(24).collect();
    place.write("all.jsonl", jsonl(some.iter().copied()));
    place.embed(&model, &["all.jsonl", "--out", "all"]);
    let among = embedded(&place, "all");
    for row in [0, 7, 23] {
        place.write("one.jsonl", jsonl(some[row..=row].iter().copied()));
        place.embed(&model, &["one.jsonl", "--out", "one", "--overwrite"]);
        let alone = embedded(&place, "one");
        assert!(max_difference(&alone[0].embedding, &among[row].embedding) <= 1e-4, "row {row}");
    }
}
