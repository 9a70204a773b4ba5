//! An output folder: claimed by one process at a time, resumed if the same run made it, refused otherwise.
//!
//! A run is the same if all its settings are; what its input was may differ, and then only what is new in it is done.
//! The states are types: a folder is [`Claim::Finished`] or [`ClaimedOutput`], in which nothing has been changed yet; from
//! there [`ClaimedOutput::begin`] leads to [`Output`], the only one that takes commits, and [`Output::complete`] ends it.

mod folder;

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;
use serde_json::{Value, json};

use self::folder::{LOCK, check_parts, clear, lock, refuse_foreign, refuse_inputs, sweep};
use super::manifest::Appender;
use super::{Error, Manifest, RecordedRun, Result, UnitRecord};
use crate::files::failpoint::{self, Gaps, Point};
use crate::files::{Staged, sync_folder_of};

/// What a run finds in the folder that it is to write to.
#[derive(Debug)]
pub enum Claim {
    /// The same run, finished: there is nothing to do.
    Finished(Box<Manifest>),
    /// A folder to go on in.
    Open(Box<ClaimedOutput>),
}

/// What is in a folder that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the run starts here.
    Nothing,
    /// Units of the same run; it goes on.
    SameInput,
    /// Units of the same run on what the input was then: those that are still in it stay.
    OtherInput,
}

/// An output folder that this process holds, as it was found: a command that turns out to be wrong costs nothing.
#[derive(Debug)]
pub struct ClaimedOutput {
    folder: Folder,
    found: Found,
    /// What the input is now, where it has changed.
    snapshot: Option<Value>,
}

/// An output folder that takes commits.
#[derive(Debug)]
pub struct Output {
    appender: Appender,
    folder: Folder,
}

/// A folder that is held, and what it holds.
#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    manifest: Manifest,
    /// Whether nothing of the run was there before.
    fresh: bool,
    /// Whether anything may have been written.
    begun: bool,
    /// Whether this process made the folder.
    made: bool,
    _lock: fs::File,
}

impl Claim {
    /// Takes the folder `dir` for `run`, starting over if `overwrite`; `inputs` are what the run reads.
    ///
    /// # Errors
    /// [`Error::HoldsInput`], [`Error::Foreign`], [`Error::OtherRun`], [`Error::Locked`] and [`Error::PartChanged`]
    /// where the folder is not this run's to write.
    pub fn of(dir: &Path, run: &RecordedRun, overwrite: bool, inputs: &[PathBuf]) -> Result<Claim> {
        failpoint::check()?;
        refuse_inputs(dir, inputs)?;
        refuse_foreign(dir)?;
        let made = !dir.is_dir();
        fs::create_dir_all(dir)?;
        let lock = lock(dir)?;
        let manifest = if overwrite { None } else { Manifest::read(dir)? };
        if manifest.is_none() && !overwrite && dir.join("run.json").exists() {
            return Err(Error::NoManifest { dir: dir.to_owned() });
        }
        // A run that committed nothing leaves nothing behind that could stand in another one's way.
        let manifest = manifest.filter(|manifest| !manifest.is_empty());
        let found = manifest.as_ref().map_or(Ok(Found::Nothing), |manifest| compare(dir, manifest, run))?;
        match manifest {
            Some(manifest) if found == Found::SameInput && manifest.complete.is_some() => {
                Ok(Claim::Finished(Box::new(manifest)))
            }
            manifest => {
                let snapshot = run.snapshot().filter(|_| found == Found::OtherInput).cloned();
                let manifest = manifest.unwrap_or_else(|| Manifest::of(run));
                let fresh = found == Found::Nothing;
                let folder = Folder { dir: dir.to_owned(), manifest, fresh, begun: false, made, _lock: lock };
                Ok(Claim::Open(Box::new(ClaimedOutput { folder, found, snapshot })))
            }
        }
    }
}

