//! `manifest.jsonl`: the one file that says which parts of an output folder count.
//!
//! Line 1 is the run as resolved, then one line a committed unit, last the completion. A unit commits all that it made
//! in one line, fsynced: a reader sees all of a unit or nothing of it. A torn last line (a crash in the middle of the
//! write) is cut off before the next append.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Result};

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

/// What a unit did and cost; sums over units are the totals of `run.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitStats {
    /// Rows that went on to the stage's main dataset.
    pub rows_out: u64,
    /// Rows that went to `rejects`.
    pub rows_rejected: u64,
    /// Rows (inside `rows_out`) whose text had been encoded already.
    pub rows_deduplicated: u64,
    /// Tokens fed to the encoder, without padding.
    pub tokens: u64,
    /// Rows times width over all micro-batches.
    pub padded_tokens: u64,
    /// Wall seconds of the run between the commit before this one and this one.
    pub seconds: f64,
    /// Of these, seconds in which the encoder had work.
    pub encoder_seconds: f64,
    /// Rows with a true label that the head knows (score with `--label-column`).
    pub labelled: u64,
    /// Of these, rows whose most probable label is the true one.
    pub correct: u64,
    /// Sum over these rows of minus the natural logarithm of the true label's probability.
    pub log_loss_sum: f64,
    /// Rows with a true label that the head does not know.
    pub unknown_labels: u64,
    /// Rows (rejected, or without an answer in score) whose text the encoder failed on.
    #[serde(default)]
    pub rows_failed: u64,
    /// Micro-batches that failed and were split.
    #[serde(default)]
    pub batches_split: u64,
    /// Texts whose vectors came from a cache.
    #[serde(default)]
    pub texts_cached: u64,
}

impl UnitStats {
    /// Adds another unit's figures.
    pub fn add(&mut self, other: &UnitStats) {
        self.rows_out += other.rows_out;
        self.rows_rejected += other.rows_rejected;
        self.rows_deduplicated += other.rows_deduplicated;
        self.tokens += other.tokens;
        self.padded_tokens += other.padded_tokens;
        self.seconds += other.seconds;
        self.encoder_seconds += other.encoder_seconds;
        self.labelled += other.labelled;
        self.correct += other.correct;
        self.log_loss_sum += other.log_loss_sum;
        self.unknown_labels += other.unknown_labels;
        self.rows_failed += other.rows_failed;
        self.batches_split += other.batches_split;
        self.texts_cached += other.texts_cached;
    }
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
    Run { run: BTreeMap<String, Value> },
    Unit(UnitRecord),
    Complete { complete: Value },
}

/// The contents of a manifest.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The run as resolved.
    pub run: BTreeMap<String, Value>,
    /// Committed units, in the order of their commits.
    pub units: Vec<UnitRecord>,
    /// What the run said when it finished; `None` while it has not.
    pub complete: Option<Value>,
}

impl Manifest {
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
                    manifest.units.push(unit);
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

    /// The parts of `dataset`, in order.
    pub fn parts(&self, dataset: &str) -> impl Iterator<Item = &Part> {
        self.units.iter().flat_map(|unit| &unit.parts).filter(move |part| part.dataset == dataset)
    }

    /// The relative paths of every committed part.
    pub fn paths(&self) -> HashSet<&str> {
        self.units.iter().flat_map(|unit| &unit.parts).map(|part| part.path.as_str()).collect()
    }

    /// Sums over the committed units.
    pub fn totals(&self) -> (u64, UnitStats) {
        let mut stats = UnitStats::default();
        self.units.iter().for_each(|unit| stats.add(&unit.stats));
        (self.units.iter().map(|unit| unit.rows_in).sum(), stats)
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

    pub(super) fn run(&mut self, run: &BTreeMap<String, Value>) -> Result<()> {
        self.line(&Line::Run { run: run.clone() })
    }

    pub(super) fn unit(&mut self, unit: &UnitRecord) -> Result<()> {
        self.line(&Line::Unit(unit.clone()))
    }

    pub(super) fn complete(&mut self, complete: Value) -> Result<()> {
        self.line(&Line::Complete { complete })
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).expect("manifest lines are plain data; this is a bug");
        bytes.push(b'\n');
        let end = self.file.stream_position()?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // A line that may or may not be there would name parts that are about to be swept.
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
        }
        Ok(written?)
    }
}
