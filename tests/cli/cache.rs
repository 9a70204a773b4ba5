//! Texts that were encoded before: `--cache`, `--features`, and `bertline cache`.
//!
//! That the encoder is not called is forced: `BERTLINE_FAULT` fails every micro-batch, and the run ends well all the
//! same.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::datasets::{Embedded, embedded, max_difference, read, token_counts};
use super::fixtures::{csv, distinct_text, head};
use super::support::{Place, Ran, model};

const ROWS: usize = 200;

fn embed<'a>(model: &'a str, input: &'a str, out: &'a str) -> Vec<&'a str> {
    vec!["embed", "--model", model, "--precision", "fp32", input, "--out", out, "--cache", "store"]
}

/// Runs with an encoder that fails on everything.
fn run_without_encoder(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(&place.command(arguments).env("BERTLINE_FAULT", "encode:rows>0").output().unwrap())
}

/// The sealed parts of the store, which need not be there yet.
fn parts(place: &Place) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs_err::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let folders = entries(&place.path("store")).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| entries(&folder).collect::<Vec<_>>());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-")).collect()
}

fn flip_a_byte(path: &PathBuf) {
    let mut bytes = fs_err::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn wait_for_parts(place: &Place, wanted: usize, child: &mut Child) {
    while parts(place).len() < wanted {
        assert_eq!(child.try_wait().unwrap(), None, "ended before {wanted} parts were sealed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same rows, whatever the file was called.
#[track_caller]
fn assert_same(rows: &[Embedded], others: &[Embedded]) {
    assert_eq!(rows.len(), others.len());
    for (row, other) in rows.iter().zip(others) {
        assert_eq!(
            (row.row, &row.key, &row.label, row.n_tokens),
            (other.row, &other.key, &other.label, other.n_tokens)
        );
        assert!(row.embedding == other.embedding, "row {}", row.row);
    }
}

#[test]
fn a_second_run_takes_all_from_the_cache_and_the_vectors_are_the_same() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(ROWS, 12));
    place.write("again.csv", csv(ROWS, 12));
    place.run(&embed(&model, "in.csv", "first")).ok();
    run_without_encoder(&place, &embed(&model, "in.csv", "broken")).ok();
    let second = run_without_encoder(&place, &embed(&model, "again.csv", "second")).ok();
    assert!(!second.stderr.contains("encoder:"), "the encoder was opened for nothing: {}", second.stderr);
    let run = place.json("second/run.json");
    assert_eq!(
        (&run["texts_cached"], &run["tokens"], &run["this_run"]["tokens"]),
        (&ROWS.into(), &0.into(), &0.into())
    );
    assert_eq!(run["encoder_id"], place.json("first/run.json")["encoder_id"]);
    assert_same(&embedded(&place, "second"), &embedded(&place, "first"));
    // The output stands on its own.
    fs_err::remove_dir_all(place.path("store")).unwrap();
    place.run(&["cache", "verify", "second"]).ok();
    place.run(&["train", "second", "--out", "head"]).ok();
}

#[test]
fn of_a_folder_with_a_few_new_files_only_those_are_encoded() {
    let Some(model) = model() else { return };
    let place = Place::new();
    for number in 0..ROWS {
        place.write(&format!("in/pos/{number:03}.txt"), distinct_text(number, 8));
    }
    place.run(&embed(&model, "in", "first")).ok();
    for number in [3 * ROWS, 4 * ROWS] {
        place.write(&format!("in/neg/{number}.txt"), distinct_text(number, 20));
    }
    place.run(&embed(&model, "in", "second")).ok();
    let run = place.json("second/run.json");
    let new: u32 = embedded(&place, "second")
        .iter()
        .filter(|row| row.label.as_deref() == Some("neg"))
        .map(|row| row.n_tokens)
        .sum();
    assert_eq!((&run["texts_cached"], &run["tokens"]), (&ROWS.into(), &new.into()));
    // What was new is known by now, and what it was packed with makes no difference to speak of.
    run_without_encoder(&place, &embed(&model, "in", "third")).ok();
    place.embed(&model, &["in", "--out", "plain"]);
    let (third, plain) = (embedded(&place, "third"), embedded(&place, "plain"));
    assert!(third.iter().zip(&plain).all(|(a, b)| max_difference(&a.embedding, &b.embedding) < 1e-4));
}

#[test]
fn score_with_features_calls_no_encoder_and_says_the_same() {
    let (Some(model), Some(head)) = (model(), head()) else { return };
    let place = Place::new();
    place.write("in.csv", format!("{}{},pos\n,neg\n", csv(ROWS, 12), distinct_text(3, 12)));
    place.embed(&model, &["in.csv", "--out", "features"]);
    place.run(&["score", "in.csv", "--head", head, "--out", "plain"]).ok();
    let cached = ["score", "in.csv", "--head", head, "--out", "cached", "--features", "features"];
    let ran = run_without_encoder(&place, &cached).ok();
    assert!(!ran.stderr.contains("encoder:"), "{}", ran.stderr);
    assert_eq!(read(&place, "cached/predictions"), read(&place, "plain/predictions"));
    let run = place.json("cached/run.json");
    assert_eq!((&run["tokens"], &run["texts_cached"], &run["rows_out"]), (&0.into(), &ROWS.into(), &(ROWS + 2).into()));
    // What is not among them is encoded.
    place.write("more.csv", csv(ROWS + 1, 12));
    place.run(&["score", "more.csv", "--head", head, "--out", "more", "--features", "features"]).ok();
    let scored = read(&place, "more/predictions");
    assert_eq!(place.json("more/run.json")["tokens"], token_counts(&scored)[ROWS]);
    place
        .run(&["score", "in.csv", "--head", head, "--out", "features", "--features", "features", "--overwrite"])
        .fails(2, &["`features`"]);
    // Somebody's features are not passed over like a part of a store.
    let part = fs_err::read_dir(place.path("features/features")).unwrap().next().unwrap().unwrap().path();
    flip_a_byte(&part);
    let score = ["score", "in.csv", "--head", head, "--out", "damaged", "--features", "features"];
    place.run(&score).fails(1, &["features/features/part-", "changed after it was committed"]);
}

#[test]
fn score_fills_a_cache_and_encodes_a_text_of_two_units_once() {
    let Some(head) = head() else { return };
    let place = Place::new();
    // Two units of 2 MiB and more: all texts of the first half stand in the second again.
    let rows = csv(100, 3500);
    let (header, lines) = rows.split_once('\n').unwrap();
    place.write("in.csv", format!("{header}\n{lines}{lines}"));
    let score = |out| ["score", "in.csv", "--head", head, "--out", out, "--cache", "store"];
    place.run(&score("first")).ok();
    let first = read(&place, "first/predictions");
    let run = place.json("first/run.json");
    assert!(fs_err::read_to_string(place.path("first/manifest.jsonl")).unwrap().lines().count() >= 4);
    assert_eq!(run["tokens"], 100 * 250, "each text once, cut at 250 tokens");
    run_without_encoder(&place, &score("second")).ok();
    assert_eq!(read(&place, "second/predictions"), first);
}

#[test]
fn features_of_another_encoder_or_other_numerics_are_refused_part_by_part() {
    let (Some(model), Some(head)) = (model(), head()) else { return };
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.embed(&model, &["in.csv", "--out", "short", "--max-length", "16", "--clean", "html"]);
    place.embed(&model, &["in.csv", "--out", "openvino", "--provider", "openvino"]);
    let score = |features, provider| {
        place.run(&["score", "in.csv", "--head", head, "--out", "out", "--features", features, "--provider", provider])
    };
    score("short", "openvino").fails(1, &["`short`", "max_length: 250 here, 16 there", "clean: none here, html there"]);
    score("openvino", "mlas").fails(1, &["`openvino`", "provider: mlas-cpu here, openvino-cpu there"]);
    assert!(!place.path("out").exists());
    score("missing", "openvino").fails(1, &["`missing`", "bertline embed"]);
    score("openvino", "openvino").ok();
    // A cache keeps them apart.
    let embed = |out, provider| {
        place.run(&[&embed(&model, "in.csv", out)[..], &["--provider", provider]].concat()).ok();
        place.json(&format!("{out}/run.json"))["texts_cached"].clone()
    };
    assert_eq!((embed("a", "mlas"), embed("b", "openvino"), embed("c", "mlas")), (0.into(), 0.into(), 5.into()));
    let listed = place.run(&["cache", "ls", "store", "--json"]).ok().json_lines();
    let told: Vec<_> = listed.iter().map(|line| (line["numerics"].as_str().unwrap(), line["rows"].as_u64())).collect();
    assert_eq!(told, [("fp32/mlas-cpu", Some(5)), ("fp32/openvino-cpu", Some(5))]);
}

#[test]
fn a_damaged_part_is_found_not_trusted_and_collected() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(ROWS, 12));
    place.run(&embed(&model, "in.csv", "first")).ok();
    let part = parts(&place).remove(0);
    place.run(&["cache", "verify", "store"]).ok();
    flip_a_byte(&part);
    let found = place.run(&["cache", "verify", "store"]).fails(1, &["1 of 1 parts"]);
    assert!(part.ends_with(found.stdout.trim()), "{}", found.stdout);
    place.run(&embed(&model, "in.csv", "second")).ok().says(&["warning:", "damaged"]);
    assert_eq!(place.json("second/run.json")["texts_cached"], 0);
    assert_same(&embedded(&place, "second"), &embedded(&place, "first"));
    // What was encoded again is the same to the bit, hence the part that is named so: it has taken the damaged one's place.
    run_without_encoder(&place, &embed(&model, "in.csv", "third")).ok();
    flip_a_byte(&part);
    place.run(&["cache", "gc", "store"]).ok().says(&["1 damaged"]);
    assert!(!part.exists());
    place.run(&["cache", "verify", "store"]).ok();
}

