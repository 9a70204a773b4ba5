//! An encoder that fails: on single texts, on large micro-batches, on everything. `BERTLINE_FAULT` forces it, in the
//! real binary, right where the provider would.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::datasets::{Embedded, embedded, max_difference, ordinals, read, strings, texts};
use super::fixtures::{csv, distinct_text, head};
use super::support::{Place, Ran, model};

/// A word that no generated text holds.
const POISON: &str = "zebra";

/// The fault of a text with [`POISON`] in it.
fn poison(model: &str) -> String {
    let path = Path::new(model).join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    format!("encode:id={}", tokenizer["model"]["vocab"][POISON].as_i64().unwrap())
}

fn run(place: &Place, fault: &str, arguments: &[&str]) -> Ran {
    Ran::of(&place.command(arguments).env("BERTLINE_FAULT", fault).output().unwrap())
}

/// 60 reviews of many lengths; 7, 31 and 45 are poison, the last two word for word the same.
fn reviews() -> Vec<String> {
    let text = |row: usize| match row {
        7 => format!("a {POISON} at the opera"),
        31 | 45 => format!("{} {POISON}", distinct_text(31, 60)),
        _ => distinct_text(row, 4 + row % 9 * 5),
    };
    (0..60).map(text).collect()
}

fn lines(reviews: &[String]) -> String {
    let mut csv = "text,label\n".to_owned();
    reviews.iter().enumerate().for_each(|(row, text)| csv.push_str(&format!("{text},{}\n", ["pos", "neg"][row % 2])));
    csv
}

