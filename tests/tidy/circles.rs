//! Circles of imports: files of a folder that need one another cannot be read, tested or moved one by one.
//!
//! In a folder each file is one unit and each folder below it another, whatever its files are. A folder's `mod.rs` (or
//! `main.rs`) is its index and no unit in it: it names the files, and they name it. What an index hands on counts for
//! the file that it comes from. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

/// Indexes that hand a name on to one another.
const MOST_INDEXES: usize = 8;

/// What can be told of a file by its text.
struct File {
    /// Where it is among modules: `encode`, `graph`, `pool`.
    module: Vec<String>,
    is_index: bool,
    /// Paths from `crate`, `self` or `super` on, wherever they stand.
    paths: Vec<Vec<String>>,
    /// Names that `use` brings in, with where they come from.
    names: BTreeMap<String, Vec<String>>,
}

/// Each circle of the files, given by path below `src/` and text, as `folder: a -> b -> a`.
pub(crate) fn circles<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    // `src/main.rs` is a crate of its own, of one file.
    let sources = sources.filter(|(path, _)| !is_test(path) && *path != "main.rs");
    let files = sources.map(|(path, text)| File::of(path, text));
    let files: BTreeMap<Vec<String>, File> = files.map(|file| (file.module.clone(), file)).collect();
    let mut folders: BTreeMap<Vec<String>, Graph> = BTreeMap::new();
    for file in files.values() {
        let needed = file.paths.iter().filter_map(|path| resolve(&files, file, path, MOST_INDEXES));
        for (folder, from, to) in needed.filter_map(|needed| edge(file, needed)) {
            folders.entry(folder).or_default().entry(from).or_default().insert(to);
        }
    }
    let found = folders.iter().filter_map(|(folder, graph)| Some((folder, circle(graph)?)));
    found.map(|(folder, circle)| format!("src/{}: {}", folder.join("/"), circle.join(" -> "))).collect()
}

/// What each unit of a folder needs of the others.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    name == "tests" || name.ends_with("_tests") || name == "testing"
}

impl File {
    fn of(path: &str, text: &str) -> File {
        let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let is_index = module.pop_if(|name| ["mod", "lib", "main"].contains(&name.as_str())).is_some();
        let lines = without_tests(text).lines().map(|line| line.split("//").next().unwrap_or_default());
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut file = File { module, is_index, paths: Vec::new(), names: BTreeMap::new() };
        for (at, word) in words(&code) {
            let rest = &code[at..];
            match word {
                "use" => {
                    leaves(rest[3..].trim_start(), &[], &mut |name, path| {
                        file.names.insert(name.to_owned(), path.to_vec());
                        file.paths.push(path.to_vec());
                    });
                }
                "crate" | "super" | "self" if rest[word.len()..].starts_with("::") => {
                    leaves(rest, &[], &mut |_, path| file.paths.push(path.to_vec()));
                }
                _ => {}
            }
        }
        file
    }

    /// The folder that it lies in.
    fn folder(&self) -> &[String] {
        if self.is_index { &self.module } else { &self.module[..self.module.len() - 1] }
    }
}

/// The text before the module of tests.
fn without_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(found) = text[from..].find("#[cfg(test)]") {
        let (at, behind) = (from + found, from + found + "#[cfg(test)]".len());
        let next = text[behind..].trim_start().lines().next().unwrap_or_default();
        if next.contains("mod ") && next.ends_with('{') {
            return &text[..at];
        }
        from = behind;
    }
    text
}

/// Words that do not go on a longer path, with where they begin.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let starts = code
        .char_indices()
        .filter(move |(at, c)| is_part(*c) && !code[..*at].ends_with(is_part) && !code[..*at].ends_with("::"));
    starts.map(move |(at, _)| (at, code[at..].split(|c| !is_part(c)).next().unwrap_or_default()))
}

/// Hands each leaf of a tree such as `a::{b, c::D as E}` to `each`, with its name; returns what is behind the tree.
fn leaves<'a>(tree: &'a str, before: &[String], each: &mut dyn FnMut(&str, &[String])) -> &'a str {
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    let mut path = before.to_vec();
    // `a::{self, b}`: the module itself, which is before it.
    if word != "self" || before.is_empty() {
        path.extend(Some(word).filter(|word| !word.is_empty()).map(str::to_owned));
    }
    let Some(mut rest) = rest.strip_prefix("::") else {
        let (name, behind) = match rest.trim_start().strip_prefix("as ") {
            Some(renamed) => renamed.split_at(renamed.find([',', ';', '}']).unwrap_or(renamed.len())),
            None => (path.last().map_or("", String::as_str), rest),
        };
        each(name.trim(), &path);
        return behind;
    };
    let Some(group) = rest.strip_prefix('{') else { return leaves(rest, &path, each) };
    rest = group.trim_start();
    while !rest.starts_with('}') && !rest.is_empty() {
        let behind = leaves(rest, &path, each).trim_start();
        let next = behind.strip_prefix(',').unwrap_or(behind).trim_start();
        // What is no tree of names, as after a macro's `$crate::`, ends here.
        if next == rest {
            return "";
        }
        rest = next;
    }
    rest.strip_prefix('}').unwrap_or("")
}

