//! The tokenizer against Hugging Face's ids, and what a broken file says.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{Pool, Truncation};
use super::*;

const MAX_LENGTH: usize = 250;

struct Reference {
    name: String,
    text: String,
    n_tokens: i64,
    ids: Vec<u32>,
}

fn references() -> Option<Vec<Reference>> {
    let path = crate::testing::shared("reference/minilm-cls-250.parquet")?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let mut all = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |column: &str| arrow::compute::cast(&batch[column], &arrow::datatypes::DataType::Utf8).unwrap();
        let (names, texts) = (text("name"), text("text"));
        let counts = arrow::compute::cast(&batch["n_tokens"], &arrow::datatypes::DataType::Int64).unwrap();
        let ids = batch["input_ids"].as_list::<i32>();
        for row in 0..batch.num_rows() {
            let row_ids = ids.value(row);
            all.push(Reference {
                name: names.as_string::<i32>().value(row).to_owned(),
                text: texts.as_string::<i32>().value(row).to_owned(),
                n_tokens: counts.as_primitive::<Int64Type>().value(row),
                ids: row_ids.as_primitive::<Int32Type>().values().iter().map(|&id| id as u32).collect(),
            });
        }
    }
    Some(all)
}

#[test]
fn ids_and_counts_equal_hugging_faces() {
    let (Some(model), Some(references)) = (crate::testing::model_dir(), references()) else { return };
    let tokenizer = Tokenizer::load(&model, MAX_LENGTH).unwrap();
    let texts: Vec<&str> = references.iter().map(|reference| reference.text.as_str()).collect();
    let tokenized = tokenizer.encode(&texts, &Pool::new(2).unwrap());
    assert_eq!(tokenized.len(), references.len());
    assert!(references.len() >= 118);
    for (row, reference) in references.iter().enumerate() {
        assert_eq!(tokenized.ids(row), reference.ids, "ids of {}", reference.name);
        assert_eq!(i64::from(tokenized.n_tokens(row)), reference.n_tokens, "count of {}", reference.name);
        assert_eq!(tokenized.truncated(row), reference.n_tokens > MAX_LENGTH as i64, "{}", reference.name);
    }
    assert!((0..tokenized.len()).any(|row| tokenized.truncated(row)));
}

#[test]
fn truncation_keeps_the_first_tokens_and_both_specials() {
    let Some(model) = crate::testing::model_dir() else { return };
    let pool = Pool::new(1).unwrap();
    let long = Tokenizer::load(&model, 512).unwrap().encode(&["a fine film with a fine cast"], &pool);
    let short = Tokenizer::load(&model, 5).unwrap().encode(&["a fine film with a fine cast", ""], &pool);
    assert_eq!((long.n_tokens(0), short.n_tokens(0), short.length(0)), (9, 9, 5));
    assert_eq!(short.ids(0)[..4], long.ids(0)[..4]);
    assert_eq!(short.ids(0)[4], long.ids(0)[8]);
    assert_eq!(short.ids(1), [long.ids(0)[0], long.ids(0)[8]]);
}

#[test]
fn the_tail_or_both_ends_are_kept_where_that_is_asked_for() {
    let Some(model) = crate::testing::model_dir() else { return };
    let pool = Pool::new(1).unwrap();
    let texts = ["one two three four five six seven eight nine ten", "one two three four five six", ""];
    let kept = |max_length, truncation| {
        let tokenizer = Tokenizer::load(&model, Window { max_length, truncation }).unwrap();
        let all = tokenizer.encode(&texts, &pool);
        (0..3).map(|text| (all.ids(text).to_vec(), all.n_tokens(text), all.truncated(text))).collect::<Vec<_>>()
    };
    let whole = kept(64, Truncation::Head);
    // Six tokens and two specials.
    for (truncation, first) in [(Truncation::Head, 6), (Truncation::Tail, 0), (Truncation::HeadTail, 2)] {
        let cut = kept(8, truncation);
        let ids = &whole[0].0;
        let due = [&ids[..=first], &ids[1 + 10 - (6 - first)..]].concat();
        assert_eq!(cut[0], (due, 12, true), "{truncation}");
        assert_eq!(cut[1..], whole[1..], "{truncation}: what fits is left as it is");
    }
}

