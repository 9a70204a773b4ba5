//! What stages leave behind has the columns that `schemas/` documents, and no null where none may be.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use serde_json::Value;

use super::datasets::read;
use super::fixtures::head;
use super::support::{Place, model, project};

/// The columns of `schemas/<dataset>.toml`.
fn documented(dataset: &str) -> Vec<Value> {
    let text = fs_err::read_to_string(project(&format!("schemas/{dataset}.toml"))).unwrap();
    let contract: Value = toml::from_str(&text).unwrap();
    contract["column"].as_array().unwrap().clone()
}

fn has_type(documented: &str, found: &DataType, width: i32) -> bool {
    match documented {
        "utf8" => found == &DataType::Utf8,
        "binary" => found == &DataType::Binary,
        "uint64" => found == &DataType::UInt64,
        "uint32" => found == &DataType::UInt32,
        "float32" => found == &DataType::Float32,
        "boolean" => found == &DataType::Boolean,
        "key" => found == &DataType::FixedSizeBinary(16),
        "vector" => {
            matches!(found, DataType::FixedSizeList(item, n) if item.data_type() == &DataType::Float32 && *n == width)
        }
        other => panic!("schemas/ has a type `{other}` that this test does not know"),
    }
}

#[track_caller]
fn assert_documented(batch: &RecordBatch, dataset: &str, width: i32, optional: bool) {
    let columns = documented(dataset);
    let wanted: Vec<&Value> = columns.iter().filter(|column| optional || column.get("optional").is_none()).collect();
    let names: Vec<&str> = wanted.iter().map(|column| column["name"].as_str().unwrap()).collect();
    let schema = batch.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names, "{dataset}");
    for (column, field) in wanted.iter().zip(schema.fields()) {
        let kind = column["type"].as_str().unwrap();
        assert!(has_type(kind, field.data_type(), width), "{dataset}: {field} is no {kind}");
        assert_eq!(field.is_nullable(), column["nullable"].as_bool().unwrap(), "{dataset}: {field}");
        assert!(field.is_nullable() || batch[field.name().as_str()].null_count() == 0, "{dataset}: {field}");
    }
}

#[test]
fn every_dataset_has_its_documented_columns() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"text\":\"fine\",\"label\":\"pos\"}\n{\"text\":\"poor\",\"label\":\"neg\"}\n{}\nbroken\n",
    );
    place.run(&["ingest", "in.jsonl", "--max-reject-share", "1", "--out", "reviews"]).ok();
    place.embed(&model, &["in.jsonl", "--max-reject-share", "1", "--out", "features"]);
    // A head with a threshold, which makes predictions have all of their optional columns.
    place.embed(&model, &[&super::support::project("tests/demo/reviews.csv"), "--out", "demo"]);
    place.run(&["train", "demo", "--target-precision", "0.8", "--out", "sure"]).ok();
    let score = ["score", "in.jsonl", "--max-reject-share", "1", "--label-column", "label", "--head"];
    place.run(&[&score[..], &["sure", "--out", "scored"]].concat()).ok();
    assert_documented(&read(&place, "reviews/reviews"), "reviews", 0, false);
    for out in ["reviews", "features", "scored"] {
        assert_documented(&read(&place, &format!("{out}/rejects")), "rejects", 0, false);
    }
    assert_documented(&read(&place, "features/rows"), "rows", 0, false);
    assert_documented(&read(&place, "features/features"), "features", 384, false);
    assert_documented(&read(&place, "scored/predictions"), "predictions", 2, true);
}

#[test]
fn features_say_which_encoder_made_them() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    place.embed(&model, &["in.csv", "--out", "out"]);
    let part = fs_err::read_dir(place.path("out/features")).unwrap().next().unwrap().unwrap().path();
    let file = fs_err::File::open(part).unwrap().into_file();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| metadata.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
    let run = place.json("out/run.json");
    assert_eq!(value("bertline.encoder_id").as_deref(), run["encoder_id"].as_str());
    assert_eq!(value("bertline.numerics").as_deref(), run["numerics"].as_str());
}

#[test]
fn every_report_has_the_documented_figures() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "text\nfine\n");
    place.run(&["score", "in.csv", "--head", head, "--out", "out"]).ok();
    let run = place.json("out/run.json");
    for key in [
        "command",
        "version",
        "started",
        "seconds",
        "rows_in",
        "rows_out",
        "rows_rejected",
        "rows_deduplicated",
        "rows_failed",
        "batches_split",
        "tokens",
        "padded_tokens",
        "padding_ratio",
        "encoder_seconds",
        "tokens_per_second",
        "stage_seconds",
        "limiting_stage",
        "model",
        "encoder_id",
        "numerics",
        "max_length",
        "device",
        "provider",
        "precision",
        "threads",
        "peak_rss_bytes",
    ] {
        assert!(!run[key].is_null(), "{key}: {run}");
    }
    for key in ["path", "bytes", "digest"] {
        assert!(!run["inputs"][0][key].is_null(), "{key}");
    }
    for key in ["units", "rows", "tokens", "seconds"] {
        assert!(run["this_run"][key].is_number(), "{key}");
    }
}
