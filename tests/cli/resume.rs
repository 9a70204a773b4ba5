//! A run that is interrupted: it ends with exit code 130, keeps what is committed, and the same command finishes it.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::datasets::embedded;
use super::fixtures::csv;
use super::support::{Place, model};

/// Seven units of 2 MiB: 1,800 reviews of 1,100 words, of which the encoder sees eight tokens each.
const ROWS: usize = 1800;
const WORDS: usize = 1100;

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn units(place: &Place, out: &str) -> usize {
    let manifest = fs_err::read_to_string(place.path(out).join("manifest.jsonl")).unwrap_or_default();
    manifest.lines().filter(|line| line.starts_with("{\"unit\"")).count()
}

/// Waits until `units` are committed; the process must still be running then.
fn wait_for_units(place: &Place, out: &str, wanted: usize, child: &mut Child) {
    while units(place, out) < wanted {
        if let Some(status) = child.try_wait().unwrap() {
            let mut told = String::new();
            child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            panic!("ended with {status} after {} units: {told}", units(place, out));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_interrupted_embed_is_finished_by_the_same_command_with_the_same_rows() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(ROWS, WORDS));
    let embed = |out| ["embed", "--model", &model, "in.csv", "--max-length", "8", "--out", out];
    place.run(&embed("whole")).ok();
    let total = units(&place, "whole");
    assert!(total >= 5, "{total} units are too few to be interrupted between");

    let mut interrupted = start(&place, &embed("out"));
    wait_for_units(&place, "out", 1, &mut interrupted);
    signal(&interrupted, "INT");
    assert_eq!(interrupted.wait().unwrap().code(), Some(130));
    let kept = units(&place, "out");
    assert!((1..total).contains(&kept), "{kept} of {total} units");
    let unfinished = place.run(&["train", "out", "--out", "head"]);
    unfinished.fails(1, &["`out`", "incomplete"]);

    // And killed outright, without a chance to tidy up.
    let mut killed = start(&place, &embed("out"));
    wait_for_units(&place, "out", kept + 1, &mut killed);
    signal(&killed, "KILL");
    killed.wait().unwrap();

    place.run(&embed("out")).ok().says(&["resuming"]);
    assert_eq!(units(&place, "out"), total);
    assert!(embedded(&place, "out") == embedded(&place, "whole"), "the rows or vectors differ");
    let (resumed, whole) = (place.json("out/run.json"), place.json("whole/run.json"));
    for key in ["rows_in", "rows_out", "rows_rejected", "tokens", "padded_tokens"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
    assert!(resumed["this_run"]["rows"].as_u64() < whole["rows_in"].as_u64());
    assert_eq!(whole["this_run"]["rows"], ROWS);
}

#[test]
fn a_second_process_is_told_who_holds_the_output() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(ROWS, WORDS));
    let arguments = ["embed", "--model", &model, "in.csv", "--max-length", "8", "--out", "out"];
    let mut first = start(&place, &arguments);
    wait_for_units(&place, "out", 1, &mut first);
    place.run(&arguments).fails(1, &["`out`", "in use", &first.id().to_string()]);
    signal(&first, "INT");
    assert_eq!(first.wait().unwrap().code(), Some(130));
}

#[test]
fn a_torn_last_line_of_the_manifest_is_cut_off() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let path = place.path("out/manifest.jsonl");
    let whole = fs_err::read_to_string(&path).unwrap();
    let end = whole.trim_end().rfind('\n').unwrap() + 1;
    fs_err::write(&path, format!("{}{{\"comple", &whole[..end])).unwrap();
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    assert_eq!(fs_err::read_to_string(&path).unwrap(), whole);
}

#[test]
fn a_run_may_go_on_with_other_memory_and_ends_the_same() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(300, 30));
    let embed = |memory, out| {
        let how = ["embed", "--model", &model, "--max-length", "16", "in.csv", "--unit-bytes", "4KiB"];
        [&how[..], &["--memory", memory, "--out", out]].concat()
    };
    place.run(&embed("1KiB", "narrow")).ok();
    place.command(&embed("1GiB", "out")).env("BERTLINE_FAULT", "kill:parts-durable@3").output().unwrap();
    place.run(&embed("1KiB", "out")).ok().says(&["resuming: 2 units"]);
    assert!(embedded(&place, "out") == embedded(&place, "narrow"));
    place.run(&embed("some", "other")).fails(2, &["--memory", "not a size"]);
}