fn parquet(path: &Path, texts: &[String]) {
    let column = Arc::new(StringArray::from_iter_values(texts)) as _;
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(fs_err::File::create(path).unwrap().into_file(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Every one of `rows` must have the vector that it has in `undisturbed`.
#[track_caller]
fn assert_same_vectors(rows: &[Embedded], undisturbed: &[Embedded]) {
    for row in rows {
        let place = |other: &&Embedded| (&other.source_file, other.row) == (&row.source_file, row.row);
        let other = undisturbed.iter().find(place).unwrap();
        assert_eq!((&row.key, &row.label, row.n_tokens), (&other.key, &other.label, other.n_tokens), "row {}", row.row);
        assert!(max_difference(&row.embedding, &other.embedding) <= 1e-4, "{} row {}", row.source_file, row.row);
    }
}

/// The rejects as (file, row), sorted; all must be of the encoder.
fn failed(place: &Place, out: &str) -> Vec<(String, u64)> {
    let rejects = read(place, &format!("{out}/rejects"));
    assert!(strings(&rejects, "reason").iter().all(|reason| reason == "encoder_failed"));
    let mut failed: Vec<_> = strings(&rejects, "source_file").into_iter().zip(ordinals(&rejects)).collect();
    failed.sort();
    failed
}

fn at(file: &str, rows: &[u64]) -> Vec<(String, u64)> {
    rows.iter().map(|row| (file.to_owned(), *row)).collect()
}

#[test]
fn a_poison_text_is_rejected_with_its_place_and_every_other_row_has_its_vector() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let reviews = reviews();
    place.write("in.csv", lines(&reviews));
    let embed =
        |out| ["embed", "--model", &model, "in.csv", "--precision", "fp32", "--max-reject-share", "1", "--out", out];
    place.run(&embed("whole")).ok();
    let told = run(&place, &poison(&model), &embed("out")).ok();
    told.says(&["warning: the encoder failed on the text of 3 rows", "encoder_failed", "split and tried again"]);

    assert_eq!(failed(&place, "out"), at("in.csv", &[7, 31, 45]));
    let rejects = read(&place, "out/rejects");
    for (row, detail) in ordinals(&rejects).into_iter().zip(strings(&rejects, "detail")) {
        assert!(detail.starts_with("a fault that BERTLINE_FAULT asked for: ") && !detail.contains('\n'), "{detail}");
        let raw = rejects["raw_prefix"].as_binary::<i32>();
        let at = ordinals(&rejects).iter().position(|other| *other == row).unwrap();
        let text = reviews[row as usize].as_bytes();
        assert_eq!(raw.value(at), &text[..text.len().min(200)], "row {row}");
    }
    let rows = embedded(&place, "out");
    assert_eq!(rows.len(), 57);
    assert_same_vectors(&rows, &embedded(&place, "whole"));

    let report = place.json("out/run.json");
    for (key, value) in [("rows_in", 60), ("rows_out", 57), ("rows_rejected", 3), ("rows_failed", 3)] {
        assert_eq!(report[key], value, "{key}");
    }
    assert!(report["batches_split"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["rows_deduplicated"], 0, "a failed duplicate refers to nothing");
    let undisturbed = place.json("whole/run.json");
    assert_eq!((&undisturbed["batches_split"], &undisturbed["rows_failed"]), (&0.into(), &0.into()));
    assert!(report["tokens"].as_u64() < undisturbed["tokens"].as_u64(), "failed attempts are no tokens");
}

#[test]
fn an_encoder_that_takes_one_row_at_a_time_encodes_everything() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(60, 12));
    let embed = |out| ["embed", "--model", &model, "in.csv", "--precision", "fp32", "--out", out];
    place.run(&embed("whole")).ok();
    run(&place, "encode:rows>1", &embed("out")).ok().says(&["split and tried again"]);
    assert_eq!(embedded(&place, "out").len(), 60);
    assert_same_vectors(&embedded(&place, "out"), &embedded(&place, "whole"));
    let report = place.json("out/run.json");
    assert_eq!((&report["rows_rejected"], &report["rows_failed"]), (&0.into(), &0.into()));
    assert_eq!(report["tokens"], place.json("whole/run.json")["tokens"]);
    assert!(!place.path("out/rejects").exists());
}

#[test]
fn a_poison_text_is_rejected_in_every_unit_that_holds_it_and_tried_again_by_a_resumed_run() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let poisoned = format!("the {POISON} again");
    // The first unit takes long, so that the second, which has nothing to encode but a word, must wait to hear of it.
    let mut first: Vec<String> = (0..400).map(|row| distinct_text(row, 30)).collect();
    first.push(poisoned.clone());
    parquet(&place.path("a.parquet"), &first);
    parquet(&place.path("b.parquet"), &[poisoned.clone(), first[3].clone(), "fine".to_owned(), poisoned.clone()]);
    // Nothing here can be encoded, which ends the run.
    let mut last: Vec<String> = (0..8).map(|row| format!("{} {POISON}", distinct_text(row, 10))).collect();
    last.push(poisoned);
    parquet(&place.path("c.parquet"), &last);
    let embed = |inputs: &[&'static str], out: &'static str| {
        let arguments = ["embed", "--model", &model, "--precision", "fp32", "--out", out];
        [&arguments, inputs].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let with_fault = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&place, &poison(&model), &arguments)
    };
    let all = ["a.parquet", "b.parquet", "c.parquet"];

    with_fault(&embed(&all[..2], "two")).ok();
    let rejected: Vec<_> = [at("a.parquet", &[400]), at("b.parquet", &[0, 3])].concat();
    assert_eq!(failed(&place, "two"), rejected);
    // Each row that is left finds its vector: `embedded` checks it.
    assert_eq!(embedded(&place, "two").len(), 402);
    assert_eq!(place.json("two/run.json")["rows_failed"], 3);
    assert_eq!(place.json("two/run.json")["rows_deduplicated"], 1);

    with_fault(&embed(&all, "out")).fails(1, &["c.parquet", "a fault that BERTLINE_FAULT asked for"]);
    let again = embed(&all, "out");
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    place.run(&again).ok().says(&["resuming: 2 units"]);
    assert_eq!(failed(&place, "out"), rejected, "what is committed stays");
    let of_last = embedded(&place, "out").into_iter().filter(|row| row.source_file == "c.parquet").count();
    assert_eq!(of_last, 9);
}

