//! `train`: classes as they come, two inputs, a validation set, and the same head every time.

use super::datasets::{read, strings, texts, vectors};
use super::fixtures::head;
use super::support::{Place, Ran, model, project};

/// Reviews of three moods that a head can tell apart, as `(text, label)`.
fn moods(rows: std::ops::Range<usize>) -> Vec<(String, &'static str)> {
    let things = ["kettle", "film", "hotel", "novel", "concert", "bicycle", "soup", "museum", "phone", "garden"];
    rows.map(|row| {
        let thing = things[row % things.len()];
        match row % 3 {
            0 => (format!("I love this {thing}, wonderful and perfect, number {row}"), "glad"),
            1 => (format!("I hate this {thing}, terrible and broken, number {row}"), "angry"),
            _ => (format!("Where can I buy the {thing} and what does it cost, number {row}?"), "asking"),
        }
    })
    .collect()
}

fn csv(reviews: &[(String, &str)]) -> String {
    reviews.iter().fold("text,label\n".to_owned(), |csv, (text, label)| csv + &format!("\"{text}\",{label}\n"))
}

#[test]
fn a_head_of_three_classes_comes_from_two_embed_outputs_and_scores() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", csv(&moods(0..90)));
    let jsonl = moods(90..150)
        .iter()
        .map(|(text, label)| format!("{}\n", serde_json::json!({ "review": text, "class": label })))
        .collect::<String>();
    place.write("b.jsonl", jsonl);
    place.write("new.csv", csv(&moods(150..180)));
    place.embed(&model, &["a.csv", "--out", "a"]);
    place.embed(&model, &["b.jsonl", "--out", "b"]);
    place.run(&["train", "a", "b", "--out", "head"]).ok().says(&["`angry` 50", "`asking` 50", "`glad` 50"]);

    assert_eq!(place.json("head/bundle.json")["labels"], serde_json::json!(["angry", "asking", "glad"]));
    let run = place.json("head/run.json");
    assert_eq!((&run["rows_in"], &run["command"]), (&150.into(), &"train".into()));
    assert_eq!(run["metrics"]["train_rows"], 120);
    assert_eq!(run["metrics"]["validation"]["rows"], 30);
    for file in ["head.safetensors", "head.onnx"] {
        assert!(fs_err::metadata(place.path("head").join(file)).unwrap().len() > 0);
    }

    place.run(&["score", "new.csv", "--head", "head", "--out", "scored", "--label-column", "label"]).ok();
    let scored = read(&place, "scored/predictions");
    assert!(vectors(&scored, "probabilities").iter().all(|probabilities| probabilities.len() == 3));
    let expected: Vec<&str> = moods(150..180).iter().map(|(_, label)| *label).collect();
    assert_eq!(strings(&scored, "true_label"), expected);
    let right = strings(&scored, "label").iter().zip(&expected).filter(|(found, label)| found == *label).count();
    assert!(right >= 27, "{right} of 30");
    let metrics = &place.json("scored/run.json")["metrics"];
    assert!((metrics["accuracy"].as_f64().unwrap() - right as f64 / 30.0).abs() < 1e-9, "{metrics}");
    assert!(metrics["log_loss"].as_f64().unwrap() < 3_f64.ln());
}

#[test]
fn integer_labels_are_classes_by_their_digits() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let reviews = moods(0..40);
    let jsonl = reviews.iter().map(|(text, label)| {
        format!("{}\n", serde_json::json!({ "text": text, "label": if *label == "glad" { 1 } else { 0 } }))
    });
    place.write("in.jsonl", jsonl.collect::<String>());
    place.embed(&model, &["in.jsonl", "--out", "features"]);
    place.run(&["train", "features", "--out", "head", "--epochs", "2"]).ok();
    assert_eq!(place.json("head/bundle.json")["labels"], serde_json::json!(["0", "1"]));
}

#[test]
fn the_same_training_gives_the_same_head_and_another_seed_another() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(&moods(0..60)));
    place.embed(&model, &["in.csv", "--out", "features"]);
    for (out, seed) in [("first", "42"), ("again", "42"), ("other", "7")] {
        place.run(&["train", "features", "--out", out, "--recipe", "article", "--seed", seed]).ok();
    }
    let weights = |out: &str| fs_err::read(place.path(out).join("head.safetensors")).unwrap();
    assert_eq!(weights("first"), weights("again"));
    assert_ne!(weights("first"), weights("other"));
}

