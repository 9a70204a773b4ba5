//! Finds the files behind the inputs and decides how each is read and which label its place says.
//!
//! By extension, plain or with `.gz` or `.zst`: .csv; .tsv .tab; .jsonl .ndjson .json; .parquet .pq; .txt .text. In a
//! folder a text file is one review, unless its name says the label of all its lines (`pos.txt`, `rt-polarity.neg`) and
//! it has more than one line; a text file that is named directly is one review a line if it has more than one. In a
//! tree of labelled folders, text files beside those folders are notes, not reviews.

use std::collections::HashSet;

use super::error::quoted;
use super::source::{Discovery, FileName, Kind, Skipped, Source};
use super::walk::{self, Found};
use super::{Error, Format, ReadOptions, Result, labels, open};

/// Finds all files behind the inputs, in a fixed order.
///
/// # Errors
/// An input that is not there, a file named directly that cannot be read, or nothing to read at all.
pub fn discover(inputs: &[String], options: &ReadOptions) -> Result<Discovery> {
    if inputs.is_empty() {
        return Err(Error::NoInput);
    }
    let mut skipped = Vec::new();
    let mut sources: Vec<Source> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let found = walk::list(input, &mut skipped)?;
        let files = keep_known(found, options, &mut skipped)?;
        let files = label_and_place(files, options, &mut skipped);
        for file in files {
            sources.push(finish(file, index, options)?);
        }
    }
    if inputs.len() > 1 {
        drop_doubles(&mut sources, &mut skipped);
    }
    if sources.is_empty() {
        return Err(nothing(inputs, &skipped));
    }
    Ok(Discovery { inputs: inputs.to_vec(), sources, skipped })
}

/// A file that will probably be read.
struct File {
    found: Found,
    name: FileName,
    format: Format,
    /// Whether the format came with `--format`.
    told: bool,
    label: Option<String>,
}

fn keep_known(found: Vec<Found>, options: &ReadOptions, skipped: &mut Vec<Skipped>) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for found in found {
        let name = FileName::of(&found.path);
        let told = options.format != Format::Auto;
        let readme = ["readme", "license", "licence", "changelog"]
            .iter()
            .any(|word| name.stem.to_lowercase().split(['.', '-', '_', ' ']).any(|part| part == *word));
        let plain = matches!(name.kind, Kind::LabelExtension | Kind::Known(Format::Text));
        let skip = match (name.kind, options.format) {
            (Kind::Archive, _) if found.named => return Err(Error::Archive { name: found.name }),
            (Kind::Archive, _) => Some("an archive; unpack it first"),
            (Kind::Unknown, Format::Auto) if found.named => return Err(Error::UnknownExtension { name: found.name }),
            (Kind::Unknown, Format::Auto) => Some("unknown extension"),
            (_, Format::Auto) | (Kind::Unknown, _) => None,
            _ if found.named => None,
            (_, Format::Text | Format::Lines) if plain => None,
            (Kind::Known(format), asked) if format == asked => None,
            _ => Some("another format than --format says"),
        };
        let skip =
            skip.or_else(|| (readme && !found.named && (plain || told)).then_some("a note about the data by its name"));
        if let Some(reason) = skip {
            skipped.push(Skipped { name: found.name, reason: reason.into() });
            continue;
        }
        let format = match (options.format, name.kind) {
            (Format::Auto, Kind::Known(format)) => format,
            (Format::Auto, _) => Format::Text,
            (asked, _) => asked,
        };
        let doubtful =
            format == Format::Jsonl && !told && !found.named && found.path.extension().is_some_and(|e| e == "json");
        if doubtful && !begins_with_object(&found)? {
            skipped.push(Skipped { name: found.name, reason: "JSON, but not one object a line".into() });
            continue;
        }
        files.push(File { found, name, format, told, label: None });
    }
    Ok(files)
}

/// Folders hold many a `config.json` or `package.json`; reviews are one object a line.
fn begins_with_object(found: &Found) -> Result<bool> {
    const HEAD_BYTES: u64 = 64 << 10;
    let source = Source {
        path: found.path.clone(),
        name: found.name.clone(),
        format: Format::Jsonl,
        compression: super::Compression::None,
        bytes: 0,
        label: None,
        input: 0,
        note: None,
    };
    let (head, complete) = open::sample(&source, HEAD_BYTES)?;
    let head = head.trim_ascii_start();
    let end = head.iter().position(|byte| *byte == b'\n');
    Ok(match end {
        Some(end) => super::jsonl::keys_of(&head[..end]).is_some(),
        None if complete => super::jsonl::keys_of(head).is_some(),
        None => head.starts_with(b"{"),
    })
}

