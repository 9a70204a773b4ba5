//! An output folder through its states: fresh, partial, changed, complete; refused, torn, damaged.

use serde_json::json;

use super::*;
use crate::cache::{Part, UnitStats};

fn run(max_length: u32) -> RecordedRun {
    RecordedRun::of(&json!({ "command": "embed", "max_length": max_length }))
}

fn unit(name: &str, path: &str) -> UnitRecord {
    let part = Part { dataset: "rows".into(), path: path.into(), rows: 3, bytes: 1, digest: "d".into() };
    UnitRecord {
        unit: name.into(),
        source: "a.csv".into(),
        rows_in: 3,
        parts: vec![part],
        stats: UnitStats { rows_out: 3, seconds: 0.1 + 0.2, ..UnitStats::default() },
    }
}

/// The folder, which must not be finished.
fn claim(dir: &Path, run: &RecordedRun) -> ClaimedOutput {
    match Claim::of(dir, run, false, &[]).unwrap() {
        Claim::Open(claimed) => *claimed,
        Claim::Finished(_) => panic!("`{}` is finished", dir.display()),
    }
}

fn begin(dir: &Path) -> Output {
    claim(dir, &run(250)).begin().unwrap()
}

fn refused(dir: &Path, run: &RecordedRun, overwrite: bool) -> Error {
    Claim::of(dir, run, overwrite, &[]).unwrap_err()
}

/// Writes a part of one byte and commits it.
fn commit(output: &mut Output, name: &str, path: &str) {
    std::fs::create_dir_all(output.dir().join("rows")).unwrap();
    std::fs::write(output.dir().join(path), "x").unwrap();
    output.commit(unit(name, path)).unwrap();
}

#[test]
fn a_folder_goes_from_fresh_over_partial_to_complete() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let claimed = claim(&out, &run(250));
    assert_eq!(claimed.found(), Found::Nothing);
    commit(&mut claimed.begin().unwrap(), "u", "rows/part-0.parquet");
    let claimed = claim(&out, &run(250));
    assert_eq!((claimed.found(), claimed.manifest().units.len()), (Found::SameInput, 1));
    claimed.begin().unwrap().complete(&json!({})).unwrap();
    let Claim::Finished(manifest) = Claim::of(&out, &run(250), false, &[]).unwrap() else { panic!("not finished") };
    assert_eq!(manifest.units.len(), 1);
    let Claim::Open(claimed) = Claim::of(&out, &run(128), true, &[]).unwrap() else { panic!("--overwrite is ignored") };
    assert_eq!((claimed.found(), claimed.manifest().units.len()), (Found::Nothing, 0));
}

#[test]
fn a_run_that_committed_nothing_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    drop(begin(&out));
    assert!(!out.exists());
    // Nor does one that was killed before its first commit stand in another's way.
    std::mem::forget(begin(&out));
    assert!(out.join("manifest.jsonl").exists());
    std::fs::remove_file(out.join(LOCK)).unwrap();
    assert_eq!(claim(&out, &run(128)).found(), Found::Nothing);
}

#[test]
fn another_run_is_refused_with_each_difference() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    let message = refused(dir.path(), &run(128), false).to_string();
    assert!(message.contains("max_length is 250 there, 128 now") && message.contains("--overwrite"), "{message}");
}

#[test]
fn what_bertline_did_not_write_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    for overwrite in [false, true] {
        let error = refused(dir.path(), &run(250), overwrite);
        assert!(error.to_string().contains("`thesis.txt`"), "{error}");
    }
    // A folder called like a dataset, but without a manifest beside it, is not ours either.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("reviews")).unwrap();
    assert!(matches!(refused(dir.path(), &run(250), true), Error::Foreign { .. }));
}

#[test]
fn a_second_holder_is_told_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let _held = claim(dir.path(), &run(250));
    let message = refused(dir.path(), &run(250), false).to_string();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
}

#[test]
fn orphans_of_a_crash_are_swept_and_committed_parts_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    for name in ["part-1.parquet", "_part-2.parquet"] {
        std::fs::write(dir.path().join("rows").join(name), "x").unwrap();
    }
    begin(dir.path());
    let left: Vec<_> = std::fs::read_dir(dir.path().join("rows")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["part-0.parquet"]);
}

#[test]
fn a_part_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    std::fs::remove_file(dir.path().join("rows/part-0.parquet")).unwrap();
    assert!(matches!(refused(dir.path(), &run(250), false), Error::PartChanged { .. }));
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    commit(&mut output, "a", "rows/a");
    commit(&mut output, "b", "rows/b");
    drop(output);
    let path = Manifest::path(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in last..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let claimed = claim(dir.path(), &run(250));
        assert_eq!((claimed.found(), claimed.manifest().units.len()), (Found::SameInput, 1), "torn at {end}");
        let mut output = claimed.begin().unwrap();
        commit(&mut output, "b", "rows/b");
        drop(output);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_damaged_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = begin(dir.path());
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    let path = Manifest::path(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"unit\": 1}\n");
    std::fs::write(&path, bytes).unwrap();
    assert!(Manifest::read(dir.path()).unwrap_err().to_string().contains("line 3"));
}
