//! What once went wrong, each with the command that showed it.

use super::datasets::{read, strings, texts};
use super::fixtures::{csv, head, parquet, parquet_texts};
use super::support::{Place, model};

#[test]
fn a_parquet_path_may_go_through_a_parent_folder() {
    let place = Place::new();
    parquet(&place.path("in.parquet"));
    place.write("sub/x", "");
    place.run(&["ingest", "sub/../in.parquet", "--text-column", "review", "--out", "out"]).ok();
    assert!(strings(&read(&place, "out/reviews"), "source_file").iter().all(|name| name == "sub/../in.parquet"));
}

#[test]
fn overwrite_never_takes_away_what_the_run_reads() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let before = place.files("out");
    place.run(&["ingest", "out", "--out", "out", "--overwrite"]).fails(2, &["`out`", "input", "--out"]);
    assert!(before == place.files("out"));
}

#[test]
fn overwrite_takes_nothing_away_before_the_command_is_known_to_be_right() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok();
    let before = place.files("out");
    place.run(&["ingest", "in.csv", "--out", "out", "--overwrite", "--text-column", "no"]).fails(2, &["`no`"]);
    assert!(before == place.files("out"));
}

#[test]
fn a_head_that_is_to_be_overwritten_stays_until_there_is_a_new_one() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(40, 6));
    place.embed(&model, &["in.csv", "--out", "features"]);
    place.run(&["train", "features", "--out", "head", "--quiet"]).ok();
    let before = place.files("head");
    let diverging = ["train", "features", "--out", "head", "--overwrite", "--learning-rate", "1e30"];
    assert_ne!(place.run(&diverging).code, Some(0));
    assert!(before == place.files("head"));
}

#[test]
fn train_takes_quiet_and_json_wherever_they_stand() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(40, 6));
    place.embed(&model, &["in.csv", "--out", "features"]);
    let front = place.run(&["--quiet", "--json", "train", "features", "--out", "a"]).ok();
    let behind = place.run(&["train", "features", "--out", "b", "--quiet", "--json"]).ok();
    for ran in [front, behind] {
        assert_eq!((ran.json_lines().len(), ran.stderr.as_str()), (1, ""));
    }
}

#[test]
fn a_committed_part_that_is_gone_or_changed_is_noticed() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(40, 6));
    place.embed(&model, &["in.csv", "--out", "features"]);
    let (part, bytes) = place
        .files("features/rows")
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|e| e == "parquet"))
        .unwrap();
    let part = if part.is_absolute() { part } else { place.path("features/rows").join(part) };
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    std::fs::write(&part, changed).unwrap();
    place.run(&["train", "features", "--out", "head"]).fails(1, &["rows/part-000000", "changed"]);
    std::fs::remove_file(&part).unwrap();
    let again = ["embed", "--model", &model, "in.csv", "--out", "features", "--precision", "fp32"];
    place.run(&again).fails(1, &["rows/part-000000", "gone", "--overwrite"]);
}

#[test]
fn kept_columns_have_one_schema_over_all_formats() {
    let place = Place::new();
    place.write("in/a.csv", "text,id\ngood,1\n");
    place.write("in/b.csv", "text,z\nbad,2\n");
    place.run(&["ingest", "in/a.csv", "--out", "a", "--keep-columns", "all"]).ok();
    place.run(&["ingest", "a", "in/b.csv", "--out", "out", "--keep-columns", "all"]).ok();
    let reviews = read(&place, "out/reviews");
    assert_eq!(texts(&reviews, "id"), [None, Some("1".to_owned())]);
    assert_eq!(texts(&reviews, "z"), [Some("2".to_owned()), None]);
    place.run(&["ingest", "a", "in/b.csv", "--out", "no", "--keep-columns", "id,y"]).fails(2, &["`y`", "`id`", "`z`"]);
}

#[test]
fn an_output_inside_the_input_is_not_read() {
    let place = Place::new();
    place.write("in/a.csv", csv(5, 6));
    place.run(&["ingest", "in", "--out", "in/out"]).ok();
    place.run(&["ingest", "in", "--out", "in/out"]).ok().says(&["finished already"]);
}

