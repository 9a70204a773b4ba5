//! An input that has changed since: what is new in it is done, what is gone counts no longer, and nothing is done twice.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::datasets::{Embedded, embedded, read, strings, texts};
use super::fixtures::{csv, distinct_text, head};
use super::support::{Place, Ran, model};

/// The rows whatever the order of their parts.
fn sorted(place: &Place, out: &str) -> Vec<Embedded> {
    let (rows, features) = (read(place, &format!("{out}/rows")), read(place, &format!("{out}/features")));
    assert!(rows.num_rows() > 0 && features.num_rows() > 0);
    let mut rows = embedded(place, out);
    rows.sort_by(|a, b| (&a.source_file, a.row).cmp(&(&b.source_file, b.row)));
    rows
}

fn numbered(from: usize, rows: usize) -> String {
    let line = |number| format!("{},pos\n", distinct_text(number, 12));
    (from..from + rows).fold("text,label\n".to_owned(), |csv, number| csv + &line(number))
}

/// Files of their own units, so that one can change alone.
fn files(place: &Place) {
    for (name, from) in [("a", 0), ("b", 100), ("c", 200), ("d", 300)] {
        place.write(&format!("in/{name}.csv"), numbered(from, 30));
    }
}

#[test]
fn embed_does_only_what_is_new_in_a_changed_folder() {
    let Some(model) = model() else { return };
    let place = Place::new();
    files(&place);
    let embed = |out| place.embed(&model, &["in", "--unit-bytes", "1KiB", "--out", out]);
    embed("out");
    let first = place.json("out/run.json");

    // One file is longer, one is gone, one is new; one was touched and is as before.
    place.write("in/b.csv", numbered(100, 30) + "something quite new,neg\nand something else,neg\n");
    fs_err::remove_file(place.path("in/c.csv")).unwrap();
    place.write("in/e.csv", numbered(400, 5));
    place.write("in/d.csv", numbered(300, 30));
    embed("out").says(&["resuming", "the input has changed", "count no longer"]);
    embed("fresh");
    assert!(sorted(&place, "out") == sorted(&place, "fresh"), "another outcome");
    let (redone, fresh) = (place.json("out/run.json"), place.json("fresh/run.json"));
    for key in ["rows_in", "rows_out", "rows_rejected", "inputs"] {
        assert_eq!(redone[key], fresh[key], "{key}");
    }
    // What was spent on texts that are gone was spent.
    assert_eq!(redone["texts"], 120 + 2 + 5);
    assert!(redone["tokens"].as_u64() > fresh["tokens"].as_u64());
    // The texts of b.csv are all there already but two.
    let new = redone["this_run"]["tokens"].as_u64().unwrap();
    assert!(new > 0 && new * 10 < first["tokens"].as_u64().unwrap(), "{new} tokens were encoded again");
    place.run(&["train", "out", "--out", "head"]).ok();
    embed("out").says(&["finished already"]);

    // What was taken out comes back: its vectors are still there.
    place.write("in/c.csv", numbered(200, 30));
    embed("out");
    embed("fourth");
    assert_eq!(place.json("out/run.json")["this_run"]["tokens"], 0);
    assert!(sorted(&place, "out") == sorted(&place, "fourth"), "another outcome");
}

#[test]
fn score_and_ingest_drop_the_rows_that_are_gone() {
    let Some(head) = head() else { return };
    let place = Place::new();
    files(&place);
    let ingest = ["ingest", "in", "--unit-bytes", "1KiB", "--out", "reviews"];
    let score = ["score", "in", "--head", head, "--unit-bytes", "1KiB", "--out", "scored"];
    let sources = |dataset: &str| {
        let mut found = strings(&read(&place, dataset), "source_file");
        found.sort();
        found
    };
    for (command, dataset) in [(&ingest[..], "reviews/reviews"), (&score[..], "scored/predictions")] {
        files(&place);
        place.run(command).ok();
        let before = sources(dataset);
        fs_err::remove_file(place.path("in/a.csv")).unwrap();
        place.run(command).ok();
        let left: Vec<String> = before.into_iter().filter(|source| source != "in/a.csv").collect();
        assert_eq!(left.len(), 90);
        assert_eq!(sources(dataset), left);
    }
}

#[test]
fn changed_flags_are_refused_with_each_difference_whether_the_input_has_changed_or_not() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    place.write("in.csv", csv(6, 6));
    let before = place.files("out");
    let other = ["ingest", "in.csv", "--out", "out", "--clean", "html", "--unit-bytes", "1MiB"];
    let refused = place.run(&other).fails(1, &["reading.clean", "reading.unit_bytes", "--overwrite"]);
    assert!(!refused.stderr.contains("snapshot"), "{}", refused.stderr);
    assert!(before == place.files("out"), "a refused output was touched");
}

