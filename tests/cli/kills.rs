//! A process that is killed, at every gap between two steps of a commit and at any time: the same command goes on, and
//! the outcome is that of an undisturbed run, row by row.
//!
//! `BERTLINE_KILLS=100` (`make check-kills`) makes the runs at random instants longer: so many kills over all stages.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde_json::Value;

use super::datasets::{embedded, read};
use super::fixtures::{csv, head};
use super::support::{Place, model};

/// The gaps, in their order.
const POINTS: [&str; 10] = [
    "part-begun",
    "part-written",
    "part-synced",
    "part-renamed",
    "parts-durable",
    "manifest-torn",
    "manifest-written",
    "manifest-synced",
    "report-written",
    "report-renamed",
];
/// Units that a process works on at a time: so many may be lost with it.
const UNITS_IN_FLIGHT: usize = 3;
const SIGABRT: i32 = 6;

/// Kills of a run at random instants.
fn kills() -> usize {
    std::env::var("BERTLINE_KILLS").map_or(4, |kills| kills.parse::<usize>().unwrap().div_ceil(3))
}

/// Records with every kind of trouble: duplicates, no text, a record of the wrong width.
fn troubled(rows: usize) -> String {
    let mut csv = csv(rows, 30);
    csv += "too,many,fields\n,neg\n";
    csv + "the same,pos\n".repeat(20).as_str()
}

/// The units that the manifest of `out` names; every part that it names must be there, and no row twice.
fn committed(place: &Place, out: &str) -> Vec<Value> {
    let manifest = fs_err::read_to_string(place.path(out).join("manifest.jsonl")).unwrap_or_default();
    let whole = manifest.rfind('\n').map_or("", |end| &manifest[..end]);
    let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let units: Vec<Value> = lines.into_iter().filter(|line| line.get("unit").is_some()).collect();
    let names: HashSet<&str> = units.iter().map(|unit| unit["unit"].as_str().unwrap()).collect();
    assert_eq!(names.len(), units.len(), "a unit is committed twice");
    let parts = |unit: &Value| unit["parts"].as_array().unwrap().clone();
    for part in units.iter().flat_map(parts) {
        let path = place.path(out).join(part["path"].as_str().unwrap());
        assert_eq!(fs_err::metadata(&path).unwrap().len(), part["bytes"].as_u64().unwrap(), "{path:?}");
    }
    units
}

/// Parts of `dataset` that no line names: what was lost with the process.
fn orphans(place: &Place, out: &str, dataset: &str) -> usize {
    let there = fs_err::read_dir(place.path(out).join(dataset)).map_or(0, Iterator::count);
    let named =
        committed(place, out).iter().flat_map(|unit| unit["parts"].as_array().unwrap().clone()).collect::<Vec<_>>();
    there - named.iter().filter(|part| part["dataset"] == dataset).count()
}

/// Everything that an output says, timings apart.
fn outcome(place: &Place, out: &str) -> (Vec<RecordBatch>, Vec<Value>) {
    let datasets = ["reviews", "rows", "features", "predictions", "rejects"].into_iter();
    let there = datasets.filter(|dataset| place.path(out).join(dataset).exists());
    let report = place.json(&format!("{out}/run.json"));
    let keys = ["rows_in", "rows_out", "rows_rejected", "rejected", "rows_deduplicated", "tokens", "texts"];
    let figures = keys.into_iter().map(|key| report[key].clone()).collect();
    (there.map(|dataset| read(place, &format!("{out}/{dataset}"))).collect(), figures)
}

/// Runs to the end; `this_run` must be of what was left alone.
#[track_caller]
fn finish(place: &Place, arguments: &[&str], out: &str) {
    let before = committed(place, out).len();
    place.run(arguments).ok();
    let report = place.json(&format!("{out}/run.json"));
    let units = committed(place, out).len();
    assert_eq!(report["this_run"]["units"], units - before, "of {units} units, {before} were done");
}

fn arguments<'a>(command: &'a [&'a str], out: &'a str) -> Vec<&'a str> {
    [command, &["--unit-bytes", "4KiB", "--max-reject-share", "1", "--out", out]].concat()
}

#[test]
fn ingest_survives_a_kill_at_every_gap_between_two_steps() {
    let place = Place::new();
    place.write("in.csv", troubled(300));
    let ingest = ["ingest", "in.csv"];
    place.run(&arguments(&ingest, "whole")).ok();
    let due = outcome(&place, "whole");
    let total = committed(&place, "whole").len();
    assert!(total >= 10, "{total} units");
    for point in POINTS {
        for time in [1, 2, 7] {
            let out = format!("{point}-{time}");
            let fault = format!("kill:{point}@{time}");
            let killed = place.command(&arguments(&ingest, &out)).env("BERTLINE_FAULT", &fault).output().unwrap();
            if point.starts_with("report") && time > 1 {
                assert!(killed.status.success(), "a report is written once");
                continue;
            }
            assert_eq!(killed.status.signal(), Some(SIGABRT), "{fault}: {killed:?}");
            let lost = orphans(&place, &out, "reviews");
            assert!(lost <= UNITS_IN_FLIGHT, "{fault}: {lost} units were lost");
            finish(&place, &arguments(&ingest, &out), &out);
            assert!(outcome(&place, &out) == due, "{fault}: another outcome");
            assert_eq!(orphans(&place, &out, "reviews"), 0, "{fault}");
        }
    }
}

