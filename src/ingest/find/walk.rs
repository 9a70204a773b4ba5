//! Lists the files behind one input: a file, a folder or a glob.
//!
//! An existing path wins over a glob reading, so a file that is called `a[1].csv` can be named as it is. The order is
//! that of the sorted names, level by level, so it does not depend on the file system.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::found::{FoundFile, Skipped};
use crate::ingest::open::text_of;
use crate::ingest::{Error, Result};

/// The files behind an input; what is hidden or private goes to `skipped`.
pub(super) fn list(input: &str, skipped: &mut Vec<Skipped>) -> Result<Vec<FoundFile>> {
    let path = Path::new(input);
    if path.is_dir() {
        return folder(path, &below(input), &own_name(path).into_iter().collect::<Vec<_>>(), skipped);
    }
    if path.exists() {
        if !path.is_file() {
            return Err(Error::NotAFile { name: slashes(path) });
        }
        let folders = path.parent().and_then(own_name).into_iter().collect();
        return Ok(vec![FoundFile { named: true, ..FoundFile::file(path.to_owned(), slashes(path), folders, 0) }]);
    }
    let mut found = Vec::new();
    let base = literal_folder(input);
    for entry in glob::glob(input).map_err(|source| Error::BadGlob { input: input.to_owned(), source })? {
        let path = entry.map_err(|error| Error::List { name: slashes(error.path()), source: error.into() })?;
        let mut folders: Vec<String> = own_name(&base).into_iter().collect();
        let parent = path.parent().unwrap_or(Path::new(""));
        let inner = names(parent.strip_prefix(&base).unwrap_or(Path::new("")));
        let depth = inner.len();
        folders.extend(inner);
        let name = slashes(&path);
        if path.join("manifest.jsonl").is_file() {
            skipped.push(Skipped { name, reason: "an output folder of bertline".into() });
        } else if path.is_dir() {
            folders.extend(own_name(&path));
            let mut inside = folder(&path, &format!("{name}/"), &folders, skipped)?;
            inside.iter_mut().for_each(|file| file.depth += depth + 1);
            found.extend(inside);
        } else if !path.is_file() {
            skipped.push(Skipped { name, reason: "not a file".into() });
        } else {
            found.push(FoundFile::file(path, name, folders, depth));
        }
    }
    if found.is_empty() {
        return Err(Error::InputNotFound { input: input.to_owned() });
    }
    Ok(found)
}

fn folder(path: &Path, prefix: &str, outer: &[String], skipped: &mut Vec<Skipped>) -> Result<Vec<FoundFile>> {
    let mut found = Vec::new();
    let mut walk = WalkDir::new(path).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name = error.path().map_or_else(|| prefix.to_owned(), slashes);
                let broken = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
                let reason = match error.loop_ancestor() {
                    Some(_) => "a link to a folder around it",
                    None if broken => "a broken link",
                    None => return Err(Error::List { name, source: error.into() }),
                };
                skipped.push(Skipped { name, reason: reason.into() });
                continue;
            }
        };
        let inner = names(entry.path().strip_prefix(path).unwrap_or(Path::new("")));
        let name = format!("{prefix}{}", inner.join("/"));
        let own = entry.file_name().to_string_lossy();
        if own.starts_with(['.', '_']) {
            let what = if own.starts_with('.') { "hidden" } else { "its name starts with `_`" };
            skipped.push(Skipped { name, reason: what.into() });
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            let depth = inner.len() - 1;
            let folders = outer.iter().chain(&inner[..depth]).cloned().collect();
            found.push(FoundFile::file(entry.into_path(), name, folders, depth));
        } else if !entry.file_type().is_dir() {
            skipped.push(Skipped { name, reason: "not a file".into() });
        } else if entry.path().join("manifest.jsonl").is_file() {
            // An output inside the input must not become input of the next run.
            skipped.push(Skipped { name, reason: "an output folder of bertline".into() });
            walk.skip_current_dir();
        } else if entry.path().join("store.json").is_file() {
            skipped.push(Skipped { name, reason: "a cache of bertline".into() });
            walk.skip_current_dir();
        }
    }
    Ok(found)
}

/// The input as typed, ready to be followed by a path below it.
fn below(input: &str) -> String {
    let trimmed = input.trim_end_matches('/');
    format!("{trimmed}/")
}

/// A folder's own name, also for `.` and `..`.
fn own_name(path: &Path) -> Option<String> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => fs_err::canonicalize(path).ok()?.file_name().map(ToOwned::to_owned),
    };
    name.map(|name| text_of(name.as_bytes()))
}

/// The folder in front of a glob's first wildcard.
fn literal_folder(input: &str) -> PathBuf {
    let wildcard = input.find(['*', '?', '[']).unwrap_or(input.len());
    let end = input[..wildcard].rfind('/').map_or(0, |at| at + 1);
    PathBuf::from(&input[..end])
}

fn names(path: &Path) -> Vec<String> {
    path.components().map(|component| text_of(component.as_os_str().as_bytes())).collect()
}

fn slashes(path: &Path) -> String {
    text_of(path.as_os_str().as_bytes())
}
