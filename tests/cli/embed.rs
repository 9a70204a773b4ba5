//! `embed`: rows and features of text trees, CSV and JSON lines.

use super::datasets::{cosine, embedded, key_of, max_difference, ordinals, read, strings, texts, token_counts};
use super::fixtures::distinct_text;
use super::support::{Place, model, project};

#[test]
fn a_text_tree_is_embedded_with_labels_from_its_folders_and_one_feature_a_distinct_text() {
    let Some(model) = model() else { return };
    let place = Place::new();
    for (name, text) in [
        ("reviews/pos/1_9.txt", "a warm and funny film"),
        ("reviews/pos/2_8.txt", "said twice, word for word"),
        ("reviews/neg/1_2.txt", "said twice, word for word"),
        ("reviews/neg/3_1.txt", "dull from end to end"),
        ("reviews/README", "not a review"),
    ] {
        place.write(name, text);
    }
    place.embed(&model, &["reviews", "--out", "out"]);
    let rows = embedded(&place, "out");
    let told: Vec<(&str, u64, Option<&str>)> =
        rows.iter().map(|row| (row.source_file.as_str(), row.row, row.label.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("reviews/neg/1_2.txt", 0, Some("neg")),
            ("reviews/neg/3_1.txt", 0, Some("neg")),
            ("reviews/pos/1_9.txt", 0, Some("pos")),
            ("reviews/pos/2_8.txt", 0, Some("pos")),
        ]
    );
    let keys =
        ["said twice, word for word", "dull from end to end", "a warm and funny film", "said twice, word for word"];
    assert!(rows.iter().zip(keys).all(|(row, text)| row.key == key_of(text)));
    assert_eq!(read(&place, "out/features").num_rows(), 3);
    assert!(rows.iter().all(|row| row.embedding.len() == 384 && row.embedding.iter().all(|value| value.is_finite())));
    assert!(max_difference(&rows[1].embedding, &rows[2].embedding) > 0.01, "two texts have one vector");
    let run = place.json("out/run.json");
    assert_eq!((&run["rows_in"], &run["rows_out"], &run["rows_deduplicated"]), (&4.into(), &4.into(), &1.into()));
}

#[test]
fn a_csv_with_newlines_and_quotes_is_embedded_text_for_text() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "review,label\n\"two\nlines, one comma\",pos\n\"a \"\"quoted\"\" word\",neg\n");
    place.embed(&model, &["in.csv", "--out", "out"]);
    let rows = embedded(&place, "out");
    let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [key_of("two\nlines, one comma"), key_of("a \"quoted\" word")]);
    assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_jsonl_row_without_text_is_rejected_with_its_place_and_rows_are_conserved() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"text\":\"one\",\"label\":\"pos\"}\n{\"label\":\"neg\"}\n{\"text\":\"\"}\n{broken\n{\"text\":\" \"}\n",
    );
    place.embed(&model, &["in.jsonl", "--max-reject-share", "1", "--out", "out"]);
    let rows = embedded(&place, "out");
    assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [0, 4]);
    let rejects = read(&place, "out/rejects");
    let mut rejected: Vec<(u64, String)> = ordinals(&rejects).into_iter().zip(strings(&rejects, "reason")).collect();
    rejected.sort();
    let expected = [(1, "missing_text"), (2, "empty_text"), (3, "bad_json")].map(|(row, why)| (row, why.to_owned()));
    assert_eq!(rejected, expected);
    assert_eq!(strings(&rejects, "source_file"), ["in.jsonl"; 3]);
    let run = place.json("out/run.json");
    assert_eq!((&run["rows_in"], &run["rows_out"], &run["rows_rejected"]), (&5.into(), &2.into(), &3.into()));
}

#[test]
fn a_long_text_is_truncated_and_says_so() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let long = distinct_text(1, 60);
    place.write("in.jsonl", format!("{{\"text\":\"{long}\"}}\n{{\"text\":\"short\"}}\n"));
    place.embed(&model, &["in.jsonl", "--out", "cut", "--max-length", "16"]);
    place.embed(&model, &["in.jsonl", "--out", "whole"]);
    let (cut, whole) = (embedded(&place, "cut"), embedded(&place, "whole"));
    assert_eq!((cut[0].truncated, cut[1].truncated, whole[0].truncated), (true, false, false));
    assert_eq!(cut[0].n_tokens, whole[0].n_tokens, "tokens are counted before truncation");
    assert!(cut[0].n_tokens > 60);
    assert!(max_difference(&cut[0].embedding, &whole[0].embedding) > 0.01);
    assert!(max_difference(&cut[1].embedding, &whole[1].embedding) <= 1e-4);
    assert_eq!(place.json("cut/run.json")["tokens"], 16 + 3);
    assert_eq!(place.json("cut/run.json")["max_length"], 16);
}