#[test]
fn verify_looks_at_the_parts_of_an_output_folder_too() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    place.run(&["cache", "verify", "out"]).ok().says(&["all 1 parts"]);
    let part = fs_err::read_dir(place.path("out/reviews")).unwrap().next().unwrap().unwrap().path();
    flip_a_byte(&part);
    let found = place.run(&["cache", "verify", "out", "--json"]).fails(1, &["1 of 1 parts"]);
    assert_eq!(found.json_lines()[0]["damaged"].as_array().unwrap().len(), 1);
    place.run(&["cache", "verify", "."]).fails(1, &["`.`", "neither"]);
}

#[test]
fn a_run_that_is_killed_leaves_a_store_that_the_next_one_uses() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(1800, 1100));
    let arguments = [&embed(&model, "in.csv", "out")[..], &["--max-length", "8"]].concat();
    let mut killed = start(&place, &arguments);
    wait_for_parts(&place, 2, &mut killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    place.run(&["cache", "verify", "store"]).ok();
    place.run(&["cache", "gc", "store"]).ok();
    place.run(&[&arguments[..], &["--overwrite"]].concat()).ok();
    assert!(place.json("out/run.json")["texts_cached"].as_u64().unwrap() > 100);
    place.run(&["cache", "verify", "store"]).ok();
}

