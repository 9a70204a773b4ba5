//! Finds the files behind the inputs and decides how each is read and which label its place says.
//!
//! By extension, plain or with `.gz`, `.zst`, `.bz2` or `.xz`: .csv; .tsv .tab; .jsonl .ndjson .json; .parquet .pq; .txt
//! .text. A `.zip` or `.tar` is a folder. In a folder a text file is one review, unless its name says the label of all
//! its lines (`pos.txt`, `rt-polarity.neg`) and it has more than one line; a text file that is named directly is one
//! review a line if it has more than one. In a tree of labelled folders, text files beside those folders are notes, not
//! reviews; so is, in any folder, a table without a text column beside others that have one.

use std::collections::{HashMap, HashSet};

use super::file_name::{FileName, Kind};
use super::found::{Discovery, FoundFile, FoundSource, Skipped};
use super::{labels, members, peek, walk};
use crate::ingest::error::quoted;
use crate::ingest::open::{Location, Sampler};
use crate::ingest::parse::{Source, json};
use crate::ingest::{Error, Format, Reading, Result};

/// Finds all files behind the inputs, in a fixed order, and looks at the layout of each that has columns.
///
/// # Errors
/// An input that is not there, a file named directly that cannot be read, columns that cannot be told apart, or nothing
/// to read at all.
pub fn discover(inputs: &[String], reading: &Reading) -> Result<Discovery> {
    if inputs.is_empty() {
        return Err(Error::NoInput);
    }
    let mut finder = Finder { reading, skipped: Vec::new(), textless: Vec::new() };
    let mut found: Vec<FoundSource> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let files = finder.files(input, index)?;
        let files = label_and_place(files, reading, &mut finder.skipped);
        found.extend(files.into_iter().map(finish));
    }
    let Finder { mut skipped, textless, .. } = finder;
    drop_doubles(&mut found, &mut skipped);
    for (name, error) in textless {
        // Only beside others is a table without a text column something else than reviews.
        if found.is_empty() {
            return Err(error);
        }
        let reason = "a table without a text column, beside files that have one; --text-column names another";
        skipped.push(Skipped { name, reason: reason.into() });
    }
    if found.is_empty() {
        return Err(nothing(inputs, &skipped));
    }
    Ok(Discovery { inputs: inputs.to_vec(), found, skipped })
}

/// A file that will probably be read.
struct Candidate {
    source: Source,
    input: usize,
    folders: Vec<String>,
    depth: usize,
    named: bool,
    stem: String,
    /// Whether the format came with `--format`.
    told: bool,
    /// Whether a text file whose name may label its lines has more than one.
    several: bool,
}

/// Finds files one by one, so that no more than one file's content is held.
struct Finder<'a> {
    reading: &'a Reading,
    skipped: Vec<Skipped>,
    /// Tables without a text column, and the error that each is if there is nothing else.
    textless: Vec<(String, Error)>,
}

