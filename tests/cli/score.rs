//! `score` and `predict`: every row gets its prediction, in place, with what was kept of it.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};

use super::datasets::{flags, ordinals, read, strings, texts, vectors};
use super::fixtures::{PARQUET_ROWS, head, parquet, parquet_texts};
use super::support::{Place, model, project};

#[test]
fn a_parquet_file_is_scored_in_order_with_its_columns_kept_as_they_are() {
    let Some(head) = head() else { return };
    let place = Place::new();
    parquet(&place.path("in.parquet"));
    place.run(&["score", "in.parquet", "--head", head, "--out", "out", "--keep-columns", "all"]).ok();
    let scored = read(&place, "out/predictions");
    assert_eq!(ordinals(&scored), (0..PARQUET_ROWS as u64).collect::<Vec<_>>());
    assert_eq!(strings(&scored, "source_file"), vec!["in.parquet"; PARQUET_ROWS]);

    let ids = scored["id"].as_primitive::<Int64Type>();
    assert_eq!((ids.value(0), ids.is_null(2), ids.value(39)), (0, true, 39 * 7));
    assert_eq!(texts(&scored, "review"), parquet_texts());
    assert!(matches!(scored["product"].data_type(), DataType::Dictionary(..)), "{}", scored["product"].data_type());
    let products = arrow::compute::cast(&scored["product"], &DataType::Utf8).unwrap();
    let products = products.as_string::<i32>();
    assert_eq!((products.value(0), products.value(37), products.is_null(3)), ("kettle", "train", true));
    assert_eq!(scored["notes"].as_string::<i64>().value(13), "note 13");
    // The input's own `probability` and `row` give way to those of the predictions.
    assert_eq!(scored["probability_input"].as_primitive::<Float64Type>().value(9), 9.0 / 8.0);
    assert_eq!(scored["row_input"].as_primitive::<Int64Type>().value(9), 991);
    assert!(scored.column_by_name("true_label").is_none());
    assert_eq!(strings(&scored, "sentiment")[2], "meh");
}

#[test]
fn probabilities_sum_to_one_and_a_row_without_text_has_none() {
    let Some(head) = head() else { return };
    let place = Place::new();
    parquet(&place.path("in.parquet"));
    place.run(&["score", "in.parquet", "--head", head, "--out", "out"]).ok();
    let scored = read(&place, "out/predictions");
    let columns: Vec<String> = scored.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(columns, ["source_file", "row", "label", "probability", "probabilities", "n_tokens", "truncated"]);
    let (labels, probability) = (texts(&scored, "label"), scored["probability"].as_primitive::<Float32Type>());
    for (row, probabilities) in vectors(&scored, "probabilities").iter().enumerate() {
        if row == 5 || row == 11 {
            assert!(labels[row].is_none() && probability.is_null(row) && probabilities.is_empty(), "row {row}");
            continue;
        }
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5, "row {row}: {probabilities:?}");
        // Labels are in the order of bundle.json: `neg`, `pos`.
        let best = usize::from(probabilities[1] > probabilities[0]);
        assert_eq!(labels[row].as_deref(), Some(["neg", "pos"][best]), "row {row}");
        assert_eq!(probability.value(row), probabilities[best], "row {row}");
    }
    let run = place.json("out/run.json");
    assert_eq!((&run["rows_in"], &run["rows_out"]), (&PARQUET_ROWS.into(), &PARQUET_ROWS.into()));
    let bundle: serde_json::Value =
        serde_json::from_slice(&fs_err::read(format!("{head}/bundle.json")).unwrap()).unwrap();
    assert!(bundle["head_digest"].is_string());
    assert_eq!(run["head"]["digest"], bundle["head_digest"]);
}

#[test]
fn a_label_column_adds_the_true_label_and_the_metrics() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "review,mood\na joy to watch,pos\na waste of time,neg\nno label here,\nanother class,meh\n");
    place.run(&["score", "in.csv", "--head", head, "--out", "out", "--label-column", "mood"]).ok();
    let scored = read(&place, "out/predictions");
    let truth = texts(&scored, "true_label");
    assert_eq!(
        [&truth[0], &truth[1], &truth[3]].map(|label| label.as_deref()),
        [Some("pos"), Some("neg"), Some("meh")]
    );
    let metrics = &place.json("out/run.json")["metrics"];
    assert!(metrics["accuracy"].is_f64() && metrics["log_loss"].is_f64(), "{metrics}");
    assert_eq!(metrics["rows"], 2, "only rows whose label the head knows can be measured");
    // Labels are in the order of bundle.json: `neg`, `pos`.
    let probabilities = vectors(&scored, "probabilities");
    let losses = [probabilities[0][1], probabilities[1][0]].map(|truth| -f64::from(truth).ln());
    let log_loss = metrics["log_loss"].as_f64().unwrap();
    assert!((log_loss - losses.iter().sum::<f64>() / 2.0).abs() < 1e-12, "{log_loss} {losses:?}");
}