#[test]
fn two_runs_share_a_store_at_once_and_nothing_is_taken_away_from_them() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(1400, 1100));
    let of = |out| [&embed(&model, "in.csv", out)[..], &["--max-length", "8"]].concat();
    let (mut first, mut second) = (start(&place, &of("first")), start(&place, &of("second")));
    wait_for_parts(&place, 1, &mut first);
    place.run(&["cache", "compact", "store"]).fails(1, &["in use"]);
    place.run(&["cache", "gc", "store"]).fails(1, &["in use"]);
    place.run(&["cache", "verify", "store"]).ok();
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let (first, second) = (embedded(&place, "first"), embedded(&place, "second"));
    assert!(first.iter().zip(&second).all(|(a, b)| max_difference(&a.embedding, &b.embedding) < 1e-4));
    let before = parts(&place).len();
    place.run(&["cache", "compact", "store"]).ok().says(&[&format!("{before} parts are 1 now")]);
    place.run(&["cache", "verify", "store"]).ok();
    run_without_encoder(&place, &of("third")).ok();
}

#[test]
fn what_is_no_cache_is_refused_and_amounts_are_checked() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("store/thesis.txt", "x");
    place.write("in.csv", csv(2, 4));
    place.run(&embed(&model, "in.csv", "out")).fails(1, &["`store`", "thesis.txt"]);
    assert!(!place.path("out").exists());
    for action in ["ls", "gc", "compact"] {
        place.run(&["cache", action, "store"]).fails(1, &["`store`", "no bertline cache"]);
    }
    place.run(&["cache", "gc", "store", "--older-than", "5"]).fails(2, &["90d"]);
    place.run(&["cache", "gc", "store", "--max-bytes", "much"]).fails(2, &["not a size"]);
}

#[test]
fn a_cache_inside_the_output_is_refused_before_anything_is_made_and_one_inside_the_input_is_not_read() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in/a.csv", csv(5, 6));
    let embed = ["embed", "--model", &model, "--precision", "fp32", "in", "--out"];
    place.run(&[&embed[..], &["out", "--cache", "out/vectors"]].concat()).fails(2, &["`out`", "`out/vectors`"]);
    assert!(!place.path("out").exists());
    for out in ["one", "two"] {
        let ran = place.run(&[&embed[..], &[out, "--cache", "in/vectors"]].concat()).ok();
        ran.says(&["5 rows in, 5 out"]);
    }
    assert_eq!(place.json("two/run.json")["texts_cached"], 5);
}
