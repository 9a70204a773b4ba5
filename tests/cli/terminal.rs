//! Who is told what where: results on stdout, messages on stderr, `--quiet`, `--json`, and readers that go away.

use std::process::{Command, Stdio};

use super::datasets::strings;
use super::fixtures::csv;
use super::support::{Place, Ran};

#[test]
fn a_stage_talks_on_stderr_and_quiet_silences_it() {
    let place = Place::new();
    place.write("in.csv", csv(5, 5));
    let told = place.run(&["ingest", "in.csv", "--out", "told"]).ok();
    assert!(told.stdout.is_empty() && told.stderr.contains("5 rows"), "{told:?}");
    for arguments in [["--quiet", "ingest", "in.csv", "--out", "a"], ["ingest", "in.csv", "--quiet", "--out", "b"]] {
        let quiet = place.run(&arguments).ok();
        assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    }
    let failed = place.run(&["--quiet", "ingest", "nowhere", "--out", "c"]);
    failed.fails(1, &["error: ", "nowhere"]);
}

#[test]
fn json_is_run_json_on_stdout_alone() {
    let place = Place::new();
    place.write("in.csv", csv(5, 5));
    for _first_then_finished in 0..2 {
        let ran = place.run(&["ingest", "in.csv", "--out", "out", "--json"]).ok();
        assert_eq!(ran.json_lines(), [place.json("out/run.json")]);
    }
}

#[test]
fn nothing_is_drawn_where_there_is_no_terminal() {
    let place = Place::new();
    place.write("in.csv", csv(2000, 20));
    let ran = place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    assert!(!ran.stderr.contains('\r') && !ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    assert!(ran.stderr.lines().count() <= 5, "{}", ran.stderr);
}

#[test]
fn show_prints_inputs_and_outputs_as_tables_and_as_json() {
    let place = Place::new();
    place.write("in.csv", csv(20, 5));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let table = place.run(&["show", "in.csv", "-n", "3"]).ok().stdout;
    assert!(table.contains("source_file") && table.contains("| 2 ") && !table.contains("| 3 "), "{table}");
    let lines = place.run(&["show", "out", "-n", "4", "--json"]).ok().json_lines();
    let expected = strings(&super::datasets::read(&place, "out/reviews"), "text");
    let shown: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(shown, expected[..4]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.write("in.csv", csv(20_000, 12));
    let mut show = place.command(&["show", "in.csv", "-n", "20000", "--json"]);
    let mut show = show.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let head = Command::new("head").args(["-n", "1"]).stdin(show.stdout.take().unwrap()).output().unwrap();
    let ran = Ran::of(&show.wait_with_output().unwrap()).ok();
    assert_eq!(ran.stderr, "");
    assert_eq!(Ran::of(&head).json_lines()[0]["row"], 0);
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in ["ingest", "embed", "train", "score", "predict", "run", "explain", "show", "models", "doctor"] {
        let help = place.run(&[command, "--help"]).ok();
        assert!(help.stdout.contains("Example") && help.stdout.contains(&format!("bertline {command}")), "{command}");
        assert!(help.stdout.contains("--quiet") && help.stdout.contains("--json"), "{command}");
        assert!(help.stderr.is_empty());
    }
    for command in ["ingest", "embed", "train", "score"] {
        assert!(place.run(&[command, "--help"]).ok().stdout.contains("--overwrite"), "{command}");
    }
    assert_eq!(place.run(&["--version"]).ok().stdout.trim(), concat!("bertline ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_path_of_a_model_that_is_not_here_is_an_error_that_says_how_to_get_it() {
    let place = Place::new();
    let ran = place.run(&["models", "path", "all-MiniLM-L6-v2"]);
    assert!(ran.stdout.is_empty());
    ran.fails(1, &["models pull"]);
    assert!(place.run(&["models", "list"]).ok().stdout.contains("all-MiniLM-L6-v2"));
}