#[test]
fn a_bad_line_on_standard_input_is_named_and_the_lines_before_it_are_judged() {
    let Some(head) = head() else { return };
    let place = Place::new();
    let mut child = place
        .command(&["predict", "--head", head])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"good\nb\xff\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), out.lines().count()), (Some(1), 1));
    assert!(err.contains("line 2"), "{err}");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = place.command(&["show", "in.csv"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_kept_column_called_text_input_is_not_taken_for_the_text() {
    let Some(head) = head() else { return };
    let place = Place::new();
    place.write("in.csv", "text,text_input\ngood,other\n");
    place.run(&["score", "in.csv", "--head", head, "--out", "out", "--keep-columns", "all"]).ok();
    let scored = read(&place, "out/predictions");
    assert_eq!((strings(&scored, "text"), strings(&scored, "text_input")), (vec!["good".into()], vec!["other".into()]));
}

#[test]
fn a_limit_reads_no_further_than_it_must() {
    let place = Place::new();
    place.write("in/x.unknown", "");
    parquet(&place.path("in/a.parquet"));
    parquet(&place.path("in/b.parquet"));
    place.run(&["ingest", "in", "--text-column", "review", "--limit", "2", "--out", "out", "--json"]).ok();
    assert_eq!(read(&place, "out/reviews").num_rows(), 2);
}

#[test]
fn the_inputs_of_a_report_are_the_arguments() {
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.run(&["ingest", "in.csv", "--out", "a"]).ok();
    place.run(&["ingest", "a", "in.csv", "--out", "b"]).ok();
    let inputs = place.json("b/run.json")["inputs"].clone();
    let paths: Vec<_> = inputs.as_array().unwrap().iter().map(|input| input["path"].clone()).collect();
    assert_eq!(paths, ["a", "in.csv"]);
}

#[test]
fn explain_says_that_the_output_of_another_run_would_be_refused() {
    let Some(model) = model() else { return };
    let place = Place::new();
    place.write("in.csv", csv(5, 6));
    place.embed(&model, &["in.csv", "--out", "out", "--max-length", "8"]);
    let embed = ["explain", "embed", "--model", &model, "in.csv", "--out", "out", "--precision", "fp32"];
    let other = place.run(&embed).ok();
    assert!(other.stdout.contains("another run") && other.stdout.contains("(0 done)"), "{}", other.stdout);
    let same = place.run(&[&embed[..], &["--max-length", "8"]].concat()).ok();
    assert!(!same.stdout.contains("another run") && same.stdout.contains("(1 done)"), "{}", same.stdout);
}

#[test]
fn show_reads_on_over_files_until_it_has_its_rows() {
    let place = Place::new();
    place.write("in/.keep", "");
    parquet(&place.path("in/a.parquet"));
    parquet(&place.path("in/b.parquet"));
    let rows = parquet_texts().len();
    let shown = place.run(&["show", "in", "--json", "-n", &(rows + 1).to_string()]).ok();
    assert_eq!(shown.json_lines().len(), rows + 1);
}

#[test]
fn a_glob_that_matches_a_folder_and_its_files_reads_each_once() {
    let place = Place::new();
    place.write("in/a/x.csv", csv(5, 6));
    place.write("in/a/y.csv", csv(4, 6));
    place.run(&["ingest", "in/**/*", "--out", "out"]).ok().says(&["9 rows in, 9 out", "found already"]);
    place.run(&["ingest", "in/**/*", "--out", "out"]).ok().says(&["finished already"]);
}

#[test]
fn a_pipe_is_refused_because_inputs_are_read_twice() {
    let place = Place::new();
    let arguments = ["ingest", "/dev/stdin", "--format", "csv", "--text-column", "text", "--out", "out"];
    place.run_with_stdin(&arguments, &csv(20, 6)).fails(2, &["`/dev/stdin`", "pipe", "file"]);
    assert!(!place.path("out").exists());
}

#[test]
fn a_link_to_a_file_of_the_same_folder_doubles_nothing() {
    let place = Place::new();
    place.write("in/v1/a.csv", csv(5, 6));
    fs_err::os::unix::fs::symlink("v1", place.path("in/latest")).unwrap();
    fs_err::os::unix::fs::symlink("a.csv", place.path("in/v1/b.csv")).unwrap();
    place.run(&["ingest", "in", "--out", "out"]).ok().says(&["5 rows in, 5 out", "found already"]);
}

#[test]
fn file_names_that_are_no_text_stay_apart() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    for (name, row) in [(b"in/a\xff.csv", "one"), (b"in/a\xfe.csv", "two")] {
        let path = place.path("").join(std::ffi::OsStr::from_bytes(name));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, format!("text\n{row}\n")).unwrap();
    }
    place.run(&["ingest", "in", "--out", "out"]).ok();
    assert_eq!(strings(&read(&place, "out/reviews"), "source_file"), ["in/a\\xfe.csv", "in/a\\xff.csv"]);
}

#[test]
fn an_array_whose_brackets_do_not_match_is_an_error_and_not_one_reject() {
    let place = Place::new();
    let element = |row: usize| format!("{{\"text\": \"review {row}\"}}");
    let whole: Vec<String> = (0..2000).map(element).collect();
    let array = format!("[{}]", whole.join(",\n"));
    for (name, broken) in [
        ("brace.json", array.replacen("review 1000\"}", "review 1000\"", 1)),
        ("early.json", array.replacen("review 1000\"},", "review 1000\"}],", 1)),
        ("quote.json", array.replace('\n', "").replacen("review 1000", "review \"1000", 1)),
    ] {
        assert_ne!(broken, array, "{name}");
        place.write(name, broken);
        place.run(&["ingest", name, "--out", "out"]).fails(1, &[name, "element", "byte"]);
    }
    place.write("whole.json", array);
    place.run(&["ingest", "whole.json", "--out", "whole"]).ok().says(&["2000 rows in, 2000 out"]);
}

#[test]
fn a_header_of_very_many_columns_is_read_in_no_time() {
    let place = Place::new();
    place.write("in.csv", format!("text,label{}\nfine,pos{}\n", ",".repeat(200_000), ",".repeat(200_000)));
    place.run(&["ingest", "in.csv", "--out", "out"]).ok().says(&["1 rows in, 1 out"]);
}
