//! `evaluate`: features, scored rows and reviews are judged alike, and what is said of a head is so.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Float32Type;
use serde_json::Value;

use super::datasets::{read, strings, vectors};
use super::support::{Place, model};

/// Reviews whose mood mostly shows, some of them with the wrong label; `rows` of them from `first` on.
fn reviews(first: usize, rows: usize) -> String {
    let things = ["kettle", "film", "hotel", "novel", "concert", "bicycle", "soup", "museum", "phone", "garden"];
    let review = |row: usize| {
        let thing = things[row % things.len()];
        let (text, label) = match row % 2 {
            0 => (format!("I love this {thing}, wonderful and perfect, number {row}"), "glad"),
            _ => (format!("I hate this {thing}, terrible and broken, number {row}"), "angry"),
        };
        let label = if row.is_multiple_of(13) { if label == "glad" { "angry" } else { "glad" } } else { label };
        format!("\"{text}\",{label}\n")
    };
    "text,label\n".to_owned() + &(first..first + rows).map(review).collect::<String>()
}

/// A place with features to train on, features and reviews to judge on, and a head.
fn prepared(model: &str) -> Place {
    let place = Place::new();
    place.write("train.csv", reviews(0, 160));
    place.write("test.csv", reviews(1000, 80) + "no label here,\nodd one out,unheard\n,glad\n");
    let enough = ["--max-reject-share", "1"];
    place.embed(model, &[&["train.csv", "--out", "train"], &enough[..]].concat());
    place.embed(model, &[&["test.csv", "--out", "test"], &enough[..]].concat());
    place.run(&["train", "train", "--out", "head"]).ok();
    place
}

fn metric(evaluation: &Value, name: &str) -> f64 {
    evaluation["metrics"][name]["value"].as_f64().unwrap()
}

#[test]
fn features_scored_rows_and_reviews_are_judged_alike() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    place.run(&["evaluate", "test", "--head", "head", "--out", "of-features"]).ok().says(&["accuracy", "95 %"]);
    place.run(&["score", "test.csv", "--label-column", "label", "--head", "head", "--out", "scored"]).ok();
    place.run(&["evaluate", "scored", "--head", "head", "--out", "of-scored"]).ok();
    let reviews = place.run(&["evaluate", "test.csv", "--head", "head", "--out", "of-reviews", "--json"]).ok();
    let of = |out: &str| place.json(&format!("{out}/evaluation.json"));
    let evaluation = of("of-features");
    assert_eq!(evaluation["rows"], 80);
    for out in ["of-scored", "of-reviews"] {
        for name in ["accuracy", "log_loss", "roc_auc", "brier"] {
            assert!((metric(&of(out), name) - metric(&evaluation, name)).abs() < 1e-4, "{out}: {name}");
        }
        assert_eq!(of(out)["confusion"], evaluation["confusion"]);
    }
    // Against the predictions themselves.
    let scored = read(&place, "scored/predictions");
    let (truth, labels) = (super::datasets::texts(&scored, "true_label"), super::datasets::texts(&scored, "label"));
    let known: Vec<usize> =
        (0..truth.len()).filter(|row| truth[*row].as_deref().is_some_and(|l| l != "unheard")).collect();
    let known: Vec<usize> = known.into_iter().filter(|row| labels[*row].is_some()).collect();
    let right = known.iter().filter(|row| truth[**row] == labels[**row]).count();
    assert_eq!((known.len(), right as f64 / 80.0), (80, metric(&evaluation, "accuracy")));
    for out in ["of-features", "of-scored"] {
        assert_eq!(place.json(&format!("{out}/run.json"))["leaked_rows"], 0, "{out}");
    }
    assert_eq!(serde_json::from_str::<Value>(&reviews.stdout).unwrap()["leaked_rows"], 0);
    place.run(&["score", "train.csv", "--label-column", "label", "--head", "head", "--out", "seen-scored"]).ok();
    for (input, out) in [("train", "seen"), ("seen-scored", "seen-again"), ("train.csv", "seen-at-last")] {
        let seen = place.run(&["evaluate", input, "--head", "head", "--out", out]).ok();
        seen.says(&["160 labelled rows have a text that the head was trained on"]);
    }
    assert_eq!(place.json("seen/run.json")["leaked_rows"], 160);
    // What can no longer be told is not told.
    place.write("train.csv", "text,label\nsomething else,glad\n");
    place.run(&["evaluate", "seen-scored", "--head", "head", "--out", "unknown"]).ok();
    assert!(place.json("unknown/run.json")["leaked_rows"].is_null());
    let left_out = &place.json("of-features/run.json")["left_out"];
    assert_eq!((&left_out["rows_without_label"], &left_out["rows_with_unknown_label"]), (&1.into(), &1.into()));
}