#[test]
fn the_predictions_of_a_csv_and_of_its_ingested_parquet_are_the_same() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "id,text,label\n1,\"one, two\",pos\n2,,neg\n3,three,pos\n");
    place.run(&["ingest", "in.csv", "--out", "reviews", "--keep-columns", "id"]).ok();
    let score = |input, out| place.run(&["score", input, "--head", head, "--out", out, "--keep-columns", "id"]).ok();
    score("in.csv", "direct");
    score("reviews", "staged");
    let (direct, staged) = (read(&place, "direct/predictions"), read(&place, "staged/predictions"));
    assert_eq!(direct, staged);
    assert_eq!(
        (strings(&direct, "id"), ordinals(&direct)),
        (["1", "2", "3"].map(str::to_owned).to_vec(), vec![0, 1, 2])
    );
    assert_eq!(strings(&direct, "source_file"), ["in.csv"; 3]);
}

#[test]
fn predict_says_what_score_says() {
    let Some(head) = head() else { return };
    let place = Place::new();
    let asked = ["a joy from start to end", "broken after a day", "it is a kettle"];
    place.write("in.pos", asked.join("\n"));
    place.run(&["score", "in.pos", "--head", head, "--out", "out", "--format", "lines"]).ok();
    let scored = read(&place, "out/predictions");
    let typed = place.run(&[&["predict", "--json", "--head", head][..], &asked].concat()).ok();
    let piped = place.run_with_stdin(&["predict", "--json", "--head", head], &asked.join("\n")).ok();
    assert_eq!(typed.stdout, piped.stdout);
    let answers = typed.json_lines();
    assert_eq!(answers.len(), 3);
    let (labels, probability) = (strings(&scored, "label"), scored["probability"].as_primitive::<Float32Type>());
    for (row, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["text"], &answer["label"]), (&asked[row].into(), &labels[row].as_str().into()));
        assert!((answer["probability"].as_f64().unwrap() - f64::from(probability.value(row))).abs() < 1e-4);
    }
    assert_eq!(flags(&scored, "truncated"), [false; 3]);
}

#[test]
fn predict_answers_every_line_of_its_input() {
    let Some(head) = head() else { return };
    let place = Place::new();
    let piped = place.run_with_stdin(&["predict", "--head", head], "first\r\n\nthird\u{85}line\n").ok();
    let lines: Vec<&str> = piped.stdout.split_terminator('\n').collect();
    assert_eq!(lines.len(), 3, "{}", piped.stdout);
    assert!(lines[0].ends_with("\tfirst") && lines[1].starts_with("-\t") && lines[2].ends_with("third\u{85}line"));
}

#[test]
fn a_dictionary_of_texts_is_scored_as_the_texts_are() {
    let Some(head) = head() else { return };
    let place = Place::new();
    let texts = ["a fine film", "a dull film", "a fine film"];
    let dictionary: arrow::array::DictionaryArray<Int32Type> = texts.iter().copied().collect();
    let large = arrow::array::LargeStringArray::from_iter_values(texts);
    for (name, column) in [
        ("dictionary", std::sync::Arc::new(dictionary) as arrow::array::ArrayRef),
        ("large", std::sync::Arc::new(large)),
        ("plain", std::sync::Arc::new(arrow::array::StringArray::from_iter_values(texts))),
    ] {
        let batch = arrow::array::RecordBatch::try_from_iter([("text", column)]).unwrap();
        let file = fs_err::File::create(place.path("in.parquet")).unwrap().into_file();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        place.run(&["score", "in.parquet", "--head", head, "--out", name]).ok();
    }
    let plain = read(&place, "plain/predictions");
    assert_eq!(read(&place, "dictionary/predictions"), plain);
    assert_eq!(read(&place, "large/predictions"), plain);
    assert_eq!(strings(&plain, "label").len(), 3);
}

#[test]
fn a_head_is_scored_by_the_provider_of_its_training_unless_another_is_asked_for() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.embed(&model, &[&project("tests/demo/tree"), "--out", "features", "--provider", "mlas"]);
    place.run(&["train", "features", "--out", "head"]).ok();
    place.write("in.csv", "text\nfine\n");
    place.run(&["score", "in.csv", "--head", "head", "--out", "same"]).ok();
    assert_eq!(place.json("same/run.json")["numerics"], "fp32/mlas-cpu");
    let other = ["score", "in.csv", "--head", "head", "--out", "other", "--provider", "openvino"];
    place.run(&other).ok().says(&["fp32/mlas-cpu", "fp32/openvino-cpu"]);
    let probability = |out: &str| read(&place, out)["probability"].as_primitive::<Float32Type>().value(0);
    assert!((probability("same/predictions") - probability("other/predictions")).abs() < 1e-4);
}
