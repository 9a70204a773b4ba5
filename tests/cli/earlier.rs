//! What an earlier program left: it is read, gone on with and scored from as if this one had written it.
//!
//! `tests/fixtures/format-2` was made by the program of commit 51327d1 in one folder, with the commands below: finished
//! outputs, outputs whose run was killed (`BERTLINE_FAULT` was `kill:parts-durable@3` in `ingest`, `kill:manifest-torn@4`
//! in `embed`, `kill:part-synced@4` in `score`), a head, a store, and the cache with the model that it had pulled: a BERT
//! of one layer of 8 with random weights. Reports in HTML and built graphs were left out.
//!
//! A copied input is another file as far as times and inodes go, so that a run finds it changed and goes by its content.
//! Where a test wants it unchanged it writes the copy's own snapshot into the manifest.

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use serde_json::Value;

use super::datasets::{max_difference, ordinals, read, vectors};
use super::support::{Place, Ran, model, project};

/// Units of `in/` at the size of units that all commands give.
const UNITS: usize = 5;
const LIMITS: [&str; 4] = ["--unit-bytes", "1KiB", "--max-reject-share", "1"];
const NUMERICS: [&str; 4] = ["--precision", "fp32", "--provider", "mlas"];

/// A stage, its arguments, the datasets that it makes, and the units that its killed run had committed.
struct Stage {
    name: &'static str,
    arguments: Vec<&'static str>,
    datasets: &'static [&'static str],
    kept: usize,
}

impl Stage {
    fn ingest() -> Stage {
        Stage { name: "ingest", arguments: vec!["ingest", "in"], datasets: &["reviews", "rejects"], kept: 2 }
    }

    fn embed() -> Stage {
        let how = ["embed", "in", "--model", "tests/tiny", "--max-length", "16"];
        let datasets = &["rows", "features", "rejects"];
        Stage { name: "embed", arguments: [&how[..], &NUMERICS].concat(), datasets, kept: 2 }
    }

    fn score() -> Stage {
        let how = ["score", "in", "--head", "head", "--label-column", "label"];
        let datasets = &["predictions", "rejects"];
        Stage { name: "score", arguments: [&how[..], &NUMERICS].concat(), datasets, kept: 2 }
    }

    /// Those that can run here: encoders need the native libraries, which are there where the default model is.
    fn all() -> Vec<Stage> {
        let encoding = model().map(|_| [Stage::embed(), Stage::score()]);
        [Stage::ingest()].into_iter().chain(encoding.into_iter().flatten()).collect()
    }

    fn to<'a>(&'a self, out: &'a str) -> Vec<&'a str> {
        [&self.arguments[..], &LIMITS, &["--out", out]].concat()
    }

    fn left(&self, how: &str) -> String {
        format!("{}-{how}", self.name)
    }
}

/// A copy of what was left, and this program run beside it.
pub(crate) struct Earlier(pub Place);

impl Earlier {
    pub(crate) fn new() -> Earlier {
        let place = Place::new();
        let from = project("tests/fixtures/format-2");
        for entry in walkdir::WalkDir::new(&from).into_iter().map(Result::unwrap) {
            let relative = entry.path().strip_prefix(&from).unwrap().to_str().unwrap();
            if entry.file_type().is_file() {
                place.write(relative, fs_err::read(entry.path()).unwrap());
            }
        }
        Earlier(place)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.in_its_cache(self.0.command(arguments))
    }

    fn in_its_cache(&self, mut command: Command) -> Command {
        command.env("BERTLINE_CACHE", self.0.path("cache")).env("HF_HUB_OFFLINE", "1");
        command
    }

    /// Runs under another umask.
    pub(crate) fn run_under(&self, umask: u32, arguments: &[&str]) -> Ran {
        let script = format!("umask {umask:o}; exec \"$0\" \"$@\"");
        let typed = [&["-c", &script, env!("CARGO_BIN_EXE_bertline")], arguments].concat();
        Ran::of(&self.in_its_cache(self.0.program(Path::new("sh"), &typed)).output().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Runs with an encoder that fails on everything.
    fn run_without_encoder(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).env("BERTLINE_FAULT", "encode:rows>0").output().unwrap())
    }

    /// The whole lines of a manifest.
    fn manifest(&self, out: &str) -> String {
        let text = fs_err::read_to_string(self.0.path(out).join("manifest.jsonl")).unwrap();
        text[..text.rfind('\n').unwrap() + 1].to_owned()
    }