#[test]
fn the_output_of_ingest_is_embedded_under_the_names_of_the_original_files() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in/a.csv", "text,label\none<br />film,pos\ntwo,neg\n");
    place.write("in/b.jsonl", "{\"text\":\"three\",\"label\":\"pos\"}\n{\"label\":\"neg\"}\n");
    place.run(&["ingest", "in", "--out", "reviews"]).ok();
    place.embed(&model, &["reviews", "--out", "staged"]);
    place.embed(&model, &["in", "--out", "direct"]);
    assert_eq!(embedded(&place, "staged"), embedded(&place, "direct"));
    let rejects = read(&place, "staged/rejects");
    assert_eq!((strings(&rejects, "source_file"), ordinals(&rejects)), (vec!["in/b.jsonl".to_owned()], vec![1]));
}

#[test]
fn the_report_adds_up() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let lines: String = (0..50).map(|row| format!("{{\"text\":\"{}\"}}\n", distinct_text(row, 5 + row % 20))).collect();
    place.write("in.jsonl", lines);
    place.embed(&model, &["in.jsonl", "--out", "out", "--threads", "1", "--precision", "fp32", "--device", "cpu"]);
    let run = place.json("out/run.json");
    let fed: u32 = token_counts(&read(&place, "out/features")).iter().sum();
    assert_eq!(run["tokens"], fed);
    let (tokens, padded) = (run["tokens"].as_f64().unwrap(), run["padded_tokens"].as_f64().unwrap());
    assert!(padded >= tokens);
    assert!((run["padding_ratio"].as_f64().unwrap() - padded / tokens).abs() < 1e-9);
    let rate = tokens / run["encoder_seconds"].as_f64().unwrap();
    assert!((run["tokens_per_second"].as_f64().unwrap() / rate - 1.0).abs() < 1e-6);
    for (key, value) in
        [("command", "embed"), ("precision", "fp32"), ("device", "cpu"), ("version", env!("CARGO_PKG_VERSION"))]
    {
        assert_eq!(run[key], value);
    }
    assert_eq!((&run["threads"], &run["this_run"]["rows"]), (&1.into(), &50.into()));
    assert_eq!(run["inputs"][0]["path"], "in.jsonl");
    assert_eq!(run["inputs"][0]["bytes"], fs_err::metadata(place.path("in.jsonl")).unwrap().len());
    assert!(run["encoder_id"].is_string() && run["numerics"].is_string() && run["provider"].is_string());
}

#[test]
fn labels_are_optional_and_a_named_column_is_taken() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "body,price,mood\nfine,5,glad\n");
    place.embed(&model, &["in.csv", "--out", "none"]);
    place.embed(&model, &["in.csv", "--out", "mood", "--text-column", "body", "--label-column", "mood"]);
    assert_eq!(texts(&read(&place, "none/rows"), "label"), [None]);
    assert_eq!(texts(&read(&place, "mood/rows"), "label"), [Some("glad".to_owned())]);
}

#[test]
fn a_head_sees_the_end_of_long_texts_where_its_features_did() {
    let Some(model) = model() else { return };
    let place = Place::new();
    // The labels are in the last words alone, behind more than the encoder sees.
    let line = |row: usize| {
        let end = if row.is_multiple_of(2) { "a wonderful joy,pos" } else { "an awful bore,neg" };
        format!("{} {end}\n", distinct_text(row, 60))
    };
    place.write("in.csv", "text,label\n".to_owned() + &(0..120).map(line).collect::<String>());
    place.write("new.csv", "text,label\n".to_owned() + &(200..320).map(line).collect::<String>());
    let mut accuracies = Vec::new();
    for truncation in ["head", "tail", "head-tail"] {
        let (features, head, scored) =
            (format!("f-{truncation}"), format!("h-{truncation}"), format!("s-{truncation}"));
        let flags = ["--max-length", "24", "--truncation", truncation, "in.csv", "--out", &features];
        place.embed(&model, &flags).says(&["100.0 % of the texts truncated"]);
        assert_eq!(place.json(&format!("{features}/run.json"))["truncated_share"], 1.0);
        place.run(&["train", &features, "--out", &head]).ok();
        place.run(&["score", "new.csv", "--head", &head, "--label-column", "label", "--out", &scored]).ok();
        accuracies.push(place.json(&format!("{scored}/run.json"))["metrics"]["accuracy"].as_f64().unwrap());
    }
    assert!(accuracies[0] < 0.8 && accuracies[1] == 1.0 && accuracies[2] == 1.0, "{accuracies:?}");
    let other = ["--max-length", "24", "--truncation", "tail", "in.csv", "--out", "f-head"];
    let refused = place.run(&[&["embed", "--model", &model, "--precision", "fp32"], &other[..]].concat());
    refused.fails(1, &["encoder.truncation is \"head\" there, \"tail\" now"]);
    place.run(&["embed", "in.csv", "--truncation", "right", "--out", "x"]).fails(2, &["head, tail, head-tail"]);
}

