//! An output folder through its states: fresh, partial, changed, complete; refused, torn, damaged.

use serde_json::json;

use super::*;
use crate::cache::{Part, UnitStats};

fn run(max_length: u32) -> Resolved {
    Resolved::from([("command".to_owned(), json!("embed")), ("max_length".to_owned(), json!(max_length))])
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

/// Writes a part of one byte and commits it.
fn commit(output: &mut Output, name: &str, path: &str) {
    if output.appender.is_none() {
        output.begin().unwrap();
    }
    std::fs::create_dir_all(output.dir().join("rows")).unwrap();
    std::fs::write(output.dir().join(path), "x").unwrap();
    output.commit(unit(name, path)).unwrap();
}

#[test]
fn a_folder_goes_from_fresh_over_partial_to_complete() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (mut output, state) = Output::open(&out, &run(250), false, &[]).unwrap();
    assert_eq!(state, State::Fresh);
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    let (mut output, state) = Output::open(&out, &run(250), false, &[]).unwrap();
    assert_eq!((state, output.manifest().units.len()), (State::Partial, 1));
    output.begin().unwrap();
    output.complete(&json!({})).unwrap();
    drop(output);
    assert_eq!(Output::open(&out, &run(250), false, &[]).unwrap().1, State::Complete);
    assert_eq!(Output::open(&out, &run(128), true, &[]).unwrap().1, State::Fresh);
}

#[test]
fn a_run_that_committed_nothing_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (mut output, _) = Output::open(&out, &run(250), false, &[]).unwrap();
    output.begin().unwrap();
    drop(output);
    assert!(!out.exists());
    // Nor does one that was killed before its first commit stand in another's way.
    let (mut killed, _) = Output::open(&out, &run(250), false, &[]).unwrap();
    killed.begin().unwrap();
    std::mem::forget(killed);
    assert!(out.join("manifest.jsonl").exists());
    std::fs::remove_file(out.join(LOCK)).unwrap();
    assert_eq!(Output::open(&out, &run(128), false, &[]).unwrap().1, State::Fresh);
}

#[test]
fn another_run_is_refused_with_each_difference() {
    let dir = tempfile::tempdir().unwrap();
    let (mut output, _) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    let message = Output::open(dir.path(), &run(128), false, &[]).unwrap_err().to_string();
    assert!(message.contains("max_length is 250 there, 128 now") && message.contains("--overwrite"), "{message}");
}

#[test]
fn what_bertline_did_not_write_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    for overwrite in [false, true] {
        let error = Output::open(dir.path(), &run(250), overwrite, &[]).unwrap_err();
        assert!(error.to_string().contains("`thesis.txt`"), "{error}");
    }
    // A folder called like a dataset, but without a manifest beside it, is not ours either.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("reviews")).unwrap();
    assert!(matches!(Output::open(dir.path(), &run(250), true, &[]), Err(Error::Foreign { .. })));
}

#[test]
fn a_second_holder_is_told_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let _held = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    let message = Output::open(dir.path(), &run(250), false, &[]).unwrap_err().to_string();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
}

#[test]
fn orphans_of_a_crash_are_swept_and_committed_parts_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (mut output, _) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    for name in ["part-1.parquet", "_part-2.parquet"] {
        std::fs::write(dir.path().join("rows").join(name), "x").unwrap();
    }
    Output::open(dir.path(), &run(250), false, &[]).unwrap().0.begin().unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path().join("rows")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["part-0.parquet"]);
}

#[test]
fn a_part_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut output, _) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    std::fs::remove_file(dir.path().join("rows/part-0.parquet")).unwrap();
    assert!(matches!(Output::open(dir.path(), &run(250), false, &[]), Err(Error::PartChanged { .. })));
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let (mut output, _) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    commit(&mut output, "a", "rows/a");
    commit(&mut output, "b", "rows/b");
    drop(output);
    let path = Manifest::path(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in last..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let (mut output, state) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
        assert_eq!((state, output.manifest().units.len()), (State::Partial, 1), "torn at {end}");
        commit(&mut output, "b", "rows/b");
        drop(output);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_damaged_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut output, _) = Output::open(dir.path(), &run(250), false, &[]).unwrap();
    commit(&mut output, "u", "rows/part-0.parquet");
    drop(output);
    let path = Manifest::path(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"unit\": 1}\n");
    std::fs::write(&path, bytes).unwrap();
    assert!(Manifest::read(dir.path()).unwrap_err().to_string().contains("line 3"));
}