#[test]
fn files_that_grow_or_vanish_while_they_are_read_end_the_run_and_the_next_one_sees_them_as_they_are() {
    let Some(model) = model() else { return };
    type Change = fn(&Place);
    let changes: [(&str, Change); 2] = [
        ("grows", |place| place.write("in/39.csv", numbered(39 * 30, 31))),
        ("vanishes", |place| fs_err::remove_file(place.path("in/39.csv")).unwrap()),
    ];
    for (what, change) in changes {
        let place = Place::new();
        (0..40).for_each(|file| place.write(&format!("in/{file}.csv"), numbered(file * 30, 30)));
        let arguments =
            ["embed", "--model", &model, "--precision", "fp32", "--unit-bytes", "1KiB", "in", "--out", "out"];
        let child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let manifest = || fs_err::read_to_string(place.path("out/manifest.jsonl")).unwrap_or_default();
        let start = Instant::now();
        while !manifest().contains("{\"unit\"") && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        change(&place);
        Ran::of(&child.wait_with_output().unwrap()).fails(1, &["in/39.csv"]);
        place.run(&["train", "out", "--out", "head"]).fails(1, &["incomplete"]);
        place.run(&arguments).ok();
        place.embed(&model, &["--unit-bytes", "1KiB", "in", "--out", "fresh"]);
        assert!(sorted(&place, "out") == sorted(&place, "fresh"), "{what}: another outcome");
    }
}

#[test]
fn a_file_that_is_another_for_a_while_never_counts_under_what_it_was() {
    let place = Place::new();
    let (ours, theirs) = (csv(6000, 60), csv(6000, 60).replace("pos", "neg"));
    place.write("in.csv", &ours);
    let ingest = ["ingest", "in.csv", "--unit-bytes", "64KiB", "--out", "out"];
    let child = place.command(&ingest).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let manifest = || fs_err::read_to_string(place.path("out/manifest.jsonl")).unwrap_or_default();
    let start = Instant::now();
    while !manifest().contains("{\"unit\"") && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The same file and size, another content: what is read from now on is not what was hashed.
    place.write("in.csv", &theirs);
    Ran::of(&child.wait_with_output().unwrap()).fails(1, &["`in.csv`", "changed"]);
    place.write("in.csv", &ours);
    place.run(&ingest).ok();
    place.run(&["ingest", "in.csv", "--unit-bytes", "64KiB", "--out", "fresh"]).ok();
    assert!(read(&place, "out/reviews") == read(&place, "fresh/reviews"), "rows of the other content are there");
}

#[test]
fn labels_that_folders_give_follow_the_folders() {
    let place = Place::new();
    place.write("in/sports/1.txt", "a fine match");
    place.write("in/sports/2.txt", "a dull match");
    let ingest = |out| ["ingest", "in", "--out", out];
    place.run(&ingest("out")).ok();
    place.write("in/tennis/1.txt", "a long match");
    place.run(&ingest("out")).ok();
    place.run(&ingest("fresh")).ok();
    let labels = |out: &str| {
        let reviews = read(&place, &format!("{out}/reviews"));
        let mut rows: Vec<_> = strings(&reviews, "source_file").into_iter().zip(texts(&reviews, "label")).collect();
        rows.sort();
        rows
    };
    assert_eq!(labels("out"), labels("fresh"));
    assert!(labels("out").iter().all(|(_, label)| label.is_some()));
}

#[test]
fn a_kept_column_never_changes_its_type_within_an_output() {
    let place = Place::new();
    fs_err::create_dir(place.path("in")).unwrap();
    super::fixtures::parquet(&place.path("in/a.parquet"));
    let ingest = ["ingest", "in", "--text-column", "review", "--keep-columns", "id", "--out", "out"];
    place.run(&ingest).ok();
    place.write("in/b.csv", "review,id\nfine,x7\n");
    place.run(&ingest).fails(1, &["keep_types", "--overwrite"]);
}

#[test]
fn a_touch_redoes_nothing_and_an_input_that_is_empty_for_a_while_costs_nothing() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let whole = numbered(0, 40) + "the other,neg\nand another,neg\n";
    place.write("in.csv", &whole);
    let embed = || ["embed", "--model", &model, "--precision", "fp32", "in.csv", "--out", "out"].map(str::to_owned);
    let run = || {
        let arguments = embed();
        place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run().ok();
    place.run(&["train", "out", "--out", "head"]).ok();
    let features = place.files("out/features");
    // Somebody's notebook looked into the folder.
    place.write("out/rows/.ipynb_checkpoints/notes.txt", "mine");
    place.write("in.csv", &whole);
    run().ok();
    assert_eq!(place.json("out/run.json")["this_run"]["units"], 0);
    place.run(&["train", "out", "--out", "head"]).ok().says(&["finished already"]);
    place.write("in.csv", "text,label\n");
    run().fails(1, &["no records"]);
    assert!(features == place.files("out/features"), "vectors are gone");
    place.write("in.csv", &whole);
    run().ok();
    assert_eq!(place.json("out/run.json")["this_run"]["tokens"], 0);
    assert!(place.path("out/rows/.ipynb_checkpoints/notes.txt").exists());
}
