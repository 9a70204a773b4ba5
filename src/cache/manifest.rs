//! `manifest.jsonl`: the one file that says which parts of an output folder count.
//!
//! Line 1 is the run as resolved, then one line a committed unit, last the completion. A unit commits all that it made
//! in one line, fsynced: a reader sees all of a unit or nothing of it. A torn last line (a crash in the middle of the
//! write) is cut off before the next append.
//!
//! Where the input has changed since, `reopened` takes the completion back and says what the input is now, units that
//! are new in it follow, and `superseded` names those that are no longer in it.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, RecordedRun, Result, UnitStats};
use crate::files::failpoint::{self, Point};
use crate::schema::Dataset;

/// A committed Parquet file; `path` is relative to the output folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The dataset it belongs to.
    pub dataset: String,
    /// Relative path.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3-128 of the file.
    pub digest: String,
}

/// One committed unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Hash of path, content digest and row range.
    pub unit: String,
    /// The source file (the first one, where small files are packed together).
    pub source: String,
    /// Records of the input that the unit covers.
    pub rows_in: u64,
    /// The files that it made.
    pub parts: Vec<Part>,
    /// What it did and cost.
    pub stats: UnitStats,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Run { run: RecordedRun },
    Unit(Box<UnitRecord>),
    Reopened { reopened: Value },
    Superseded { superseded: Vec<String> },
    Complete { complete: Value },
}

/// The contents of a manifest.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The run as resolved.
    pub run: RecordedRun,
    /// Committed units, in the order of their commits.
    pub units: Vec<UnitRecord>,
    /// Vectors of units that no longer count: rows of later units may refer to them, and the same text may come again.
    pub retained: Vec<Part>,
    /// What went into vectors that no longer count; their rows are not in it.
    pub spent: UnitStats,
    /// How often the input was found to have changed.
    pub reopened: u64,
    /// What the run said when it finished; `None` while it has not.
    pub complete: Option<Value>,
}

impl Manifest {
    /// That of a run which has done nothing yet.
    pub(super) fn of(run: &RecordedRun) -> Manifest {
        Manifest { run: run.clone(), ..Manifest::default() }
    }

