//! `tune` keeps what it measured, later runs take it, and flags win; `verify` judges by bounds.

use super::fixtures::csv;
use super::support::{Place, model};

/// Few threads and short texts, so that a combination takes a second.
const QUICK: [&str; 2] = ["--max-length", "16"];

#[test]
fn what_tune_measured_runs_from_then_on_and_flags_win() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let own_cache = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        super::support::Ran::of(&command.env("BERTLINE_CACHE", place.path("cache")).output().unwrap())
    };
    let tuned = own_cache(&[&["tune", "--model", &model, "--json"], &QUICK[..]].concat()).ok();
    let tuned: serde_json::Value = serde_json::from_str(&tuned.stdout).unwrap();
    let measured = tuned["measured"].as_array().unwrap();
    assert!(measured.len() >= 4, "{tuned}");
    let rates: Vec<f64> = measured.iter().map(|row| row["tokens_per_second"].as_f64().unwrap()).collect();
    assert!(rates.is_sorted_by(|a, b| a >= b), "{rates:?}");
    assert!(std::path::Path::new(tuned["kept"].as_str().unwrap()).is_file());

    place.write("in.csv", csv(40, 12));
    let embed = |out: &str, more: &[&str]| {
        let base = ["embed", "in.csv", "--model", &model, "--out", out];
        own_cache(&[&base[..], &QUICK, more].concat()).ok();
        place.json(&format!("{out}/run.json"))
    };
    let run = embed("tuned", &[]);
    let best =
        measured.iter().find(|row| row["precision"] != "int8" && row["worst_cosine"].as_f64().unwrap() >= 0.9999);
    let best = best.unwrap();
    assert_eq!((&run["plan"], &run["plan_source"]), (&best["plan"], &"tuned".into()));
    assert_eq!((&run["precision"], &run["provider"]), (&best["precision"], &best["provider"]));
    let run =
        embed("flags", &["--precision", "fp32", "--provider", "openvino", "--sessions", "1", "--token-budget", "64"]);
    assert_eq!((&run["plan"]["token_budget"], &run["plan_source"]), (&64.into(), &"flags".into()));
    assert_eq!(run["provider"], "openvino-cpu");
}

#[test]
fn verify_says_yes_to_its_bounds_and_no_to_ones_that_cannot_be() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let verify = |more: &[&str]| {
        place.run(&[&["verify", "--model", &model, "--limit", "4", "--precision", "fp32"], &QUICK[..], more].concat())
    };
    let table = verify(&["--json", "--threads", "2"]).ok();
    let table: serde_json::Value = serde_json::from_str(&table.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    for (provider, threads) in [("openvino-cpu", 1), ("openvino-cpu", 2), ("mlas-cpu", 1), ("mlas-cpu", 2)] {
        assert!(rows.iter().any(|row| row["provider"] == provider && row["threads"] == threads), "{table}");
    }
    assert!(rows.iter().all(|row| row["worst_cosine"].as_f64().unwrap() >= 0.99999), "{table}");
    for row in rows {
        let (alone, to_alone) = (row["token_budget"].is_null(), row["worst_cosine_to_alone"].as_f64());
        assert!(if alone { to_alone.is_none() } else { to_alone.unwrap() >= 0.99999 }, "{row}");
    }
    assert!(rows.iter().any(|row| row["token_budget"].is_null()), "{table}");
    verify(&["--worst", "1.5"]).fails(1, &["break their bounds"]);
    // What a GPU computes, as far as it can be told without one.
    let half = ["verify", "--model", &model, "--limit", "4", "--precision", "fp16", "--json"];
    let table: serde_json::Value = serde_json::from_str(&place.run(&half).ok().stdout).unwrap();
    assert!(
        table["rows"].as_array().unwrap().iter().all(|row| row["provider"] == "packed-cpu" && row["holds"] == true)
    );
    place.run(&["verify", "--model", &model, "--precision", "fp8"]).fails(2, &["fp8", "fp16"]);
    // GPUs have numbers far below this one, and no tables of the CPU come in its stead.
    let gpu = ["verify", "--model", &model, "--limit", "4", "--device", "cuda:63"];
    assert_eq!(place.run(&gpu).fails(1, &["device cuda"]).stdout, "");
    place.run(&[&gpu[..], &["--precision", "int8"]].concat()).fails(2, &["cuda computes in fp32, fp16"]);
}

#[test]
fn int8_is_calibrated_once_and_a_head_takes_its_calibration_along() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(60, 12));
    // Of its own cache: another test's int8 run may have calibrated in the one they share.
    let embed = |cache: &str, out: &str| {
        let arguments =
            ["embed", "in.csv", "--model", &model, "--out", out, "--precision", "int8", "--max-length", "16"];
        let ran = place.command(&arguments).env("BERTLINE_CACHE", place.path(cache)).output().unwrap();
        super::support::Ran::of(&ran).ok()
    };
    embed("cache", "first").says(&["int8: calibrating on", "products in 8 bits"]);
    let again = embed("cache", "again");
    assert!(!again.stderr.contains("calibrating"), "{}", again.stderr);
    let numerics = place.json("first/run.json")["numerics"].clone();
    assert!(numerics.as_str().unwrap().starts_with("int8+"), "{numerics}");
    assert_eq!(place.json("again/run.json")["numerics"], numerics);

    place.run(&["train", "first", "--out", "head"]).ok();
    // Another machine: its model cache knows of no calibration.
    let mut score = place.command(&["score", "in.csv", "--head", "head", "--model", &model, "--out", "scored"]);
    let score = super::support::Ran::of(&score.env("BERTLINE_CACHE", place.path("other-cache")).output().unwrap()).ok();
    assert!(!score.stderr.contains("warning") && !score.stderr.contains("calibrating"), "{}", score.stderr);
    assert_eq!(place.json("scored/run.json")["numerics"], numerics);
}