#[test]
fn mistakes_are_shown_with_their_texts_where_these_still_are() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    place.run(&["evaluate", "test", "--head", "head", "--out", "judged"]).ok();
    let mistakes = |out: &str| place.json(&format!("{out}/evaluation.json"))["mistakes"].as_array().unwrap().clone();
    let found = mistakes("judged");
    assert!(found.len() >= 4, "{found:?}");
    let csv = reviews(1000, 80);
    for mistake in &found {
        let line = csv.lines().nth(mistake["row"].as_u64().unwrap() as usize + 1).unwrap();
        assert_eq!(mistake["source_file"], "test.csv");
        assert!(line.contains(mistake["text"].as_str().unwrap()), "{mistake} is not of {line}");
        assert!(line.ends_with(mistake["label"].as_str().unwrap()));
    }
    place.write("test.csv", "text,label\nsomething else,glad\n");
    place.run(&["evaluate", "test", "--head", "head", "--out", "later"]).ok();
    assert!(mistakes("later").iter().all(|mistake| mistake["text"].is_null()));
    assert_eq!(mistakes("later").len(), found.len());
}

#[test]
fn training_calibrates_and_judges_on_the_rows_that_it_held_out() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    let (evaluation, bundle) = (place.json("head/evaluation.json"), place.json("head/bundle.json"));
    assert_eq!(evaluation["rows"], bundle["training"]["validation_rows"]);
    assert!((evaluation["temperature"].as_f64().unwrap() - 1.0).abs() < 1e-3, "not calibrated: {evaluation}");
    assert!((bundle["temperature"].as_f64().unwrap() - 1.0).abs() > 1e-3, "a temperature of 1 proves nothing");
    assert_eq!(metric(&evaluation, "accuracy"), bundle["training"]["validation"]["accuracy"].as_f64().unwrap());
    assert!(metric(&evaluation, "log_loss") <= bundle["training"]["validation"]["log_loss"].as_f64().unwrap());
    // The article's recipe has no such step.
    place.run(&["train", "train", "--recipe", "article", "--out", "article"]).ok();
    assert_eq!(place.json("article/bundle.json")["temperature"], 1.0);
}

#[test]
fn a_wanted_precision_gives_a_threshold_and_what_it_covers() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    let judge = ["evaluate", "test", "--head", "head", "--target-precision", "0.97", "--out", "judged"];
    place.run(&judge).ok().says(&["precision 0.97: answer where", "% of the rows"]);
    let threshold = &place.json("judged/evaluation.json")["threshold"];
    let (least, coverage) = (threshold["confidence"].as_f64().unwrap(), threshold["coverage"].as_f64().unwrap());
    assert!(threshold["precision"].as_f64().unwrap() >= 0.97);
    place.run(&["score", "test.csv", "--head", "head", "--label-column", "label", "--out", "scored"]).ok();
    let scored = read(&place, "scored/predictions");
    let truth = super::datasets::texts(&scored, "true_label");
    let answered: Vec<usize> = vectors(&scored, "probabilities")
        .iter()
        .enumerate()
        .filter(|(row, p)| {
            truth[*row].as_deref().is_some_and(|label| label != "unheard")
                && p.iter().any(|p| f64::from(*p) >= least - 1e-6)
        })
        .map(|(row, _)| row)
        .collect();
    assert_eq!(answered.len() as f64 / 80.0, coverage);
    place.run(&judge).ok().says(&["finished already"]);
    let bad = ["evaluate", "test", "--head", "head", "--target-precision", "95", "--out", "other"];
    place.run(&bad).fails(2, &["--target-precision", "between 0 and 1"]);
}

#[test]
fn a_head_abstains_where_it_is_less_sure_than_its_wanted_precision_takes() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    let train = |precision: &str, out: &str| {
        place.run(&["train", "train", "--target-precision", precision, "--out", out]).ok();
        place.json(&format!("{out}/bundle.json"))["threshold"]["confidence"].as_f64()
    };
    let least = train("0.97", "sure").expect("these reviews can be told that well");
    let scored = place.run(&["score", "test.csv", "--head", "sure", "--out", "scored"]).ok();
    scored.says(&["abstained on", &format!("{least:.4}"), "0.97"]);
    let predictions = read(&place, "scored/predictions");
    let best = predictions["probability"].as_primitive::<Float32Type>();
    let abstained = predictions["abstained"].as_boolean();
    let due = best.iter().flatten().filter(|best| f64::from(*best) < least).count();
    assert_eq!(abstained.iter().flatten().filter(|abstained| *abstained).count(), due);
    assert_eq!(best.null_count(), abstained.null_count());
    assert!(due > 0, "the head is sure of everything: the test says nothing");
    assert_eq!(place.json("scored/run.json")["abstained"]["rows"], due);

    let lines = place.run(&["predict", "--head", "sure", "--json", "a", "the", ""]).ok().json_lines();
    for line in &lines[..2] {
        assert_eq!(line["abstained"], line["probability"].as_f64().unwrap() < least, "{line}");
    }
    assert!(lines[2].get("abstained").is_none());
    // A head without a wanted precision never abstains.
    place.run(&["score", "test.csv", "--head", "head", "--out", "all"]).ok();
    assert!(read(&place, "all/predictions").column_by_name("abstained").is_none());
}