    /// Lets the output `out` have been made of the input as it lies here: `same` is one that was.
    fn forget_the_copy(&self, out: &str, same: &str) {
        let snapshot = |out: &str| {
            let line: Value = serde_json::from_str(self.manifest(out).lines().next().unwrap()).unwrap();
            line["run"]["snapshot"].to_string()
        };
        let (there, here) = (snapshot(out), snapshot(same));
        assert_ne!(there, here);
        let path = self.0.path(out).join("manifest.jsonl");
        let whole = fs_err::read_to_string(&path).unwrap();
        fs_err::write(path, whole.replacen(&there, &here, 1)).unwrap();
    }

    /// The output `out` must hold what `due` holds: all to the bit, but what another CPU may compute a little otherwise.
    #[track_caller]
    fn assert_same(&self, stage: &Stage, out: &str, due: &str) {
        for dataset in stage.datasets {
            let [found, due] = [out, due].map(|out| read(&self.0, &format!("{out}/{dataset}")));
            assert_same(&found, &due);
        }
        let [found, due] = [out, due].map(|out| self.0.json(&format!("{out}/run.json")));
        for key in ["rows_in", "rows_out", "rows_rejected", "rejected", "rows_deduplicated", "tokens", "inputs"] {
            assert_eq!(found[key], due[key], "{}: {key}", stage.name);
        }
    }
}

#[track_caller]
fn assert_same(found: &RecordBatch, due: &RecordBatch) {
    assert_eq!((found.schema(), found.num_rows()), (due.schema(), due.num_rows()));
    for field in found.schema().fields() {
        let name = field.name().as_str();
        let close = |a: &[f32], b: &[f32]| assert!(max_difference(a, b) < 1e-5, "{name}");
        match name {
            "embedding" | "probabilities" => {
                vectors(found, name).iter().zip(&vectors(due, name)).for_each(|(a, b)| close(a, b));
            }
            "probability" => {
                let values = |batch: &RecordBatch| batch[name].as_primitive::<Float32Type>().values().to_vec();
                close(&values(found), &values(due));
            }
            _ => assert_eq!(&found[name], &due[name], "{name}"),
        }
    }
}

/// The committed parts of an output with their content.
fn parts(earlier: &Earlier, stage: &Stage, out: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let all = stage.datasets.iter().flat_map(|dataset| earlier.0.files(&format!("{out}/{dataset}")));
    let named = earlier.manifest(out);
    all.filter(|(path, _)| named.contains(path.file_name().unwrap().to_str().unwrap())).collect()
}

#[test]
fn a_run_that_was_killed_is_finished_whether_its_input_was_copied_or_not() {
    for stage in Stage::all() {
        for copied in [true, false] {
            let (earlier, out, whole) = (Earlier::new(), stage.left("partial"), stage.left("whole"));
            earlier.run(&stage.to("fresh")).ok();
            if !copied {
                earlier.forget_the_copy(&out, "fresh");
            }
            let kept = parts(&earlier, &stage, &out);
            let ran = earlier.run(&stage.to(&out)).ok().says(&[&format!("resuming: {} units", stage.kept)]);
            assert_eq!(ran.stderr.contains("the input has changed"), copied, "{}", ran.stderr);
            assert_eq!(earlier.0.json(&format!("{out}/run.json"))["this_run"]["units"], UNITS - stage.kept);
            let finished = parts(&earlier, &stage, &out);
            assert!(!kept.is_empty() && kept.iter().all(|part| finished.contains(part)), "{out}: a part was redone");
            let there = stage.datasets.iter().flat_map(|dataset| earlier.0.files(&format!("{out}/{dataset}"))).count();
            assert_eq!(there, finished.len(), "{out}: an orphan is left");
            earlier.assert_same(&stage, &out, &whole);
            earlier.assert_same(&stage, &out, "fresh");
            earlier.run(&["cache", "verify", &out]).ok();
        }
    }
}

