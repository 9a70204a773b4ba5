//! Invariants of the source itself, as tests: what a reviewer would otherwise have to look for.
#![allow(clippy::unwrap_used)]

#[path = "tidy/circles.rs"]
mod circles;

use std::path::{Path, PathBuf};

/// A source file by its path inside the project.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines with their number, comments left out (the house style writes them on lines of their own).
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The same without the tests at its end.
    fn code_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| *line != "mod tests {")
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

fn files(below: &str, extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: Vec<PathBuf> = walkdir::WalkDir::new(root.join(below))
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    assert!(!found.is_empty(), "no .{extension} file below {below}");
    found
        .into_iter()
        .map(|path| Source {
            text: fs_err::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
        })
        .collect()
}

fn rust() -> Vec<Source> {
    [files("src", "rs"), files("tests", "rs")].into_iter().flatten().collect()
}

/// `path:line: text` of each line of code that `wrong` says is wrong, in files outside `allowed`.
fn lines_where(sources: &[Source], allowed: &[&str], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let outside = sources.iter().filter(|source| !source.is_in(allowed));
    outside
        .flat_map(|source| {
            let lines = source.code().filter(|(_, line)| wrong(line));
            lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether `word` stands in `line` with nothing before it that makes it the end of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[track_caller]
fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// This file names what it looks for.
const TIDY: &str = "tests/tidy.rs";

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let unsaid = rust().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(unsaid.map(|source| source.path).collect());
}

#[test]
fn no_file_is_longer_than_five_hundred_lines() {
    let lines = |source: &Source| source.text.lines().count();
    let long = rust().into_iter().filter(|source| lines(source) > 500);
    assert_none(long.map(|source| format!("{}: {} lines", source.path, lines(&source))).collect());
}

#[test]
fn no_files_of_a_folder_import_one_another_in_a_circle() {
    let sources = files("src", "rs");
    assert_none(circles::circles(sources.iter().map(|source| (&source.path["src/".len()..], source.text.as_str()))));
}

#[test]
fn only_encode_names_onnx_runtime() {
    assert_none(lines_where(&files("src", "rs"), &["src/encode/"], |line| {
        names(line, "ort::") || names(line, "use ort")
    }));
}

#[test]
fn only_the_trainer_names_libtorch() {
    let allowed = ["src/bin/bertline-train/"];
    assert_none(lines_where(&files("src", "rs"), &allowed, |line| names(line, "tch::") || names(line, "use tch")));
}

#[test]
fn no_file_is_mounted_from_another_folder() {
    assert_none(lines_where(&files("src", "rs"), &[], |line| line.contains("#[path = \"../")));
}

#[test]
fn only_engine_implements_physical_plans() {
    assert_none(lines_where(&rust(), &["src/engine/", TIDY], |line| line.contains("ExecutionPlan for ")));
}

#[test]
fn no_figure_is_read_back_from_a_plan_by_name() {
    let reads = ["sum_by_name", "aggregate_by_name", ".metrics()"];
    assert_none(lines_where(&files("src", "rs"), &[], |line| reads.iter().any(|read| line.contains(read))));
}

#[test]
fn only_files_puts_files_in_place() {
    let ways = ["fs::rename(", "fs::write(", "File::create", ".persist", "NamedTempFile"];
    // The wheel's and pip's working files go with the folder that they are in.
    let allowed = ["src/files/", "src/model/pypi.rs"];
    let sources = files("src", "rs").into_iter().filter(|source| !source.is_in(&allowed));
    // Files of tests alone.
    let sources = sources.filter(|source| !source.path.ends_with("tests.rs") && source.path != "src/encode/tiny.rs");
    let found = sources.flat_map(|source| {
        let lines = source.code_outside_tests().filter(|(_, line)| ways.iter().any(|way| line.contains(way)));
        lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())).collect::<Vec<_>>()
    });
    assert_none(found.collect());
}