#[test]
fn embed_and_score_survive_a_kill_at_one_gap_after_another() {
    let Some((model, head)) = model().zip(head()) else { return };
    let place = Place::new();
    place.write("in.csv", troubled(300));
    let embed = ["embed", "--model", &model, "--precision", "fp32", "--max-length", "16", "in.csv"];
    let score = ["score", "--head", head, "--precision", "fp32", "in.csv"];
    for (command, whole, out) in [(&embed[..], "whole-embed", "embed"), (&score[..], "whole-score", "score")] {
        place.run(&arguments(command, whole)).ok();
        let mut before = 0;
        // After the first there are units to go on from; at each second time but the report's another one is committed.
        for (point, time) in [("parts-durable", 4)].into_iter().chain(POINTS.map(|point| (point, 2))) {
            let fault = format!("kill:{point}@{}", if point.starts_with("report") { 1 } else { time });
            let killed = place.command(&arguments(command, out)).env("BERTLINE_FAULT", &fault).output().unwrap();
            assert_eq!(killed.status.signal(), Some(SIGABRT), "{fault}: {killed:?}");
            let now = committed(&place, out).len();
            assert!(now >= before.max(3), "{fault}: {before} units were committed, now {now}");
            before = now;
        }
        finish(&place, &arguments(command, out), out);
        assert!(outcome(&place, out) == outcome(&place, whole), "{command:?}: another outcome");
    }
    assert!(embedded(&place, "embed") == embedded(&place, "whole-embed"));
}

#[test]
fn a_train_that_is_killed_before_it_is_complete_starts_over() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(40, 8));
    place.embed(&model, &["in.csv", "--out", "features"]);
    let train = |out| ["train", "features", "--out", out];
    place.run(&train("whole")).ok();
    for point in ["manifest-torn", "manifest-written", "report-written", "report-renamed"] {
        let fault = format!("kill:{point}@1");
        place.command(&train("head")).env("BERTLINE_FAULT", &fault).output().unwrap();
        place.run(&train("head")).ok();
        place.run(&train("head")).ok().says(&["finished already"]);
        assert_eq!(committed(&place, "head").len(), 1, "{fault}");
        assert_eq!(place.json("head/run.json")["rows_in"], 40, "{fault}");
        assert_eq!(place.json("head/run.json")["head_digest"], place.json("whole/run.json")["head_digest"], "{fault}");
        fs_err::remove_dir_all(place.path("head")).unwrap();
    }
}

#[test]
fn a_redo_of_a_changed_input_survives_kills_too() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let embed = ["embed", "--model", &model, "--precision", "fp32", "--max-length", "16", "in"];
    let change = |from: usize| {
        for file in 0..4 {
            place.write(&format!("in/{file}.csv"), csv(60 + from * (file % 2), 30));
        }
    };
    change(0);
    place.run(&arguments(&embed, "out")).ok();
    change(20);
    for (point, time) in [("manifest-written", 1), ("parts-durable", 2), ("manifest-torn", 3), ("report-written", 1)] {
        let fault = format!("kill:{point}@{time}");
        let killed = place.command(&arguments(&embed, "out")).env("BERTLINE_FAULT", &fault).output().unwrap();
        assert_eq!(killed.status.signal(), Some(SIGABRT), "{fault}: {killed:?}");
    }
    place.run(&arguments(&embed, "out")).ok();
    place.run(&arguments(&embed, "whole")).ok();
    let rows = |out| {
        let mut rows = embedded(&place, out);
        rows.sort_by(|a, b| (&a.source_file, a.row).cmp(&(&b.source_file, b.row)));
        rows
    };
    assert!(rows("out") == rows("whole"), "another outcome");
}

/// Numbers that are the same in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Waits until `child` has committed `units` more, for a while at most; whether it is still running.
fn lives_until(place: &Place, out: &str, units: usize, child: &mut Child) -> bool {
    let (wanted, start) = (committed(place, out).len() + units, Instant::now());
    while committed(place, out).len() < wanted && start.elapsed() < Duration::from_secs(60) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Kills the command at random instants, again and again, and compares its outcome with an undisturbed one.
fn torment(place: &Place, command: &[&str], input: impl Fn(usize) -> String) {
    let (mut random, kills) = (Random(42), kills());
    // Enough units for every kill to find something to do.
    place.write("in.csv", input(40 * kills + 200));
    place.run(&arguments(command, "whole")).ok();
    let (mut struck, mut before) = (0, 0);
    while struck < kills {
        let mut child =
            place.command(&arguments(command, "out")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let alive = lives_until(place, "out", random.below(3) as usize, &mut child);
        std::thread::sleep(Duration::from_millis(random.below(30)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(alive && status.signal() == Some(9), "{command:?} ended by itself after {struck} kills: {status}");
        struck += 1;
        let now = committed(place, "out").len();
        assert!(now >= before, "{before} units were committed, now {now}");
        before = now;
    }
    finish(place, &arguments(command, "out"), "out");
    assert!(outcome(place, "out") == outcome(place, "whole"), "{command:?}: another outcome after {struck} kills");
}

#[test]
fn ingest_survives_kills_at_any_time() {
    torment(&Place::new(), &["ingest", "in.csv"], |rows| troubled(rows * 16));
}

#[test]
fn embed_survives_kills_at_any_time() {
    let Some(model) = model() else { return };
    torment(
        &Place::new(),
        &["embed", "--model", &model, "--precision", "fp32", "--max-length", "16", "in.csv"],
        troubled,
    );
}

#[test]
fn score_survives_kills_at_any_time() {
    let Some(head) = head() else { return };
    torment(&Place::new(), &["score", "--head", head, "--precision", "fp32", "in.csv"], troubled);
}

#[test]
fn a_kill_that_can_never_come_is_refused() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    let mut command = place.command(&["ingest", "in.csv", "--out", "out"]);
    let ran = command.env("BERTLINE_FAULT", "kill:nowhere@1").output().unwrap();
    super::support::Ran::of(&ran).fails(2, &["`BERTLINE_FAULT`", "`kill:nowhere@1`", "parts-durable"]);
}