#[test]
fn a_finished_output_is_done_already_whether_its_input_was_copied_or_not() {
    for stage in Stage::all() {
        let (earlier, out) = (Earlier::new(), stage.left("whole"));
        earlier.run(&stage.to("fresh")).ok();
        earlier.run(&["cache", "verify", &out]).ok();
        let before = parts(&earlier, &stage, &out);
        let copied = earlier.run(&stage.to(&out)).ok().says(&["the input has changed"]);
        assert_eq!(earlier.0.json(&format!("{out}/run.json"))["this_run"]["units"], 0, "{}", copied.stderr);
        assert!(parts(&earlier, &stage, &out) == before && !before.is_empty(), "{out}: a part was touched");
        earlier.assert_same(&stage, &out, "fresh");

        let (earlier, out) = (Earlier::new(), stage.left("whole"));
        earlier.run(&stage.to("fresh")).ok();
        earlier.forget_the_copy(&out, "fresh");
        let before = earlier.0.files(&out);
        earlier.run(&stage.to(&out)).ok().says(&["finished already", "nothing to do"]);
        assert!(earlier.0.files(&out) == before, "{out} was touched");
    }
}

#[test]
fn the_store_has_every_vector_and_is_looked_after_as_any_other() {
    if model().is_none() {
        return;
    }
    let (earlier, embed) = (Earlier::new(), Stage::embed());
    earlier.run(&["cache", "verify", "store"]).ok().says(&["all 5 parts"]);
    let cached = [&embed.to("cached")[..], &["--cache", "store"]].concat();
    earlier.run_without_encoder(&cached).ok();
    let [found, due] = ["cached", "embed-whole"].map(|out| read(&earlier.0, &format!("{out}/features")));
    assert_eq!(found, due);
    assert_eq!(earlier.0.json("cached/run.json")["tokens"], 0);
    earlier.run(&["cache", "compact", "store"]).ok().says(&["5 parts are 1 now"]);
    earlier.run(&["cache", "gc", "store"]).ok();
    earlier.run_without_encoder(&[&cached[..], &["--overwrite"]].concat()).ok();
    assert_eq!(read(&earlier.0, "cached/features"), due);
}

#[test]
fn features_reviews_and_head_go_into_the_stages_behind_them() {
    if model().is_none() {
        return;
    }
    let (earlier, score) = (Earlier::new(), Stage::score());
    let features = [&score.to("by-features")[..], &["--features", "embed-whole"]].concat();
    earlier.run_without_encoder(&features).ok();
    assert_same(&read(&earlier.0, "by-features/predictions"), &read(&earlier.0, "score-whole/predictions"));

    // Reviews that were ingested before say themselves where they came from, so that the rows are the same.
    let staged = ["score", "ingest-whole", "--head", "head", "--label-column", "label", "--out", "staged"];
    earlier.run(&[&staged[..], &NUMERICS].concat()).ok();
    assert_same(&read(&earlier.0, "staged/predictions"), &read(&earlier.0, "score-whole/predictions"));

    earlier.run(&["train", "embed-whole", "--out", "head"]).ok().says(&["finished already"]);
    earlier.run(&["train", "embed-whole", "--out", "again"]).ok();
    assert_eq!(earlier.0.json("again/run.json")["rows_in"], earlier.0.json("head/run.json")["rows_in"]);
    earlier.run(&["evaluate", "embed-whole", "--head", "head", "--out", "judged"]).ok();
    assert_eq!(earlier.0.json("judged/evaluation.json")["rows"], 33);
    earlier.run(&["evaluate", "score-whole", "--head", "head", "--out", "judged-scores"]).ok();
    let answered = earlier.run(&["predict", "--head", "head", "--json", "a joy to watch"]).ok().json_lines();
    let scored = read(&earlier.0, "score-whole/predictions");
    // Record 18 has too many fields.
    let row = ordinals(&scored).iter().position(|row| *row == 20).unwrap();
    let due = scored["probability"].as_primitive::<Float32Type>().value(row);
    assert!((answered[0]["probability"].as_f64().unwrap() - f64::from(due)).abs() < 1e-5, "{answered:?}");
}

#[test]
fn a_bundle_of_the_first_version_still_answers() {
    let Some(model) = model() else { return };
    let place = Place::new();
    let head = project("tests/fixtures/bundle-1");
    let arguments = ["predict", "--head", &head, "--model", &model, "--json", "a joy to watch", "a waste of time"];
    let answers = place.run(&arguments).ok().json_lines();
    // As the program of commit 51327d1 answered.
    for (answer, (label, probability)) in answers.iter().zip([("pos", 0.697_414_3), ("neg", 0.770_906_6)]) {
        assert_eq!(answer["label"], label);
        assert!((answer["probability"].as_f64().unwrap() - probability).abs() < 1e-4, "{answer}");
    }
    assert_eq!(answers.len(), 2);
}