#[test]
fn files_imports_no_other_room() {
    let imports = |line: &str| line.contains("crate::") && !line.contains("crate::files::");
    assert_none(lines_where(&files("src/files", "rs"), &[], |line| imports(line) || line.contains("super::super::")));
}

#[test]
fn only_telemetry_prints() {
    let print =
        |line: &str| ["println!", "eprintln!", "print!", "eprint!", "dbg!"].iter().any(|name| names(line, name));
    // A test that skips says so where `make test` looks for it.
    let skips = |line: &str| line.contains("\"skipped: ");
    assert_none(lines_where(&files("src", "rs"), &["src/telemetry/"], |line| print(line) && !skips(line)));
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_ignored() {
    let unfinished = ["todo!", "unimplemented!", "#[ignore"];
    assert_none(lines_where(&rust(), &[TIDY], |line| unfinished.iter().any(|name| line.contains(name))));
    // Comments too, this time; a note that names its issue, `TODO(#12)`, is no orphan.
    let bare = |line: &str| {
        ["TODO", "FIXME", "XXX"].iter().any(|mark| names(line, mark) && !line.contains(&format!("{mark}(#")))
    };
    let sources = rust().into_iter().filter(|source| source.path != TIDY);
    assert_none(sources.filter(|source| source.text.lines().any(bare)).map(|source| source.path).collect());
}

#[test]
fn no_path_of_one_machine_is_in_the_source() {
    let everything = rust().into_iter().chain(files("pipelines", "toml")).chain(files("schemas", "toml"));
    let local =
        |line: &str| ["/home/", "/root/", "/Users/", "/work/", "/workspace/"].iter().any(|path| line.contains(path));
    let found = everything.filter(|source| source.path != TIDY && source.text.lines().any(local));
    assert_none(found.map(|source| source.path).collect());
}

#[test]
fn every_schema_file_is_loaded() {
    let loader = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/mod.rs")).unwrap();
    let unread = files("schemas", "toml").into_iter().filter(|source| !loader.contains(&source.path));
    assert_none(unread.map(|source| source.path).collect());
}

#[test]
fn only_schema_spells_reject_reasons() {
    let contract = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/rejects.toml")).unwrap();
    let listed = contract.split("\"a code: ").nth(1).unwrap().split('"').next().unwrap();
    let quoted: Vec<String> = listed.split(", ").map(|code| format!("\"{code}\"")).collect();
    assert!(quoted.len() > 5, "{listed}");
    let spelt = |line: &str| quoted.iter().any(|code| line.contains(code.as_str()));
    assert_none(lines_where(&files("src", "rs"), &["src/schema/"], spelt));
}

/// The text of each `#[error("...")]`, lines joined.
fn error_messages(source: &Source) -> Vec<String> {
    let code: String = source.code().map(|(_, line)| format!("{}\n", line.trim())).collect();
    let starts = code.match_indices("#[error(").map(|(at, found)| at + found.len());
    starts
        .filter_map(|at| {
            let text = code[at..].trim_start().strip_prefix('"')?;
            let mut escaped = false;
            let end = text.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })?;
            Some(text[..end].to_owned())
        })
        .collect()
}

#[test]
fn error_messages_are_lower_case_without_a_final_period() {
    let sources = files("src", "rs");
    let messages: Vec<(&str, String)> = sources
        .iter()
        .flat_map(|source| error_messages(source).into_iter().map(|message| (source.path.as_str(), message)))
        .collect();
    assert!(messages.len() > 50, "{} messages found", messages.len());
    // A name that is written with capitals (`UTF-8`, `ONNX Runtime`) may begin a message: its second letter is one too.
    let shouts = |message: &str| {
        let mut letters = message.chars();
        let (first, second) = (letters.next(), letters.next());
        first.is_some_and(char::is_uppercase) && !second.is_some_and(char::is_uppercase)
    };
    let wrong = messages.iter().filter(|(_, message)| message.ends_with('.') || shouts(message));
    assert_none(wrong.map(|(path, message)| format!("{path}: {message}")).collect());
}
