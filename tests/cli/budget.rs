//! Too many rejects: the run fails with a summary and the way out, and what is done stays. And a disk that is full.

use std::process::Command;

use super::datasets::{ordinals, read, strings};
use super::fixtures::csv;
use super::support::{Place, Ran, model};

#[test]
fn too_many_rejects_fail_the_run_and_a_larger_budget_finishes_it_without_work() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(100, 6) + "too,many,fields\n,neg\n,pos\nagain,too,many\n");
    let embed = ["embed", "--model", &model, "in.csv", "--out", "out"];
    let told = place.run(&embed).fails(1, &["2 of 104 rows", "1.9 %", "--max-reject-share 0.01", "bertline show out"]);
    assert!(told.stderr.contains("empty_text 2, wrong_width 2"), "{}", told.stderr);
    place.run(&["show", "out"]).ok();
    place.run(&["train", "out", "--out", "head"]).fails(1, &["incomplete"]);
    let enough = place.run(&[&embed[..], &["--max-reject-share", "0.02"]].concat()).ok();
    enough.says(&["resuming", "104 rows in", "100 out", "4 rejected (empty_text 2, wrong_width 2)"]);
    let report = place.json("out/run.json");
    assert_eq!(report["this_run"]["units"], 0);
    assert_eq!(report["rejected"], serde_json::json!({ "empty_text": 2, "wrong_width": 2 }));
    let rejects = read(&place, "out/rejects");
    assert_eq!(rejects.num_rows(), 4);
    assert_eq!(strings(&rejects, "reason").len(), ordinals(&rejects).len());
}

#[test]
fn rows_without_text_do_not_count() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(10, 6) + ",pos\n,neg\n,pos\n");
    place.embed(&model, &["in.csv", "--max-rejects", "0", "--max-reject-share", "0", "--out", "out"]);
    assert_eq!(place.json("out/run.json")["rows_rejected"], 3);
}

#[test]
fn a_number_that_is_exceeded_ends_the_run_at_once() {
    let place = Place::new();
    place.write("in.csv", format!("text,label\n{}{}", "too,many,fields\n".repeat(400), csv(4000, 10)));
    let ingest = ["ingest", "in.csv", "--unit-bytes", "4KiB", "--max-rejects", "100", "--max-reject-share", "1"];
    let ingest = [&ingest[..], &["--out", "out"]].concat();
    place.run(&ingest).fails(1, &["--max-rejects 100", "wrong_width"]);
    let units = || fs_err::read_to_string(place.path("out/manifest.jsonl")).unwrap().lines().count();
    let stopped = units();
    // An input that was mended is judged by what it is now.
    place.write("in.csv", csv(4000, 10));
    place.run(&ingest).ok();
    assert!(stopped * 4 < units(), "{stopped} of {} lines were written before it ended", units());
    assert_eq!(read(&place, "out/reviews").num_rows(), 4000);
    assert!(!place.path("out/rejects").exists() || fs_err::read_dir(place.path("out/rejects")).unwrap().count() == 0);
}

#[test]
fn a_budget_or_a_unit_that_cannot_be_is_a_usage_error() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    for (flag, value, word) in [
        ("--max-reject-share", "2", "between 0 and 1"),
        ("--max-rejects", "some", "--max-rejects"),
        ("--unit-bytes", "5", "between 1KiB and 1GiB"),
        ("--unit-bytes", "much", "2MiB"),
    ] {
        place.run(&["ingest", "in.csv", "--out", "out", flag, value]).fails(2, &[flag, word]);
        assert!(!place.path("out").exists());
    }
}

/// The shell's file size limit stands in for a disk: a write beyond it fails in the middle, as on a full one.
#[test]
fn a_disk_that_fills_up_ends_the_run_with_the_files_name_and_nothing_half() {
    let place = Place::new();
    place.write("in.csv", csv(4000, 60));
    let arguments = ["ingest", "in.csv", "--unit-bytes", "200KiB", "--out", "out"];
    let binary = env!("CARGO_BIN_EXE_bertline");
    // In blocks of 512 bytes; the signal that would end the process is ignored, so that the write itself fails.
    let shell = format!("trap '' XFSZ; ulimit -f 60; exec {binary} {}", arguments.join(" "));
    let full = Command::new("sh").args(["-c", &shell]).current_dir(place.path("")).output().unwrap();
    Ran::of(&full).fails(1, &["out/reviews/", "too large"]);
    assert!(!place.path("out").exists(), "nothing was committed");
    place.run(&arguments).ok();
    assert_eq!(read(&place, "out/reviews").num_rows(), 4000);
}