#[test]
fn score_has_no_answer_for_a_poison_text_and_the_others_keep_theirs() {
    let Some((model, head)) = model().zip(head()) else { return };
    let place = Place::new();
    place.write("in.csv", lines(&reviews()));
    let score = |out| ["score", "in.csv", "--head", head, "--label-column", "label", "--out", out];
    place.run(&score("whole")).ok();
    run(&place, &poison(&model), &score("out")).ok().says(&["text of 3 rows, which have no label"]);
    let (scored, undisturbed) = (read(&place, "out/predictions"), read(&place, "whole/predictions"));
    assert_eq!(ordinals(&scored), (0..60).collect::<Vec<u64>>());
    let (labels, expected) = (texts(&scored, "label"), texts(&undisturbed, "label"));
    for row in 0..60 {
        let due = if [7, 31, 45].contains(&row) { &None } else { &expected[row] };
        assert_eq!(&labels[row], due, "row {row}");
    }
    for column in ["probability", "probabilities", "n_tokens", "truncated"] {
        assert_eq!(scored[column].null_count(), 3, "{column}");
    }
    assert_eq!(texts(&scored, "true_label"), texts(&undisturbed, "true_label"));
    let report = place.json("out/run.json");
    for (key, value) in [("rows_out", 60), ("rows_rejected", 0), ("rows_failed", 3)] {
        assert_eq!(report[key], value, "{key}");
    }
    assert_eq!(report["metrics"]["rows"], 57);
}

#[test]
fn a_broken_provider_ends_the_run_with_its_message_and_nothing_is_committed() {
    let Some(head) = head() else { return };
    let Some(model) = model() else { return };
    let place = Place::new();
    for (rows, name) in [(60, "many.csv"), (1, "one.csv")] {
        place.write(name, csv(rows, 8));
        for arguments in
            [["embed", "--model", &model, name, "--out", "out"], ["score", "--head", head, name, "--out", "out"]]
        {
            let ran = run(&place, "encode:rows>0", &arguments);
            let said = ran.fails(1, &[name, "a fault that BERTLINE_FAULT asked for"]).stderr;
            assert!(said.lines().last().unwrap().starts_with("error: cannot process"), "{said}");
            assert!(!place.path("out").exists(), "{arguments:?}");
        }
    }
    let predict = run(&place, "encode:rows>0", &["predict", "--head", head, "fine"]);
    predict.fails(1, &["a fault that BERTLINE_FAULT asked for"]);
}

#[test]
fn predict_says_which_text_has_no_answer_and_answers_the_others() {
    let Some((model, head)) = model().zip(head()) else { return };
    let place = Place::new();
    let bad = format!("no {POISON} here");
    let ran = run(&place, &poison(&model), &["predict", "--head", head, "a fine film", &bad]).ok();
    let answers: Vec<&str> = ran.stdout.lines().collect();
    assert!(answers[0].starts_with("pos\t") || answers[0].starts_with("neg\t"), "{answers:?}");
    assert_eq!(answers[1..], [format!("-\t-\t{bad}")]);
    ran.says(&["warning: no answer for `no zebra here`", "BERTLINE_FAULT"]);
    let alone = run(&place, &poison(&model), &["predict", "--json", "--head", head, &bad]).ok().json_lines();
    assert!(alone[0]["label"].is_null() && alone[0]["error"].is_string(), "{alone:?}");
}

#[test]
fn a_fault_that_is_none_is_refused() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    let ran = run(&place, "encode:sometimes", &["embed", "--model", &model, "in.csv", "--out", "out"]);
    ran.fails(2, &["`BERTLINE_FAULT`", "`encode:sometimes`", "encode:rows>N"]);
}
