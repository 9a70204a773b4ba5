//! Tests of discovery on small made-up folders.

use std::path::Path;

use super::*;
use crate::ingest::ReadOptions;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
    folder
}

fn find(folder: &Path, below: &str, reading: &Reading) -> Result<Discovery> {
    discover(&[folder.join(below).to_str().unwrap().to_owned()], reading)
}

/// `name format label` of each source, names without the temporary folder.
fn summary(folder: &Path, found: &Discovery) -> Vec<String> {
    let root = format!("{}/", folder.to_str().unwrap());
    let label = |source: &Source| source.label.clone().unwrap_or_else(|| "-".into());
    found
        .sources()
        .map(|source| format!("{} {} {}", source.name().replacen(&root, "", 1), source.format, label(source)))
        .collect()
}

#[test]
fn a_labelled_tree_keeps_its_reviews_and_leaves_its_notes() {
    let folder = tree(&[
        ("imdb/README", "x"),
        ("imdb/imdb.vocab", "x"),
        ("imdb/imdbEr.txt", "1\n2\n"),
        ("imdb/train/urls_pos.txt", "u\nv\n"),
        ("imdb/train/pos/1_9.txt", "a"),
        ("imdb/train/neg/0_1.txt", "b\nc"),
        ("imdb/train/unsup/7_0.txt", "d"),
        ("imdb/train/.DS_Store", ""),
        ("imdb/test/pos/_part.txt", ""),
        ("imdb/test/neg/3_2.txt", "e"),
    ]);
    let found = find(folder.path(), "imdb", &Reading::default()).unwrap();
    assert_eq!(
        summary(folder.path(), &found),
        [
            "imdb/test/neg/3_2.txt text neg",
            "imdb/train/neg/0_1.txt text neg",
            "imdb/train/pos/1_9.txt text pos",
            "imdb/train/unsup/7_0.txt text -",
        ]
    );
    assert_eq!(found.skipped.len(), 6, "{:?}", found.skipped);
    let one = find(folder.path(), "imdb/train/pos/", &Reading::default()).unwrap();
    assert_eq!(summary(folder.path(), &one), ["imdb/train/pos/1_9.txt text pos"]);
}

#[test]
fn leaf_folders_are_classes_only_where_they_can_be() {
    let folder =
        tree(&[("a/sports/1.txt", "x"), ("a/politics/2.txt", "x"), ("b/train/1.txt", "x"), ("b/test/2.txt", "x")]);
    let labels = |below: &str| {
        let found = find(folder.path(), below, &Reading::default()).unwrap();
        found.found.into_iter().map(|found| found.source.label).collect::<Vec<_>>()
    };
    assert_eq!(labels("a"), [Some("politics".to_owned()), Some("sports".to_owned())]);
    assert_eq!(labels("b"), [None, None]);
    assert_eq!(labels("a/*/*.txt"), [Some("politics".to_owned()), Some("sports".to_owned())]);
    assert_eq!(labels("a/sports"), [None]);
}

#[test]
fn files_whose_names_say_a_label_are_lines() {
    let folder =
        tree(&[("p/rt.neg", "a\nb\n"), ("p/rt.pos", "c\nd\n"), ("p/note.txt", "x\ny\n"), ("p/README.1.txt", "x")]);
    let found = find(folder.path(), "p", &Reading::default()).unwrap();
    assert_eq!(summary(folder.path(), &found), ["p/note.txt text -", "p/rt.neg lines neg", "p/rt.pos lines pos"]);
    assert!(found.found[1].note.as_ref().unwrap().contains("one review a line"));
    let named = find(folder.path(), "p/note.txt", &Reading::default()).unwrap();
    assert_eq!(summary(folder.path(), &named), ["p/note.txt lines -"]);
    let text = Reading::from(ReadOptions { format: Format::Text, ..ReadOptions::default() });
    assert_eq!(summary(folder.path(), &find(folder.path(), "p/note.txt", &text).unwrap()), ["p/note.txt text -"]);
}

#[test]
fn formats_go_by_extension_and_unknown_ones_are_reported() {
    let folder = tree(&[
        ("m/a.csv", ""),
        ("m/b.JSONL", ""),
        ("m/c.tab.gz", ""),
        ("m/d.parquet", ""),
        ("m/config.json", "{\n \"a\": 1\n}"),
        ("m/lines.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}"),
        ("m/x.pdf", ""),
        ("m/y.7z", ""),
        ("m/z.zip", "<html>not found</html>"),
    ]);
    let found = find(folder.path(), "m", &Reading::default()).unwrap();
    assert_eq!(
        summary(folder.path(), &found),
        ["m/a.csv csv -", "m/b.JSONL jsonl -", "m/c.tab.gz tsv -", "m/d.parquet parquet -", "m/lines.json jsonl -",]
    );
    let reasons: Vec<&str> = found.skipped.iter().map(|file| file.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "JSON, but neither one object a line nor an array of objects",
            "unknown extension",
            "an archive of a kind that is not read; unpack it first",
            "an archive by its name, and none by its content",
        ]
    );
    let csv = Reading::from(ReadOptions { format: Format::Csv, ..ReadOptions::default() });
    let found = find(folder.path(), "m", &csv).unwrap();
    assert_eq!(summary(folder.path(), &found), ["m/a.csv csv -", "m/x.pdf csv -"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_the_way_out() {
    let folder = tree(&[("e/x.pdf", ""), ("e/a[1].csv", ""), ("f/y.rar", "")]);
    let message = |below: &str| find(folder.path(), below, &Reading::default()).unwrap_err().to_string();
    assert!(message("none").contains("is not there"));
    assert!(message("e/*.csvv").contains("matches nothing"));
    assert!(message("e/x.pdf").contains("--format"));
    assert!(message("f/y.rar").contains("unpack"));
    let nothing = message("f");
    assert!(nothing.contains(".jsonl") && nothing.contains("y.rar"), "{nothing}");
    assert_eq!(find(folder.path(), "e/a[1].csv", &Reading::default()).unwrap().found.len(), 1);
}

#[test]
fn a_file_behind_two_inputs_is_read_once() {
    let folder = tree(&[("d/a.csv", ""), ("d/b.csv", "")]);
    let input = |below: &str| folder.path().join(below).to_str().unwrap().to_owned();
    let found = discover(&[input("d/b.csv"), input("d")], &Reading::default()).unwrap();
    assert_eq!(summary(folder.path(), &found), ["d/b.csv csv -", "d/a.csv csv -"]);
    assert_eq!(found.found[1].input, 1);
    assert_eq!(found.skipped[0].reason, "found already");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_bad_ones_skipped() {
    let folder = tree(&[("d/sub/a.csv", ""), ("e/b.csv", "")]);
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(folder.path().join(to), folder.path().join(at)).unwrap();
    link("e", "d/good");
    link("d", "d/sub/loop");
    link("nowhere", "d/broken.csv");
    let found = find(folder.path(), "d", &Reading::default()).unwrap();
    assert_eq!(summary(folder.path(), &found), ["d/good/b.csv csv -", "d/sub/a.csv csv -"]);
    let reasons: Vec<&str> = found.skipped.iter().map(|file| file.reason.as_str()).collect();
    assert_eq!(reasons, ["a broken link", "a link to a folder around it"]);
}
