//! `manifest.jsonl`: the one file that says which parts of an output folder count.
//!
//! Line 1 is the run as resolved, then one line a committed unit, last the completion. A unit commits all that it made
//! in one line, fsynced: a reader sees all of a unit or nothing of it. A torn last line (a crash in the middle of the
//! write) is cut off before the next append.
//!
//! Where the input has changed since, `reopened` takes the completion back and says what the input is now, units that
//! are new in it follow, and `superseded` names those that are no longer in it.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Result};
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

/// Seconds of work by its kind. Units overlap, so that the sum may be more than the wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Reading, unpacking and parsing the input.
    pub read: f64,
    /// Tokenizing.
    pub tokenize: f64,
    /// Sessions running, the mean over them: the device's time, where that is a GPU.
    pub encode: f64,
    /// Writing parts, fsync included.
    pub write: f64,
    /// Micro-batches waiting for a session, summed over them: next to nothing where the encoder starves.
    pub queue: f64,
}

impl StageSeconds {
    /// The kind of work that took the longest, if any was done: what to make faster first.
    pub fn limiting(&self) -> Option<&'static str> {
        let kinds = [("read", self.read), ("tokenize", self.tokenize), ("encode", self.encode), ("write", self.write)];
        let (kind, seconds) = kinds.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (seconds > 0.0).then_some(kind)
    }

    fn add(&mut self, other: &StageSeconds) {
        self.read += other.read;
        self.tokenize += other.tokenize;
        self.encode += other.encode;
        self.write += other.write;
        self.queue += other.queue;
    }
}

/// What a unit did and cost; sums over units are the totals of `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Rows that score has an answer for, but not one as sure as the head's threshold wants.
    #[serde(default)]
    pub rows_abstained: u64,
    /// Rows (rejected, or without an answer in score) whose text the encoder failed on.
    #[serde(default)]
    pub rows_failed: u64,
    /// Micro-batches that failed and were split.
    #[serde(default)]
    pub batches_split: u64,
    /// Texts that were encoded.
    #[serde(default)]
    pub texts: u64,
    /// Of these, texts that have more tokens than the encoder was to see.
    #[serde(default)]
    pub texts_truncated: u64,
    /// `rows_rejected` by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, u64>,
    /// Texts whose vectors came from a cache.
    #[serde(default)]
    pub texts_cached: u64,
    /// Where the time went.
    #[serde(default)]
    pub stage_seconds: StageSeconds,
}

impl UnitStats {
    /// What the encoder did and cost, without the rows that came of it.
    fn of_encoder(&self) -> UnitStats {
        UnitStats {
            tokens: self.tokens,
            padded_tokens: self.padded_tokens,
            seconds: self.seconds,
            encoder_seconds: self.encoder_seconds,
            stage_seconds: self.stage_seconds,
            batches_split: self.batches_split,
            texts: self.texts,
            texts_truncated: self.texts_truncated,
            ..UnitStats::default()
        }
    }

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
        self.rows_abstained += other.rows_abstained;
        self.rows_failed += other.rows_failed;
        self.batches_split += other.batches_split;
        self.texts += other.texts;
        self.texts_truncated += other.texts_truncated;
        for (reason, rows) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += rows;
        }
        self.texts_cached += other.texts_cached;
        self.stage_seconds.add(&other.stage_seconds);
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
    Unit(Box<UnitRecord>),
    Reopened { reopened: Value },
    Superseded { superseded: Vec<String> },
    Complete { complete: Value },
}

/// The setting that says what the input was when it was found; all others must stay the same when a run goes on.
pub const SNAPSHOT: &str = "snapshot";

/// The contents of a manifest.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The run as resolved.
    pub run: BTreeMap<String, Value>,
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
        self.run.insert(SNAPSHOT.to_owned(), snapshot);
        self.complete = None;
        self.reopened += 1;
    }

    /// Takes units out that are no longer in the input; their vectors stay.
    pub(super) fn supersede(&mut self, names: &[String]) {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let (gone, kept) = std::mem::take(&mut self.units).into_iter().partition(|unit| names.contains(&*unit.unit));
        self.units = kept;
        let gone: Vec<UnitRecord> = gone;
        gone.iter().for_each(|unit| self.spent.add(&unit.stats.of_encoder()));
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