#[test]
fn what_cannot_be_judged_is_refused_with_the_way_out() {
    let Some(model) = model() else { return };
    let place = prepared(&model);
    place.embed(&model, &["train.csv", "--max-length", "100", "--out", "shorter"]);
    place.run(&["evaluate", "shorter", "--head", "head", "--out", "a"]).fails(1, &["max_length", "another encoder"]);
    place.write("bare.csv", "text\nfine\n");
    place.embed(&model, &["bare.csv", "--out", "bare"]);
    place
        .run(&["evaluate", "bare", "--head", "head", "--out", "b"])
        .fails(1, &["`bare`", "1 without a label", "`glad`"]);
    place.run(&["score", "test.csv", "--head", "head", "--out", "scored"]).ok();
    place.run(&["evaluate", "scored", "--head", "head", "--out", "c"]).fails(1, &["`scored`", "--label-column"]);
    place.run(&["train", "train", "--recipe", "article", "--out", "other"]).ok();
    place.run(&["score", "train.csv", "--label-column", "label", "--head", "other", "--out", "by-other"]).ok();
    place.run(&["evaluate", "by-other", "--head", "head", "--out", "d"]).fails(1, &["another head", "`by-other`"]);
    assert!(["a", "b", "c", "d"].iter().all(|out| !place.path(out).exists()));
    assert_eq!(strings(&read(&place, "shorter/rows"), "source_file").len(), 160);
}

/// The page without what the template itself writes: no tag, attribute or entity of a review may be in it.
#[test]
fn nothing_of_a_review_becomes_markup_in_the_report() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let attack = r#"<script>alert(1)</script></svg></style><img src=x onerror=alert(2)>\" onload=\"x"#;
    let row = |row: usize| {
        let (text, label) = match row % 2 {
            0 => (format!("I love this film, wonderful, number {row}"), "<b>glad</b>"),
            _ => (format!("I hate this film, terrible, number {row}"), "angry</td><script>"),
        };
        // Every fifth one is an attack, half of them with the wrong label: no head can tell which, some are mistakes.
        let wrong = if label.starts_with("<b>") { "angry</td><script>" } else { "<b>glad</b>" };
        match (row % 5, row / 10 % 2) {
            (3, 0) => serde_json::json!({ "text": format!("{text} {attack}"), "label": wrong }),
            (3, _) => serde_json::json!({ "text": format!("{text} {attack}"), "label": label }),
            _ => serde_json::json!({ "text": text, "label": label }),
        }
    };
    let name = "<i>in&quot;.jsonl";
    place.write(name, (0..120).map(|at| format!("{}\n", row(at))).collect::<String>());
    place.embed(&model, &[name, "--out", "features"]);
    place.run(&["train", "features", "--out", "head"]).ok();
    place.run(&["evaluate", "features", "--head", "head", "--out", "judged"]).ok();
    place.run(&["score", name, "--head", "head", "--label-column", "label", "--out", "scored"]).ok();
    for (out, shows_texts) in [("head", true), ("judged", true), ("scored", false)] {
        let page = fs_err::read_to_string(place.path(&format!("{out}/report.html"))).unwrap();
        for raw in ["<script", "<img", "<b>glad", "<i>", "onerror=alert(2)>", "alert(1)</s"] {
            assert!(!page.contains(raw), "{out}: {raw}");
        }
        assert_eq!(page.matches("</svg>").count(), page.matches("<svg").count(), "{out}");
        assert_eq!(page.matches("</style>").count(), 1, "{out}");
        assert_eq!(page.matches("&lt;script&gt;alert(1)").count() > 0, shows_texts, "{out}");
        let namespace = page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(page.matches("http://").count() + page.matches("https://").count(), namespace, "{out}");
        assert!(page.contains("default-src 'none'"));
    }
}