/// Whether a manifest is of the same run, and its parts are there.
fn compare(dir: &Path, manifest: &Manifest, run: &RecordedRun) -> Result<Found> {
    let differences = manifest.run.differences(run);
    if !differences.is_empty() {
        return Err(Error::OtherRun { dir: dir.to_owned(), differences: differences.join("; ") });
    }
    check_parts(dir, manifest)?;
    Ok(if manifest.run.snapshot() == run.snapshot() { Found::SameInput } else { Found::OtherInput })
}

impl ClaimedOutput {
    /// What is in the folder.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// What is committed.
    pub fn manifest(&self) -> &Manifest {
        &self.folder.manifest
    }

    /// Gives up what is committed, for a run that is done in one go; nothing is removed before [`ClaimedOutput::begin`].
    #[must_use]
    pub fn start_over(mut self, run: &RecordedRun) -> ClaimedOutput {
        self.folder.manifest = Manifest::of(run);
        self.folder.fresh = true;
        ClaimedOutput { found: Found::Nothing, snapshot: None, ..self }
    }

    /// Makes the folder ready for commits: takes away what is overwritten, or the orphans of a crash.
    pub fn begin(self) -> Result<Output> {
        let ClaimedOutput { mut folder, snapshot, .. } = self;
        if folder.fresh {
            clear(&folder.dir)?;
        }
        sweep(&folder.dir, &folder.manifest)?;
        let mut appender = Appender::open(&folder.dir)?;
        folder.begun = true;
        if folder.fresh {
            appender.run(&folder.manifest.run)?;
            sync_folder_of(&Manifest::path(&folder.dir))?;
        }
        if let Some(snapshot) = snapshot {
            appender.reopened(snapshot.clone())?;
            folder.manifest.reopen(snapshot);
        }
        Ok(Output { appender, folder })
    }
}

impl Output {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// What is committed.
    pub fn manifest(&self) -> &Manifest {
        &self.folder.manifest
    }

    /// Makes a unit's parts count.
    pub fn commit(&mut self, unit: UnitRecord) -> Result<()> {
        failpoint::reached(Point::PartsDurable);
        self.appender.unit(&unit)?;
        self.folder.manifest.units.push(unit);
        Ok(())
    }

    /// Makes units count no longer, because they are no longer in the input, and removes what they made.
    pub fn supersede(&mut self, units: Vec<String>) -> Result<()> {
        self.appender.superseded(units.clone())?;
        self.folder.manifest.supersede(&units);
        sweep(&self.folder.dir, &self.folder.manifest)
    }

    /// Writes `run.json`, then marks the run as finished.
    pub fn complete(mut self, report: &impl Serialize) -> Result<()> {
        write_atomically(&self.folder.dir.join("run.json"), &pretty(report))?;
        let (rows_in, _) = self.folder.manifest.totals();
        self.appender.complete(json!({ "units": self.folder.manifest.units.len(), "rows_in": rows_in }))
    }
}

impl Drop for Folder {
    /// A run that ends before its first commit takes away what it made: a refused command leaves no folder behind.
    fn drop(&mut self) {
        let nothing = self.fresh && self.manifest.units.is_empty();
        if nothing && self.begun && clear(&self.dir).is_err() {
            return;
        }
        // What was written but not committed must not be read for data.
        if !nothing && self.begun {
            sweep(&self.dir, &self.manifest).ok();
        }
        if nothing && (self.made || self.begun) {
            fs::remove_file(self.dir.join(LOCK)).ok();
        }
        if nothing && self.made {
            // Best effort: the folder goes only if nothing else is in it.
            fs::remove_dir(&self.dir).ok();
        }
    }
}

/// Writes `run.json`, or what lies beside it, so that it appears whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Staged::create(path)?.with_gaps(Gaps::REPORT);
    file.write_all(bytes)?;
    Ok(file.commit()?)
}

fn pretty(report: &impl Serialize) -> Vec<u8> {
    // By way of a value, whose keys are in order.
    let value = serde_json::to_value(report).and_then(|value| serde_json::to_vec_pretty(&value));
    let mut bytes = value.expect("a report is plain data; this is a bug");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests;
