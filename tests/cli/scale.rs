//! Many reviews through a tiny encoder: what the rate and the memory are from start to end, under a ceiling, and that a
//! kill costs the units in flight.
//!
//! `BERTLINE_SCALE=1` (`make check-scale`) makes it five million short reviews in 50 files and 200,000 of real length,
//! and prints what was measured, as a table and as samples of memory over time; the normal tests do a hundredth of it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::fixtures::distinct_text;
use super::support::{Place, Ran, model};
use super::tiny::tiny_bert;

/// Time between two samples.
const EVERY: Duration = Duration::from_millis(50);
/// What the design promises: so much, and 24 bytes a distinct text.
const CEILING: u64 = 1 << 30;
const BYTES_A_TEXT: u64 = 24;

/// A dataset.
struct Shape {
    name: &'static str,
    rows: usize,
    files: usize,
    words: std::ops::Range<usize>,
    /// Of ten rows, so many have a text that no earlier one has.
    new_in_ten: usize,
}

fn at_full_scale() -> bool {
    std::env::var_os("BERTLINE_SCALE").is_some()
}

fn shapes() -> [Shape; 2] {
    let part = if at_full_scale() { 1 } else { 100 };
    [
        Shape { name: "short", rows: 5_000_000 / part, files: 50, words: 3..14, new_in_ten: 4 },
        Shape { name: "long", rows: 200_000 / part, files: 8, words: 60..400, new_in_ten: 10 },
    ]
}

impl Shape {
    /// The text of a row: a new one, or one of the rows before.
    fn text(&self, row: usize) -> String {
        let mut number = row;
        while number % 10 >= self.new_in_ten {
            // Anywhere before it, and so on until that is a row with a text of its own.
            number = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % number;
        }
        let words = self.words.start + number * 7919 % self.words.len();
        distinct_text(number, words)
    }

    fn distinct(&self) -> u64 {
        (self.rows / 10 * self.new_in_ten) as u64
    }

    fn write(&self, folder: &Path) {
        fs_err::create_dir_all(folder).unwrap();
        let rows = self.rows / self.files;
        for file in 0..self.files {
            let path = folder.join(format!("{file:03}.parquet"));
            let texts = |rows: std::ops::Range<usize>| -> ArrayRef {
                Arc::new(StringArray::from_iter_values(rows.map(|row| self.text(row))))
            };
            let first = file * rows;
            let schema = RecordBatch::try_from_iter([("text", texts(first..first))]).unwrap().schema();
            let file = fs_err::File::create(path).unwrap().into_file();
            let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
            for start in (first..first + rows).step_by(20_000) {
                let end = (start + 20_000).min(first + rows);
                writer.write(&RecordBatch::try_from_iter([("text", texts(start..end))]).unwrap()).unwrap();
            }
            writer.close().unwrap();
        }
    }
}

/// Seconds since the start, resident bytes, and seconds of all cores so far.
type Sample = (f64, u64, f64);

