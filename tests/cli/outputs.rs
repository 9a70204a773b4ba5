//! Whose an output folder is: the same run's, another run's, or somebody else's.

use std::os::unix::fs::PermissionsExt as _;

use super::datasets::{embedded, read};
use super::earlier::Earlier;
use super::fixtures::csv;
use super::support::{Place, model};

#[test]
fn the_same_command_on_a_finished_output_does_nothing_and_says_so() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(20, 6));
    place.embed(&model, &["in.csv", "--out", "features"]);
    place.run(&["ingest", "in.csv", "--out", "reviews"]).ok();
    place.run(&["train", "features", "--out", "head"]).ok();
    place.run(&["score", "in.csv", "--head", "head", "--out", "scored"]).ok();
    let before: Vec<_> = ["features", "reviews", "head", "scored"].map(|out| place.files(out)).into();
    let again = [
        place.embed(&model, &["in.csv", "--out", "features"]),
        place.run(&["ingest", "in.csv", "--out", "reviews"]),
        place.run(&["train", "features", "--out", "head"]),
        place.run(&["score", "in.csv", "--head", "head", "--out", "scored"]),
    ];
    for ran in again {
        ran.ok().says(&["finished already", "nothing to do"]);
    }
    let after: Vec<_> = ["features", "reviews", "head", "scored"].map(|out| place.files(out)).into();
    assert!(before == after, "a finished output was touched");
}

#[test]
fn the_output_of_another_run_is_refused_with_the_differences_and_overwrite_starts_over() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(12, 20));
    place.embed(&model, &["in.csv", "--out", "out"]);
    let before = place.files("out");
    let shorter = ["embed", "--model", &model, "in.csv", "--out", "out", "--max-length", "8"];
    let refused = place.run(&shorter).fails(1, &["`out`", "another run", "max_length", "250", "8", "--overwrite"]);
    assert!(!refused.stderr.contains("label"), "what is alike is no difference: {}", refused.stderr);
    assert!(before == place.files("out"), "a refused output was touched");
    place.run(&[&shorter[..], &["--overwrite"]].concat()).ok();
    assert!(embedded(&place, "out").iter().all(|row| row.truncated));
    assert_eq!(read(&place, "out/rows").num_rows(), 12);
}

#[test]
fn the_output_of_another_input_or_another_stage_is_refused() {
    let place = Place::new();
    place.write("a.csv", csv(3, 5));
    place.write("b.csv", csv(4, 5));
    place.run(&["ingest", "a.csv", "--out", "out"]).ok();
    place.run(&["ingest", "b.csv", "--out", "out"]).fails(1, &["`out`", "a.csv", "b.csv", "--overwrite"]);
    let Some(model) = model() else { return };
    let embed = place.run(&["embed", "--model", &model, "a.csv", "--out", "out"]);
    embed.fails(1, &["`out`", "ingest", "embed", "--overwrite"]);
}

#[test]
fn a_changed_input_is_noticed_and_read_again() {
    let place = Place::new();
    place.write("in.csv", csv(3, 5));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    place.write("in.csv", csv(5, 5));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok().says(&["the input has changed", "1 units", "no longer"]);
    assert_eq!(read(&place, "out/reviews").num_rows(), 5);
    let run = place.json("out/run.json");
    assert_eq!((&run["rows_in"], &run["this_run"]["rows"]), (&5.into(), &5.into()));
}

#[test]
fn a_folder_that_holds_something_else_is_never_written_to() {
    let place = Place::new();
    place.write("in.csv", csv(3, 5));
    place.write("mine/thesis.txt", "years of work");
    for flags in [&[][..], &["--overwrite"]] {
        let ran = place.run(&[&["ingest", "in.csv", "--out", "mine"], flags].concat());
        ran.fails(1, &["`mine`", "something else", "thesis.txt"]);
    }
    assert_eq!(place.files("mine").len(), 1);
    place.write("theirs/reviews/keep.parquet", "data");
    place.run(&["ingest", "in.csv", "--out", "theirs", "--overwrite"]).fails(1, &["`theirs`", "something else"]);
    assert_eq!(place.files("theirs").len(), 1);
}

#[test]
fn a_run_that_was_refused_leaves_nothing_in_the_way_of_the_right_command() {
    let place = Place::new();
    place.write("in.csv", "id,stars\n1,5\n");
    place.run(&["ingest", "in.csv", "--out", "out"]).fails(2, &["--text-column"]);
    place.run(&["ingest", "in.csv", "--out", "out", "--text-column", "ids"]).fails(2, &["`ids`"]);
    place.run(&["ingest", "in.csv", "--out", "out", "--text-column", "id"]).ok();
    let Some(model) = model() else { return };
    place.embed(&model, &["in.csv", "--out", "features", "--text-column", "id", "--label-column", "stars"]);
    place.run(&["train", "features", "--out", "head"]).fails(1, &["class"]);
    place.write("more.csv", csv(20, 5));
    place.embed(&model, &["more.csv", "--out", "more"]);
    place.run(&["train", "more", "--out", "head"]).ok();
}

#[test]
fn an_empty_folder_is_taken() {
    let place = Place::new();
    place.write("in.csv", csv(3, 5));
    fs_err::create_dir(place.path("out")).unwrap();
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    assert_eq!(read(&place, "out/reviews").num_rows(), 3);
}

#[test]
fn a_manifest_line_stands_for_every_unit_and_names_its_parts() {
    let place = Place::new();
    place.write("in.csv", csv(3, 5));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let manifest = fs_err::read_to_string(place.path("out/manifest.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["run"].is_object() && lines[2]["complete"].is_object() && lines.len() == 3, "{manifest}");
    let (unit, part) = (&lines[1], &lines[1]["parts"][0]);
    assert_eq!((&unit["source"], &unit["rows_in"], &part["rows"]), (&"in.csv".into(), &3.into(), &3.into()));
    let file = place.path("out").join(part["path"].as_str().unwrap());
    assert_eq!(part["bytes"], fs_err::metadata(file).unwrap().len());
}

#[test]
fn every_file_may_be_read_by_whom_the_umask_lets() {
    if model().is_none() {
        return;
    }
    for umask in [0o022, 0o027] {
        let earlier = Earlier::new();
        let run = |arguments: &[&str]| earlier.run_under(umask, arguments).ok();
        let how = ["--model", "tests/tiny", "--max-length", "16", "--precision", "fp32", "--provider", "mlas"];
        run(&[&["embed", "in", "--cache", "vectors", "--max-reject-share", "1", "--out", "features"][..], &how]
            .concat());
        run(&["train", "features", "--out", "trained"]);
        run(&["score", "in", "--head", "trained", "--max-reject-share", "1", "--out", "scored"]);
        run(&["export", "--head", "trained", "--out", "served/model.onnx"]);
        for folder in ["features", "vectors", "trained", "scored", "served", "cache/graphs"] {
            let files = earlier.0.files(folder);
            assert!(!files.is_empty(), "{folder}");
            for (path, _) in files {
                let mode = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(format!("{mode:o}"), format!("{:o}", 0o666 & !umask), "{path:?}");
            }
        }
    }
}