#[test]
fn rows_without_a_label_are_rejected_where_one_is_asked_for_and_not_encoded() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", "text,label\nwith one,pos\nwithout,\n,neg\nspaces,  \nwith another,neg\n");
    let embed = ["in.csv", "--max-reject-share", "1", "--out", "out"];
    place.embed(&model, &embed);
    assert_eq!(place.json("out/run.json")["rejected"], serde_json::json!({ "empty_text": 1 }));
    place.run(&[&["embed", "--model", &model, "--require-label"], &embed[..]].concat()).fails(1, &["require_label"]);
    place.embed(&model, &[&embed[..], &["--require-label", "--overwrite"]].concat());
    let run = place.json("out/run.json");
    assert_eq!(run["rejected"], serde_json::json!({ "empty_text": 1, "missing_label": 2 }));
    assert_eq!((&run["texts"], &run["rows_out"]), (&2.into(), &2.into()));
    assert_eq!(ordinals(&read(&place, "out/rejects")), [1, 2, 3]);
}

#[test]
fn a_vector_is_what_pooling_and_layers_say_and_a_review_alone_has_the_one_that_it_has_in_a_batch() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let reviews: Vec<String> = [3, 12, 60, 300].map(|words| distinct_text(words, words)).to_vec();
    place.write("all.txt", reviews.join("\n"));
    let lines = ["--format", "lines"];
    let all = ["--pooling", "cls-mean", "--layers", "last4"];
    place.embed(&model, &[&["all.txt", "--out", "all"][..], &lines, &all].concat());
    let found = embedded(&place, "all");
    assert!(found.iter().all(|row| row.embedding.len() == 8 * 384));
    // The last layer's CLS and mean come first.
    for (pooling, part) in [("cls", 0..384), ("mean", 384..768)] {
        place.embed(&model, &[&["all.txt", "--out", pooling, "--pooling", pooling][..], &lines].concat());
        for (row, whole) in embedded(&place, pooling).iter().zip(&found) {
            assert!(max_difference(&row.embedding, &whole.embedding[part.clone()]) < 1e-4, "{pooling}");
        }
    }
    place.write("one.txt", &reviews[1]);
    place.embed(&model, &[&["one.txt", "--out", "one"][..], &lines, &all].concat());
    assert!(max_difference(&embedded(&place, "one")[0].embedding, &found[1].embedding) < 1e-4);

    // Vectors of two readouts never meet.
    let train = place.run(&["train", "cls", "mean", "--out", "head"]);
    train.fails(1, &["pooling"]);
    let out = ["--out", "no", "--model", &model];
    let embed = |flags: &[&str]| place.run(&[&["embed", "all.txt"][..], &lines, &out, flags].concat());
    embed(&["--pooling", "max"]).fails(2, &["cls, mean, cls-mean"]);
    embed(&["--layers", "all"]).fails(2, &["last, last4"]);
    embed(&["--pooling", "mean", "--precision", "int8"]).fails(2, &["int8", "pooling mean"]);
    assert!(!place.path("no").exists());
}

#[test]
fn the_graph_of_gpus_gives_the_same_vectors_and_a_gpu_that_is_not_there_is_an_error() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let tree = project("tests/demo/tree");
    let embed = |out: &str, flags: &[&str]| {
        place.embed(&model, &[&[tree.as_str(), "--out", out], flags].concat());
        embedded(&place, out)
    };
    let exact = embed("exact", &["--provider", "mlas", "--precision", "fp32"]);
    for (precision, least) in [("fp32", 0.999_999), ("fp16", 0.9999)] {
        let packed = embed(precision, &["--provider", "packed", "--precision", precision]);
        assert_eq!(packed.len(), exact.len());
        for (one, other) in exact.iter().zip(&packed) {
            let cosine = cosine(&one.embedding, &other.embedding);
            assert!(cosine > least, "{precision}: {cosine}");
        }
        let run = place.json(&format!("{precision}/run.json"));
        assert_eq!((&run["numerics"], &run["padding_ratio"]), (&format!("{precision}/packed-cpu").into(), &1.0.into()));
    }
    place.run(&["embed", &tree, "--model", &model, "--out", "no", "--precision", "fp16"]).fails(2, &["--device cuda"]);
    let int8 = ["embed", &tree, "--model", &model, "--out", "no", "--device", "cuda", "--precision", "int8"];
    place.run(&int8).fails(2, &["cuda computes in fp32, fp16"]);
    // GPUs have numbers far below this one.
    let gpu = ["embed", &tree, "--model", &model, "--out", "no", "--device", "cuda:63"];
    place.run(&gpu).fails(1, &["device cuda"]);
    assert!(!place.path("no/rows").exists());
}
