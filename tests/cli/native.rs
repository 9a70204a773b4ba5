//! Which native libraries are needed for what: scoring runs where libtorch is not, and what is missing is said.

use std::path::PathBuf;

use super::fixtures::head;
use super::support::{Place, Ran, project, session};

/// An installed prefix with `bertline` alone in bin/ and ONNX Runtime alone in lib/bertline/.
fn prefix(place: &Place) -> PathBuf {
    let (bin, lib) = (place.path("prefix/bin"), place.path("prefix/lib/bertline"));
    fs_err::create_dir_all(&bin).unwrap();
    fs_err::create_dir_all(&lib).unwrap();
    let program = bin.join("bertline");
    let built = env!("CARGO_BIN_EXE_bertline");
    if std::fs::hard_link(built, &program).is_err() {
        fs_err::copy(built, &program).unwrap();
    }
    fs_err::os::unix::fs::symlink(project(".native/onnxruntime"), lib.join("onnxruntime")).unwrap();
    program
}

#[test]
fn score_predict_and_help_load_no_libtorch() {
    let Some(head) = head() else { return };
    let place = Place::new();
    let program = prefix(&place);
    place.write("in.csv", "text\na fine film\n");
    let log = place.path("loaded");
    let run = |arguments: &[&str]| {
        let mut command = place.program(&program, arguments);
        // glibc then writes every library that it loads to `loaded.<pid>`.
        let ran = command.env("LD_DEBUG", "files").env("LD_DEBUG_OUTPUT", &log).output().unwrap();
        Ran::of(&ran).ok()
    };
    assert!(run(&["--help"]).stdout.contains("score"));
    run(&["predict", "--head", head, "good"]);
    run(&["score", "in.csv", "--head", head, "--out", "out"]);
    let logs = place.files("").into_iter().filter(|(path, _)| path.to_string_lossy().contains("/loaded."));
    let logs: Vec<String> = logs.map(|(_, log)| String::from_utf8_lossy(&log).into_owned()).collect();
    assert_eq!(logs.len(), 3);
    assert_eq!(logs.iter().filter(|log| log.contains("libonnxruntime")).count(), 2);
    for log in logs {
        assert!(log.contains("libc.so") && !log.contains("libtorch") && !log.contains("libc10"));
    }
}

#[test]
fn train_without_its_binary_says_what_to_run() {
    let place = Place::new();
    let program = prefix(&place);
    let output = place.program(&program, &["train", "features", "--out", "head"]).output().unwrap();
    Ran::of(&output).fails(1, &["bertline-train", "is not there", "`make build`"]);
}

#[test]
fn train_whose_libraries_cannot_be_loaded_says_what_to_run() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let program = prefix(&place);
    // What the dynamic loader does where libtorch is missing.
    place.write(
        "prefix/bin/bertline-train",
        "#!/bin/sh\necho 'libtorch_cpu.so: cannot open shared object file' >&2\nexit 127\n",
    );
    let script = place.path("prefix/bin/bertline-train");
    fs_err::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.program(&program, &["train", "features", "--out", "head"]).output().unwrap();
    Ran::of(&output).fails(1, &["libtorch", "`make deps`"]);
}

#[test]
fn a_library_that_is_none_is_an_error_and_no_panic() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("lib/onnxruntime/libonnxruntime.so", "not a library");
    let mut command = place.command(&["predict", "--head", head, "good"]);
    let output = command.env("BERTLINE_LIB_DIR", place.path("lib")).output().unwrap();
    let ran = Ran::of(&output).fails(1, &["libonnxruntime.so", "make deps"]);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn doctor_names_the_libraries_that_it_found() {
    let place = Place::new();
    let output = place.command(&["doctor", "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_str(&Ran::of(&output).ok().stdout).unwrap();
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    assert!(found["onnxruntime"].to_string().contains("libonnxruntime"), "{found}");
    assert!(found["libtorch"].to_string().contains("libtorch"), "{found}");
    assert_eq!(found["cache"], session().join("cache").to_str().unwrap());
}