/// Labels from folders and names; in a labelled text tree, files beside the labelled folders are dropped.
fn label_and_place(mut files: Vec<File>, options: &ReadOptions, skipped: &mut Vec<Skipped>) -> Vec<File> {
    for file in &mut files {
        file.label = labels::of_folders(&file.found.folders);
    }
    let is_text = |file: &File| file.format == Format::Text;
    let parents: HashSet<&[String]> = files
        .iter()
        .filter(|file| is_text(file) && file.label.is_some())
        .flat_map(|file| (0..file.found.folders.len()).map(|end| &file.found.folders[..end]))
        .collect();
    let stray: Vec<bool> = files
        .iter()
        .map(|file| is_text(file) && file.label.is_none() && parents.contains(file.found.folders.as_slice()))
        .collect();
    let mut kept = Vec::with_capacity(files.len());
    for (file, stray) in files.into_iter().zip(stray) {
        if stray && !file.found.named && matches!(options.format, Format::Auto | Format::Text) {
            skipped.push(Skipped { name: file.found.name, reason: "beside the labelled folders, not in one".into() });
        } else {
            kept.push(file);
        }
    }
    label_classes(&mut kept);
    for file in kept.iter_mut().filter(|file| file.label.is_none()) {
        file.label = labels::of_file(&file.name.stem);
    }
    kept
}

/// In a tree whose text files all lie in folders, and in at least two that can be classes, the folder is the label.
fn label_classes(files: &mut [File]) {
    let texts = || files.iter().filter(|file| file.format == Format::Text);
    let class = |file: &File| {
        let parent = file.found.folders.last().filter(|_| file.found.depth > 0)?;
        labels::may_be_class(parent).then(|| parent.clone())
    };
    let classes: HashSet<String> = texts().filter_map(class).collect();
    let is_tree = texts().all(|file| file.label.is_none() && file.found.depth > 0);
    if is_tree && classes.len() > 1 {
        for file in files.iter_mut().filter(|file| file.format == Format::Text) {
            file.label = class(file);
        }
    }
}

fn finish(file: File, input: usize, options: &ReadOptions) -> Result<Source> {
    let File { found, name, format, told, label } = file;
    let metadata = fs_err::metadata(&found.path).map_err(|source| Error::Open { path: found.path.clone(), source })?;
    let mut source = Source {
        path: found.path,
        name: found.name,
        format,
        compression: name.compression,
        bytes: metadata.len(),
        label,
        input,
        note: told.then(|| format!("read as {} because --format says so", options.format)),
    };
    // A folder's name labels single reviews; a file's own name labels all that is in it.
    let says_label = labels::of_file(&name.stem).is_some() && labels::of_folders(&found.folders).is_none();
    if !told && format == Format::Text && (found.named || says_label) {
        let several = has_several_lines(&source)?;
        source.format = if several { Format::Lines } else { Format::Text };
        let how = if several { "one review a line, as it has several" } else { "one review, as it has one line" };
        source.note = Some(format!("read as {how}; --format text|lines settles it"));
    }
    Ok(source)
}

fn has_several_lines(source: &Source) -> Result<bool> {
    const HEAD_BYTES: u64 = 1 << 20;
    let (head, _) = open::sample(source, HEAD_BYTES)?;
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    Ok(lines.nth(1).is_some())
}

fn drop_doubles(sources: &mut Vec<Source>, skipped: &mut Vec<Skipped>) {
    let mut seen = HashSet::new();
    sources.retain(|source| {
        let place = fs_err::canonicalize(&source.path).unwrap_or_else(|_| source.path.clone());
        let first = seen.insert(place);
        if !first {
            skipped
                .push(Skipped { name: source.name.clone(), reason: "found through an earlier input already".into() });
        }
        first
    });
}

fn nothing(inputs: &[String], skipped: &[Skipped]) -> Error {
    const SHOWN: usize = 3;
    let shown: Vec<String> =
        skipped.iter().take(SHOWN).map(|file| format!("`{}`: {}", file.name, file.reason)).collect();
    let skipped = match skipped.len() {
        0 => String::new(),
        n if n > SHOWN => format!("; skipped {n} ({}, ...)", shown.join(", ")),
        n => format!("; skipped {n} ({})", shown.join(", ")),
    };
    Error::NothingFound { inputs: quoted(inputs), skipped }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