impl Finder<'_> {
    fn files(&mut self, input: &str, index: usize) -> Result<Vec<Candidate>> {
        let mut files = Vec::new();
        for found in walk::list(input, &mut self.skipped)? {
            match FileName::of(&found.path).kind {
                Kind::Archive(kind) if !found.named && !kind.is(&found.path)? => {
                    let reason = "an archive by its name, and none by its content";
                    self.skipped.push(Skipped { name: found.name, reason: reason.into() });
                }
                Kind::Archive(kind) => {
                    let mut keep = |member| -> Result<()> {
                        files.extend(self.keep(member, index)?);
                        Ok(())
                    };
                    let skipped = members::list(&found, kind, &mut keep)?;
                    self.skipped.extend(skipped);
                }
                _ => files.extend(self.keep(found, index)?),
            }
        }
        Ok(self.last_of_each(files))
    }

    /// The file, unless it is passed over; its layout is looked at here and nowhere else.
    fn keep(&mut self, found: FoundFile, input: usize) -> Result<Option<Candidate>> {
        let reading = self.reading;
        let name = FileName::of(found.own_path());
        let told = reading.options.format != Format::Auto;
        if let Some(reason) = pass_over(&found, &name, reading)? {
            self.skipped.push(Skipped { name: found.name, reason: reason.into() });
            return Ok(None);
        }
        let format = match (reading.options.format, name.kind) {
            (Format::Auto, Kind::Known(format)) => format,
            (Format::Auto, _) => Format::Text,
            (asked, _) => asked,
        };
        let own_path = found.own_path();
        let json = own_path.extension().is_some_and(|extension| extension == "json");
        let is_doubtful = format == Format::Jsonl && !told && !found.named && json;
        let mut source = source_of(&found, format)?;
        let sampler = Sampler::new(&source.location, found.head.as_ref(), reading.options.encoding);
        if is_doubtful && !begins_with_object(&sampler)? {
            let reason = "JSON, but neither one object a line nor an array of objects";
            self.skipped.push(Skipped { name: found.name, reason: reason.into() });
            return Ok(None);
        }
        let layout = match peek::layout_of(&sampler, format, reading) {
            Ok(layout) => layout,
            Err(error) if error.is_textless(reading.options.text_column.as_deref()) && !told && !found.named => {
                self.textless.push((found.name, error));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let may_be_lines = !told && format == Format::Text && (found.named || labels::of_file(&name.stem).is_some());
        let several = may_be_lines && has_several_lines(&sampler)?;
        source.layout = layout;
        let FoundFile { folders, depth, named, .. } = found;
        Ok(Some(Candidate { source, input, folders, depth, named, stem: name.stem, told, several }))
    }

    /// Of members of one name an archive means the last one.
    fn last_of_each(&mut self, files: Vec<Candidate>) -> Vec<Candidate> {
        let last: HashMap<String, usize> =
            files.iter().enumerate().map(|(at, file)| (file.source.name().to_owned(), at)).collect();
        let is_last = |at: usize, file: &Candidate| !file.source.is_member() || last[file.source.name()] == at;
        let mut kept = Vec::with_capacity(files.len());
        for (at, file) in files.into_iter().enumerate() {
            if is_last(at, &file) {
                kept.push(file);
            } else {
                let reason = "a later member of the archive has the same name".into();
                self.skipped.push(Skipped { name: file.source.location.name, reason });
            }
        }
        kept
    }
}

/// Why a file is passed over by its name and place.
fn pass_over(found: &FoundFile, name: &FileName, reading: &Reading) -> Result<Option<&'static str>> {
    let told = reading.options.format != Format::Auto;
    let readme = ["readme", "license", "licence", "changelog"]
        .iter()
        .any(|word| name.stem.to_lowercase().split(['.', '-', '_', ' ']).any(|part| part == *word));
    let plain = matches!(name.kind, Kind::LabelExtension | Kind::Known(Format::Text));
    let parquet =
        matches!((name.kind, reading.options.format), (_, Format::Parquet) | (Kind::Known(Format::Parquet), _));
    let skip = match (name.kind, reading.options.format) {
        (Kind::Closed, _) if found.named => return Err(Error::ClosedArchive { name: found.name.clone() }),
        (Kind::Closed, _) => Some("an archive of a kind that is not read; unpack it first"),
        (Kind::Archive(_), _) => Some("an archive inside an archive; unpack it first"),
        _ if parquet && found.member.is_some() => Some("Parquet inside an archive; unpack it first"),
        (Kind::Unknown, Format::Auto) if found.named => {
            return Err(Error::UnknownExtension { name: found.name.clone() });
        }
        (Kind::Unknown, Format::Auto) => Some("unknown extension"),
        (_, Format::Auto) | (Kind::Unknown, _) => None,
        _ if found.named => None,
        (_, Format::Text | Format::Lines) if plain => None,
        (Kind::Known(format), asked) if format == asked => None,
        _ => Some("another format than --format says"),
    };
    Ok(skip.or_else(|| (readme && !found.named && (plain || told)).then_some("a note about the data by its name")))
}

fn source_of(found: &FoundFile, format: Format) -> Result<Source> {
    let bytes = match &found.member {
        Some(member) => member.bytes(),
        None => fs_err::metadata(&found.path).map_err(|source| Error::Open { path: found.path.clone(), source })?.len(),
    };
    let (path, name, member) = (found.path.clone(), found.name.clone(), found.member.clone());
    Ok(Source { location: Location { path, name, bytes, member }, format, label: None, layout: None })
}