#[test]
fn the_order_of_texts_does_not_depend_on_threads() {
    let Some(model) = crate::testing::model_dir() else { return };
    let tokenizer = Tokenizer::load(&model, 32).unwrap();
    let texts: Vec<String> =
        (0..500).map(|index| format!("review number {index} {}", "word ".repeat(index % 40))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encode = |threads| tokenizer.encode(&texts, &Pool::new(threads).unwrap());
    assert_eq!(encode(1), encode(4));
}

#[test]
fn a_length_without_room_for_text_is_a_usage_error() {
    let Some(model) = crate::testing::model_dir() else { return };
    let error = Tokenizer::load(&model, 2).err().unwrap();
    assert!(error.is_usage());
    assert_eq!(error.to_string(), "max_length 2 is too small: 2 special tokens and one of the text need 3");
}

#[test]
fn a_missing_corrupt_or_truncated_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let message = || {
        let error = Tokenizer::load(folder.path(), 16).err().unwrap();
        assert!(!error.is_usage());
        error.to_string()
    };
    assert!(message().contains("tokenizer.json"));
    for broken in ["{\"version\": \"1.0\", \"model\": {\"type\": \"Word", "[]", "{}", "not json"] {
        std::fs::write(&path, broken).unwrap();
        assert!(message().contains("tokenizer.json"), "{broken}: {}", message());
    }
}

#[test]
fn a_normalizer_without_its_fields_is_refused_at_load() {
    let Some(model) = crate::testing::model_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut json: Value = serde_json::from_slice(&std::fs::read(model.join("tokenizer.json")).unwrap()).unwrap();
    json["normalizer"].as_object_mut().unwrap().remove("strip_accents").unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    assert!(Tokenizer::load(folder.path(), 16).err().unwrap().to_string().contains("tokenizer.json"));
}

#[test]
fn the_digest_ignores_the_files_own_padding_and_the_order_of_keys() {
    let Some(model) = crate::testing::model_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut json: Value = serde_json::from_slice(&std::fs::read(model.join("tokenizer.json")).unwrap()).unwrap();
    let write = |json: &Value| {
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        Tokenizer::load(folder.path(), 64).unwrap().digest().to_owned()
    };
    let original = Tokenizer::load(&model, 64).unwrap().digest().to_owned();
    json["truncation"]["max_length"] = 77.into();
    json["padding"] = Value::Null;
    assert_eq!(write(&json), original);
    json["normalizer"]["lowercase"] = false.into();
    assert_ne!(write(&json), original);
}

#[test]
fn the_shortcut_gives_the_ids_of_the_whole_file() {
    let Some(model) = crate::testing::model_dir() else { return };
    let tokenizer = Tokenizer::load(&model, 512).unwrap();
    assert!(tokenizer.inner.normal.is_some());
    let texts = [
        "A FINE film,\u{85}caf\u{e9} cafe\u{301}s.",
        "[SEP] stands here, [sep] too [MASK",
        "[S\u{0}EP]\t\r\n\u{7f}\u{200b}x",
        "\u{4e2d}\u{6587}a\u{130}\u{df}\u{fb01}\u{1d11e}\u{fffd}",
        "",
        "\u{301}\u{316}a",
    ];
    let found = tokenizer.encode(&texts, &Pool::new(1).unwrap());
    for (row, text) in texts.iter().enumerate() {
        let mut tokens = Vec::new();
        tokenizer.inner.whole().encode_into(text, &options(true), &mut tokens).unwrap();
        let expected: Vec<u32> = tokens.into_iter().map(u32::from).collect();
        assert_eq!(found.ids(row), expected, "{text:?}");
    }
}