#[test]
fn a_validation_output_is_validated_on_as_it_is() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", csv(&moods(0..60)));
    place.write("b.csv", csv(&moods(60..75)));
    place.write("c.csv", "text,label\nfine,unheard\n");
    for name in ["a", "b", "c"] {
        place.embed(&model, &[&format!("{name}.csv"), "--out", name]);
    }
    place.run(&["train", "a", "--validation", "b", "--out", "head"]).ok();
    let metrics = &place.json("head/run.json")["metrics"];
    assert_eq!((&metrics["train_rows"], &metrics["validation"]["rows"]), (&60.into(), &15.into()));
    let refused = place.run(&["train", "a", "--validation", "c", "--out", "other"]);
    refused.fails(1, &["`c`", "`unheard`", "glad"]);
}

#[test]
fn every_epoch_is_told_and_saved() {
    let Some(head) = head() else { return };
    let bundle: serde_json::Value =
        serde_json::from_slice(&fs_err::read(std::path::Path::new(head).join("bundle.json")).unwrap()).unwrap();
    let epochs = bundle["training"]["epochs"].as_array().unwrap();
    assert!(!epochs.is_empty());
    for (at, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch["epoch"], at + 1);
        assert!(epoch["train_loss"].is_f64() && epoch["validation_loss"].is_f64(), "{epoch}");
    }
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_the_way_out() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("unlabelled.csv", "text\nfine\ngood\n");
    place.write("alike.csv", "text,label\nfine,pos\ngood,pos\nnice,pos\n");
    place.write("labelled.csv", csv(&moods(0..30)));
    for name in ["unlabelled", "alike", "labelled"] {
        place.embed(&model, &[&format!("{name}.csv"), "--out", name]);
    }
    place.embed(&model, &["labelled.csv", "--out", "shorter", "--max-length", "100"]);
    place.run(&["train", "unlabelled", "--out", "a"]).fails(1, &["`unlabelled`", "--label-column"]);
    let alike = place.run(&["train", "alike", "--out", "b"]);
    assert!(alike.code == Some(1) && alike.stderr.contains("class"), "{alike:?}");
    place.run(&["train", "labelled", "shorter", "--out", "c"]).fails(1, &["labelled", "shorter", "max_length"]);
    place.run(&["train", "nowhere", "--out", "d"]).fails(1, &["nowhere"]);
    place.run(&["train", &project("pipelines"), "--out", "e"]).fails(1, &["not the output of `bertline embed`"]);
    assert_eq!(texts(&read(&place, "unlabelled/rows"), "label"), [None, None]);
}

#[test]
fn a_gpu_that_is_not_to_be_had_is_said_and_nothing_falls_back() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("labelled.csv", csv(&moods(0..30)));
    place.embed(&model, &["labelled.csv", "--out", "features"]);
    let train = ["train", "features", "--out", "no", "--device"];
    place.run(&[&train[..], &["cuda:0,1"]].concat()).fails(2, &["one GPU", "names 2"]);
    place.run(&[&train[..], &["gpu"]].concat()).fails(2, &["cuda"]);
    // Which of the two depends on whether the CUDA part of libtorch is where the binary looks for it.
    let ran = place.run(&[&train[..], &["cuda:63"]].concat()).fails(1, &[]);
    assert!(ran.stderr.contains("GPU 63") || ran.stderr.contains("make deps-cuda-train"), "{}", ran.stderr);
    let libtorch = std::path::Path::new(&project(".native/libtorch")).canonicalize().unwrap();
    fs_err::os::unix::fs::symlink(libtorch, place.path("libtorch")).unwrap();
    let output = place.command(&[&train[..], &["cuda"]].concat()).env("BERTLINE_LIB_DIR", place.path("")).output();
    Ran::of(&output.unwrap()).fails(1, &["make deps-cuda-train", "libtorch_cuda.so"]);
    assert!(!place.path("no").exists());
}

#[test]
fn a_text_is_never_on_both_sides_and_what_leaks_or_contradicts_is_told() {
    let Some(model) = model() else { return };
    let place = Place::new();
    // Every text three times, once with another label.
    let mut rows = moods(0..60);
    rows.extend(moods(0..60));
    rows.extend(moods(0..3).into_iter().map(|(text, _)| (text, "asking")));
    place.write("a.csv", csv(&rows));
    place.write("b.csv", csv(&moods(50..80)));
    for name in ["a", "b"] {
        place.embed(&model, &[&format!("{name}.csv"), "--out", name]);
    }
    let told = place.run(&["train", "a", "--validation", "b", "--out", "head"]).ok();
    told.says(&[
        "63 rows repeat the text of another",
        "2 texts have more than one label",
        "10 rows of the validation set",
    ]);
    let hygiene = place.json("head/run.json")["text_hygiene"].clone();
    let expected = serde_json::json!({ "duplicate_rows": 63, "texts_with_several_labels": 2, "leaked_rows": 10 });
    assert_eq!(hygiene, expected);
    // Split off: as many rows as the texts that were drawn have, an even number but for the three.
    place.run(&["train", "a", "--out", "split"]).ok();
    let metrics = &place.json("split/run.json")["metrics"];
    assert_eq!(metrics["train_rows"].as_u64().unwrap() + metrics["validation_rows"].as_u64().unwrap(), 123);
    assert_eq!(metrics["recipe"]["split"], "texts");
}