    /// Whether nothing was ever committed, nor finished.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.retained.is_empty() && self.complete.is_none()
    }

    /// The manifest's place in an output folder.
    pub fn path(out: &Path) -> PathBuf {
        out.join("manifest.jsonl")
    }

    /// Reads the manifest of `out`; `None` where there is none, or where its first line was never finished.
    pub fn read(out: &Path) -> Result<Option<Manifest>> {
        let path = Manifest::path(out);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (mut manifest, mut seen) = (None, HashSet::new());
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let line = serde_json::from_slice(line).map_err(|source| Error::Damaged {
                path: path.clone(),
                line: index + 1,
                source,
            })?;
            match (line, &mut manifest) {
                (Line::Run { run }, empty @ None) => *empty = Some(Manifest { run, ..Manifest::default() }),
                (Line::Unit(unit), Some(manifest)) if manifest.complete.is_none() && seen.insert(unit.unit.clone()) => {
                    manifest.units.push(*unit);
                }
                (Line::Reopened { reopened }, Some(manifest)) => manifest.reopen(reopened),
                (Line::Superseded { superseded }, Some(manifest))
                    if manifest.complete.is_none() && superseded.iter().all(|unit| seen.remove(unit)) =>
                {
                    manifest.supersede(&superseded);
                }
                (Line::Complete { complete }, Some(manifest)) => manifest.complete = Some(complete),
                _ => {
                    let why = "the lines are not one run, then each unit once, then the completion";
                    return Err(Error::Damaged { path, line: index + 1, source: serde::de::Error::custom(why) });
                }
            }
        }
        Ok(manifest)
    }

    /// The manifest of `out`, which must be the output of `stage`, finished or not.
    ///
    /// # Errors
    /// [`Error::NotOutput`] where there is none, or another stage's.
    pub fn of_output(out: &Path, stage: &str) -> Result<Manifest> {
        let not_output = |missing: &str| {
            let (wanted, missing) = (stage.to_owned(), missing.to_owned());
            Error::NotOutput { dir: out.to_owned(), wanted, missing }
        };
        let manifest = Manifest::read(out)?.ok_or_else(|| not_output("manifest.jsonl"))?;
        match manifest.run.command() {
            Some(found) if found == stage => Ok(manifest),
            _ => Err(not_output(if stage == "embed" { Dataset::Features } else { Dataset::Predictions }.name())),
        }
    }

    /// BLAKE3-128 over the names and digests of all parts: what they hold need not be read to know it.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.every_part().for_each(|part| {
            hasher.update(part.path.as_bytes()).update(part.digest.as_bytes());
        });
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The parts of `dataset`, in order.
    pub fn parts(&self, dataset: &str) -> impl Iterator<Item = &Part> {
        self.every_part().filter(move |part| part.dataset == dataset)
    }

    /// The parts of all datasets.
    pub fn every_part(&self) -> impl Iterator<Item = &Part> {
        self.retained.iter().chain(self.units.iter().flat_map(|unit| &unit.parts))
    }

    /// Takes the completion back: the input is another now.
    pub(super) fn reopen(&mut self, snapshot: Value) {
        self.run.set_snapshot(snapshot);
        self.complete = None;
        self.reopened += 1;
    }

    /// Takes units out that are no longer in the input; their vectors stay.
    pub(super) fn supersede(&mut self, names: &[String]) {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let (gone, kept) = std::mem::take(&mut self.units).into_iter().partition(|unit| names.contains(&*unit.unit));
        self.units = kept;
        let gone: Vec<UnitRecord> = gone;
        gone.iter().for_each(|unit| self.spent.add(&unit.stats.work()));
        let vectors =
            gone.into_iter().flat_map(|unit| unit.parts).filter(|part| part.dataset == Dataset::Features.name());
        self.retained.extend(vectors);
    }

    /// The relative paths of every committed part.
    pub fn paths(&self) -> HashSet<&str> {
        self.every_part().map(|part| part.path.as_str()).collect()
    }

    /// Sums over the committed units.
    pub fn totals(&self) -> (u64, UnitStats) {
        let mut stats = self.spent.clone();
        self.units.iter().for_each(|unit| stats.add(&unit.stats));
        (self.units.iter().map(|unit| unit.rows_in).sum(), stats)
    }
}

impl RecordedRun {
    /// What a stage wrote down, or the part of it that `T` is; `out` is the folder, for the error.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is none.
    pub fn read<T: DeserializeOwned>(&self, out: &Path) -> Result<T> {
        self.parse().map_err(|source| Error::Damaged { path: Manifest::path(out), line: 1, source })
    }
}

/// Appends durable lines to a manifest.
#[derive(Debug)]
pub(super) struct Appender {
    file: fs::File,
}

impl Appender {
    /// Opens the manifest of `out` for appending, cutting off a torn last line.
    pub(super) fn open(out: &Path) -> Result<Appender> {
        let mut file =
            fs::OpenOptions::new().create(true).read(true).write(true).truncate(false).open(Manifest::path(out))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Appender { file })
    }

    pub(super) fn run(&mut self, run: &RecordedRun) -> Result<()> {
        self.line(&Line::Run { run: run.clone() })
    }

    pub(super) fn unit(&mut self, unit: &UnitRecord) -> Result<()> {
        self.line(&Line::Unit(Box::new(unit.clone())))
    }

    pub(super) fn reopened(&mut self, snapshot: Value) -> Result<()> {
        self.line(&Line::Reopened { reopened: snapshot })
    }

    pub(super) fn superseded(&mut self, units: Vec<String>) -> Result<()> {
        self.line(&Line::Superseded { superseded: units })
    }

    pub(super) fn complete(&mut self, complete: Value) -> Result<()> {
        self.line(&Line::Complete { complete })
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).expect("manifest lines are plain data; this is a bug");
        bytes.push(b'\n');
        let end = self.file.stream_position()?;
        let written = self.write(&bytes);
        if written.is_err() {
            // A line that may or may not be there would name parts that are about to be swept.
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
        }
        Ok(written?)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if failpoint::due(Point::ManifestTorn) {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            std::process::abort();
        }
        self.file.write_all(bytes)?;
        failpoint::reached(Point::ManifestWritten);
        self.file.sync_data()?;
        failpoint::reached(Point::ManifestSynced);
        Ok(())
    }
}