/// Folders hold many a `config.json` or `package.json`; reviews are objects in lines or in an array.
fn begins_with_object(sampler: &Sampler<'_>) -> Result<bool> {
    const HEAD_BYTES: u64 = 64 << 10;
    let sample = sampler.first(HEAD_BYTES)?;
    Ok(json::begins_with_object(&sample.bytes, sample.complete))
}

/// Labels from folders and names; in a labelled text tree, files beside the labelled folders are dropped.
fn label_and_place(mut files: Vec<Candidate>, reading: &Reading, skipped: &mut Vec<Skipped>) -> Vec<Candidate> {
    for file in &mut files {
        file.source.label = labels::of_folders(&file.folders);
    }
    let is_text = |file: &Candidate| file.source.format == Format::Text;
    let parents: HashSet<&[String]> = files
        .iter()
        .filter(|file| is_text(file) && file.source.label.is_some())
        .flat_map(|file| (0..file.folders.len()).map(|end| &file.folders[..end]))
        .collect();
    let stray: Vec<bool> = files
        .iter()
        .map(|file| is_text(file) && file.source.label.is_none() && parents.contains(file.folders.as_slice()))
        .collect();
    let mut kept = Vec::with_capacity(files.len());
    for (file, stray) in files.into_iter().zip(stray) {
        if stray && !file.named && matches!(reading.options.format, Format::Auto | Format::Text) {
            skipped.push(Skipped {
                name: file.source.location.name,
                reason: "beside the labelled folders, not in one".into(),
            });
        } else {
            kept.push(file);
        }
    }
    label_classes(&mut kept);
    for file in kept.iter_mut().filter(|file| file.source.label.is_none()) {
        file.source.label = labels::of_file(&file.stem);
    }
    kept
}

/// In a tree whose text files all lie in folders, and in at least two that can be classes, the folder is the label.
fn label_classes(files: &mut [Candidate]) {
    let texts = || files.iter().filter(|file| file.source.format == Format::Text);
    let class = |file: &Candidate| {
        let parent = file.folders.last().filter(|_| file.depth > 0)?;
        labels::may_be_class(parent).then(|| parent.clone())
    };
    let classes: HashSet<String> = texts().filter_map(class).collect();
    let is_tree = texts().all(|file| file.source.label.is_none() && file.depth > 0);
    if is_tree && classes.len() > 1 {
        for file in files.iter_mut().filter(|file| file.source.format == Format::Text) {
            file.source.label = class(file);
        }
    }
}

fn finish(file: Candidate) -> FoundSource {
    let Candidate { mut source, input, folders, named, stem, told, several, .. } = file;
    let mut note = told.then(|| format!("read as {} because --format says so", source.format));
    // A folder's name labels single reviews; a file's own name labels all that is in it.
    let says_label = labels::of_file(&stem).is_some() && labels::of_folders(&folders).is_none();
    if !told && source.format == Format::Text && (named || says_label) {
        source.format = if several { Format::Lines } else { Format::Text };
        let how = if several { "one review a line, as it has several" } else { "one review, as it has one line" };
        note = Some(format!("read as {how}; --format text|lines settles it"));
    }
    FoundSource { source, input, note }
}

fn has_several_lines(sampler: &Sampler<'_>) -> Result<bool> {
    const HEAD_BYTES: u64 = 1 << 20;
    let sample = sampler.first(HEAD_BYTES)?;
    let mut lines = sample.bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    Ok(lines.nth(1).is_some())
}

/// Inputs may overlap, a glob may match a folder and the files in it, and a folder may hold links to its own files.
fn drop_doubles(found: &mut Vec<FoundSource>, skipped: &mut Vec<Skipped>) {
    let mut seen = HashSet::new();
    found.retain(|FoundSource { source: Source { location, .. }, .. }| {
        let place = fs_err::canonicalize(&location.path).unwrap_or_else(|_| location.path.clone());
        let first = seen.insert((place, location.member.as_ref().map(|member| member.name.clone())));
        if !first {
            skipped.push(Skipped { name: location.name.clone(), reason: "found already".into() });
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