#[test]
fn folds_and_seeds_are_run_and_told() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", csv(&moods(0..90)));
    place.embed(&model, &["a.csv", "--out", "a"]);
    let train = ["train", "a", "--folds", "3", "--repeats", "2", "--hidden", "16,8", "--learning-rate", "0.01"];
    place
        .run(&[&train[..], &["--out", "head"]].concat())
        .ok()
        .says(&["cross-validation: accuracy", "3 folds, 2 seeds"]);
    let run = place.json("head/run.json");
    let crossed = &run["cross_validation"];
    let runs = crossed["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    assert_eq!(runs.iter().map(|run| run["metrics"]["rows"].as_u64().unwrap()).sum::<u64>(), 180);
    let mean: f64 = runs.iter().map(|run| run["metrics"]["log_loss"].as_f64().unwrap()).sum::<f64>() / 6.0;
    assert!((crossed["log_loss"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(crossed["accuracy"]["mean"].as_f64().unwrap() > 0.8, "{crossed}");
    assert_eq!(run["metrics"]["recipe"]["hidden"], serde_json::json!([16, 8]));
    place.run(&["train", "a", "--folds", "40", "--out", "b"]).fails(2, &["--folds", "40"]);
}

#[test]
fn a_sweep_ranks_its_recipes_and_trains_the_best() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", csv(&moods(0..90)));
    place.embed(&model, &["a.csv", "--out", "a"]);
    let sweep = ["train", "a", "--sweep", "--hidden", "0", "--out", "head"];
    place.run(&sweep).ok().says(&["sweep: 18 recipes on 5 folds"]);
    let run = place.json("head/run.json");
    let tried = run["sweep"].as_array().unwrap();
    assert_eq!(tried.len(), 18);
    let losses: Vec<f64> = tried.iter().map(|tried| tried["log_loss"].as_f64().unwrap()).collect();
    assert!(losses.is_sorted() && losses[0] < 0.5 * 3f64.ln(), "{losses:?}");
    assert_eq!(run["metrics"]["recipe"], tried[0]["recipe"]);
    place.run(&["train", "a", "--out", "head"]).fails(1, &["sweep"]);
}

#[test]
fn features_that_memory_does_not_hold_are_read_in_windows_and_train_a_head_as_good() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("a.csv", csv(&moods(0..240)));
    place.write("b.csv", csv(&moods(240..300)));
    // Units of 1 KiB: some 15 parts.
    place.embed(&model, &["a.csv", "--out", "a", "--unit-bytes", "1KiB"]);
    place.embed(&model, &["b.csv", "--out", "b"]);
    let flags = ["--batch-size", "8", "--folds", "3", "--epochs", "12"];
    place.run(&[&["train", "a", "--out", "held"][..], &flags].concat()).ok();
    // Windows of 42 vectors of 384 values: two or three parts.
    let streamed = [&["train", "a", "--out", "streamed", "--memory", "192KiB"][..], &flags].concat();
    place.run(&streamed).ok().says(&["42 vectors at a time"]);
    let figures = |head: &str, in_memory: bool| {
        let run = place.json(&format!("{head}/run.json"));
        assert_eq!(run["features_in_memory"], in_memory, "{run}");
        let out = format!("{head}-judged");
        place.run(&["evaluate", "b", "--head", head, "--out", &out]).ok();
        let judged = place.json(&format!("{out}/run.json"))["evaluation"]["metrics"]["log_loss"]["value"].as_f64();
        [run["metrics"]["validation"]["log_loss"].as_f64(), judged].map(Option::unwrap)
    };
    let (held, streamed) = (figures("held", true), figures("streamed", false));
    assert!(held.iter().zip(streamed).all(|(held, streamed)| (held - streamed).abs() < 0.05), "{held:?} {streamed:?}");
    let sweep = ["train", "a", "--sweep", "--out", "swept", "--memory", "192KiB"];
    place.run(&sweep).fails(2, &["--sweep", "--memory"]);
}