/// The file that a path of `file` leads to, through so many indexes at most.
fn resolve<'a>(
    files: &'a BTreeMap<Vec<String>, File>,
    file: &File,
    path: &[String],
    indexes: usize,
) -> Option<&'a File> {
    let (mut module, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (file.module.clone(), &path[1..]),
        "super" => {
            let up = path.iter().take_while(|word| *word == "super").count();
            (file.module[..file.module.len().checked_sub(up)?].to_vec(), &path[up..])
        }
        // A child of this file, or another crate.
        child => {
            let known = files.contains_key(&[&file.module[..], &[child.to_owned()]].concat());
            (known.then(|| file.module.clone())?, path)
        }
    };
    while let [next, behind @ ..] = rest {
        module.push(next.clone());
        if !files.contains_key(&module) {
            module.pop();
            break;
        }
        rest = behind;
    }
    let found = files.get(&module)?;
    let handed_on = rest.first().and_then(|name| found.names.get(name)).filter(|_| found.is_index && indexes > 0);
    handed_on.and_then(|path| resolve(files, found, path, indexes - 1)).or(Some(found))
}

/// The folder that both files are below, and their units in it; `None` where one is that folder's index.
fn edge(from: &File, to: &File) -> Option<(Vec<String>, String, String)> {
    let same = from.folder().iter().zip(to.folder()).take_while(|(a, b)| a == b).count();
    let unit = |file: &File| file.module.get(same).cloned();
    let (from_unit, to_unit) = (unit(from)?, unit(to)?);
    (from_unit != to_unit).then(|| (from.folder()[..same].to_vec(), from_unit, to_unit))
}

/// One circle of a graph, its first unit again at the end.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn walk(graph: &Graph, unit: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|known| known == unit) {
            return Some(way[start..].iter().cloned().chain([unit.to_owned()]).collect());
        }
        if !done.insert(unit.to_owned()) {
            return None;
        }
        way.push(unit.to_owned());
        let found = graph.get(unit).into_iter().flatten().find_map(|next| walk(graph, next, way, done));
        way.pop();
        found
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    graph.keys().find_map(|unit| walk(graph, unit, &mut way, &mut done))
}

/// Looks for circles below `src/room`, with an index there.
#[track_caller]
fn check(sources: &[(&str, &str)], expected: &[&str]) {
    let index = ("room/mod.rs", "mod a;\nmod b;\npub struct A;\npub struct B;");
    assert_eq!(circles([index].iter().chain(sources).copied()), expected);
}

#[test]
fn files_that_need_one_another_are_a_circle() {
    let (a, b) = (("room/a.rs", "use super::b::B;"), ("room/b.rs", "fn b() { crate::room::a::a() }"));
    check(&[a, b], &["src/room: a -> b -> a"]);
    check(&[a, ("room/b.rs", "// use super::a;\n#[cfg(test)]\nmod tests {\n    use super::super::a;\n}")], &[]);
    check(&[a, ("room/b_tests.rs", b.1)], &[]);
    let long =
        [("room/a.rs", "use super::{b, d};"), ("room/b.rs", "use super::c;"), ("room/c.rs", "use super::a as x;")];
    check(&long, &["src/room: a -> b -> c -> a"]);
}

#[test]
fn an_index_is_no_unit_but_what_it_hands_on_is_another_files() {
    let (a, b) = (("room/a.rs", "use super::{Error, B};"), ("room/b.rs", "use super::A;"));
    check(&[a, b], &[]);
    let index = ("room/mod.rs", "pub use a::{A};\npub(super) use b::{C as B};");
    check(&[index, a, b], &["src/room: a -> b -> a"]);
}

#[test]
fn a_folder_is_one_unit_of_the_folder_above() {
    let deep = [("room/deep/mod.rs", "mod x;\npub use x::X;"), ("room/deep/x.rs", "use super::super::a::{self, A};")];
    check(&[deep[0], deep[1], ("room/a.rs", "")], &[]);
    check(&[deep[0], deep[1], ("room/a.rs", "use crate::room::deep::X;")], &["src/room: a -> deep -> a"]);
    let rooms = [("room/a.rs", "use crate::two::{b, c};"), ("two/mod.rs", ""), ("two/b.rs", "use crate::room::A;")];
    check(&rooms, &["src/: room -> two -> room"]);
}