fn sample(child: &Child, start: Instant) -> Option<Sample> {
    let process = Path::new("/proc").join(child.id().to_string());
    let status = fs_err::read_to_string(process.join("status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = kibibytes.split_ascii_whitespace().next()?.parse().ok()?;
    let stat = fs_err::read_to_string(process.join("stat")).ok()?;
    // Behind the name, which may hold spaces: fields 14 and 15, in hundredths of a second.
    let ticks: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = ticks[11].parse::<f64>().ok()? + ticks[12].parse::<f64>().ok()?;
    Some((start.elapsed().as_secs_f64(), kibibytes << 10, ticks / 100.0))
}

/// Runs to the end.
fn watch(place: &Place, arguments: &[&str]) -> Vec<Sample> {
    let start = Instant::now();
    let error = fs_err::File::create(place.path("stderr")).unwrap().into_file();
    let mut child = place.command(arguments).stdout(Stdio::null()).stderr(error).spawn().unwrap();
    let mut samples = Vec::new();
    let status = loop {
        samples.extend(sample(&child, start));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(EVERY);
    };
    assert!(status.success(), "{arguments:?}: {}", fs_err::read_to_string(place.path("stderr")).unwrap());
    samples
}

/// The committed units, as the manifest has them.
fn units_of(place: &Place, out: &str) -> Vec<Value> {
    let manifest = fs_err::read_to_string(place.path(out).join("manifest.jsonl")).unwrap_or_default();
    let lines = manifest.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("unit").is_some()).collect()
}

/// Rows a second over each tenth of the units.
fn rates(units: &[Value]) -> Vec<f64> {
    let tenths = units.chunks(units.len().div_ceil(10));
    tenths
        .map(|tenth| {
            let sum = |number: &dyn Fn(&Value) -> f64| tenth.iter().map(number).sum::<f64>();
            sum(&|unit| unit["rows_in"].as_f64().unwrap()) / sum(&|unit| unit["stats"]["seconds"].as_f64().unwrap())
        })
        .collect()
}

fn say(shape: &Shape, stage: &str, samples: &[Sample], units: &[Value], peak: u64) {
    let (seconds, _, busy) = *samples.last().unwrap();
    let list = |numbers: &[f64]| numbers.iter().map(|number| format!("{number:.0}")).collect::<Vec<_>>().join(" ");
    let every = samples.len().div_ceil(20);
    let memory: Vec<f64> =
        samples.iter().step_by(every).map(|(_, bytes, _)| *bytes as f64 / (1 << 20) as f64).collect();
    eprintln!(
        "scale: {} {stage}: {} rows in {} units, {seconds:.1} s, {:.2} cores busy, peak {} MiB",
        shape.name,
        shape.rows,
        units.len(),
        busy / seconds,
        peak >> 20,
    );
    eprintln!(
        "scale:   thousand rows/s by tenths: {}",
        list(&rates(units).iter().map(|r| r / 1e3).collect::<Vec<_>>())
    );
    eprintln!("scale:   MiB resident, every {:.1} s: {}", every as f64 * EVERY.as_secs_f64(), list(&memory));
}

fn run(place: &Place, shape: &Shape, stage: &str, command: &[&str]) {
    let arguments = |out| [command, &[shape.name, "--unit-bytes", "512KiB", "--quiet", "--out", out]].concat();
    let samples = watch(place, &arguments("whole"));
    let (units, report) = (units_of(place, "whole"), place.json("whole/run.json"));
    let peak = report["peak_rss_bytes"].as_u64().unwrap();
    say(shape, stage, &samples, &units, peak);
    assert_eq!(report["rows_in"], shape.rows);
    let ceiling = CEILING + BYTES_A_TEXT * shape.distinct();
    assert!(peak < ceiling, "{} {stage}: {} MiB of {} MiB", shape.name, peak >> 20, ceiling >> 20);
    if stage == "embed" {
        assert_eq!(report["texts"], shape.distinct(), "each distinct text is encoded once");
    }
    // What is said of one stage holds for the others, and takes as long again.
    if !at_full_scale() || (shape.name, stage) == ("short", "embed") {
        kill_halfway(place, arguments("killed").as_slice(), &units, &report);
    }
    fs_err::remove_dir_all(place.path("whole")).unwrap();
}

/// Runs once more, with a kill in the middle; `units` and `report` are of an undisturbed run.
fn kill_halfway(place: &Place, arguments: &[&str], units: &[Value], report: &Value) {
    let fault = format!("kill:parts-durable@{}", units.len() / 2);
    let killed = place.command(arguments).env("BERTLINE_FAULT", fault).output().unwrap();
    assert!(!killed.status.success());
    let before = units_of(place, "killed").len();
    assert_eq!(before, units.len() / 2 - 1);
    Ran::of(&place.command(arguments).output().unwrap()).ok();
    let again = place.json("killed/run.json");
    assert_eq!(again["this_run"]["units"], units.len() - before);
    // Each distinct text of the committed units was encoded once, so what the kill cost is in none of these sums.
    for key in ["rows_in", "rows_out", "rows_rejected", "texts", "tokens"] {
        assert_eq!(again[key], report[key], "{arguments:?}: {key}");
    }
    eprintln!("scale:   killed after {before} units; {} were done by the next run", units.len() - before);
    fs_err::remove_dir_all(place.path("killed")).unwrap();
}

#[test]
fn memory_stays_under_its_ceiling_and_a_kill_costs_the_units_in_flight() {
    let Some(model) = model() else { return };
    let place = Place::new();
    tiny_bert(&place.path("tiny"), &model);
    place.write("few.csv", (0..60).map(|row| format!("word {row},{}\n", row % 2)).collect::<String>());
    place
        .run(&[
            "embed",
            "few.csv",
            "--no-header",
            "--text-column",
            "0",
            "--label-column",
            "1",
            "--model",
            "tiny",
            "--out",
            "few",
        ])
        .ok();
    place.run(&["train", "few", "--out", "head"]).ok();
    for shape in shapes() {
        shape.write(&place.path(shape.name));
        for (stage, command) in [
            ("ingest", &["ingest"][..]),
            ("embed", &["embed", "--model", "tiny"]),
            ("score", &["score", "--head", "head"]),
        ] {
            run(&place, &shape, stage, command);
        }
    }
}
