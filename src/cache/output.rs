//! An output folder: claimed by one process at a time, resumed if the same run made it, refused otherwise.
//!
//! A run is the same if all its settings are; what its input was may differ, and then only what is new in it is done.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

use super::manifest::{Appender, SNAPSHOT};
use super::{Error, Manifest, Result, UnitRecord};
use crate::files::failpoint::{self, Gaps, Point};
use crate::files::{Staged, sync_folder_of};
use crate::schema::Dataset;

/// A run as resolved: everything that determines its output. Two runs are the same if these are equal.
pub type Resolved = BTreeMap<String, Value>;

const LOCK: &str = ".lock";
/// Files that stages leave in an output folder beside the datasets.
const FILES: [&str; 8] = [
    "manifest.jsonl",
    "run.json",
    LOCK,
    "bundle.json",
    "head.safetensors",
    "head.onnx",
    "evaluation.json",
    "report.html",
];

/// What was found in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: the run starts here.
    Fresh,
    /// Units of the same run; it goes on.
    Partial,
    /// Units of the same run on what the input was then: those that are still in it stay.
    Changed,
    /// The same run, finished: there is nothing to do.
    Complete,
}

/// An output folder that this process holds.
#[derive(Debug)]
pub struct Output {
    dir: PathBuf,
    manifest: Manifest,
    state: State,
    /// What the input is now, where it has changed.
    snapshot: Option<Value>,
    /// Open from [`Output::begin`] on.
    appender: Option<Appender>,
    /// Whether this process made the folder.
    made: bool,
    _lock: fs::File,
}

impl Output {
    /// Takes the folder `dir` for the run `resolved`, starting over if `overwrite`; `inputs` are what the run reads.
    ///
    /// Nothing in the folder is changed before [`Output::begin`]: a command that turns out to be wrong costs nothing.
    ///
    /// # Errors
    /// [`Error::HoldsInput`], [`Error::Foreign`], [`Error::OtherRun`], [`Error::Locked`] and [`Error::PartChanged`]
    /// where the folder is not this run's to write.
    pub fn open(dir: &Path, resolved: &Resolved, overwrite: bool, inputs: &[PathBuf]) -> Result<(Output, State)> {
        failpoint::check()?;
        refuse_inputs(dir, inputs)?;
        refuse_foreign(dir)?;
        let made = !dir.is_dir();
        fs::create_dir_all(dir)?;
        let lock = lock(dir)?;
        let found = if overwrite { None } else { Manifest::read(dir)? };
        if found.is_none() && !overwrite && dir.join("run.json").exists() {
            return Err(Error::NoManifest { dir: dir.to_owned() });
        }
        // A run that committed nothing leaves nothing behind that could stand in another one's way.
        let found =
            found.filter(|found| !found.units.is_empty() || !found.retained.is_empty() || found.complete.is_some());
        let state = match &found {
            None => State::Fresh,
            Some(manifest) => {
                let differences = differences(&settings(&manifest.run), &settings(resolved));
                if !differences.is_empty() {
                    let differences = differences.join("; ");
                    return Err(Error::OtherRun { dir: dir.to_owned(), differences });
                }
                check_parts(dir, manifest)?;
                match (manifest.run.get(SNAPSHOT) == resolved.get(SNAPSHOT), &manifest.complete) {
                    (false, _) => State::Changed,
                    (true, None) => State::Partial,
                    (true, Some(_)) => State::Complete,
                }
            }
        };
        let manifest = found.unwrap_or_else(|| Manifest { run: resolved.clone(), ..Manifest::default() });
        let snapshot = resolved.get(SNAPSHOT).filter(|_| state == State::Changed).cloned();
        Ok((Output { dir: dir.to_owned(), manifest, state, snapshot, appender: None, made, _lock: lock }, state))
    }

    /// Makes the folder ready for commits: takes away what is overwritten, or the orphans of a crash.
    pub fn begin(&mut self) -> Result<()> {
        if self.state == State::Fresh {
            clear(&self.dir)?;
        }
        sweep(&self.dir, &self.manifest)?;
        let mut appender = Appender::open(&self.dir)?;
        if self.state == State::Fresh {
            appender.run(&self.manifest.run)?;
            sync_folder_of(&Manifest::path(&self.dir))?;
        }
        if let Some(snapshot) = self.snapshot.take() {
            appender.reopened(snapshot.clone())?;
            self.manifest.reopen(snapshot);
        }
        self.appender = Some(appender);
        Ok(())
    }

    /// Gives up what is committed, for a run that is done in one go; nothing is removed before [`Output::begin`].
    pub fn start_over(&mut self, resolved: &Resolved) {
        self.manifest = Manifest { run: resolved.clone(), ..Manifest::default() };
        self.state = State::Fresh;
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is committed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes a unit's parts count.
    pub fn commit(&mut self, unit: UnitRecord) -> Result<()> {
        failpoint::reached(Point::PartsDurable);
        self.appender().unit(&unit)?;
        self.manifest.units.push(unit);
        Ok(())
    }

    /// Makes units count no longer, because they are no longer in the input, and removes what they made.
    pub fn supersede(&mut self, units: Vec<String>) -> Result<()> {
        self.appender().superseded(units.clone())?;
        self.manifest.supersede(&units);
        sweep(&self.dir, &self.manifest)
    }

    fn appender(&mut self) -> &mut Appender {
        self.appender.as_mut().expect("begin comes before the first commit, else this is a bug")
    }

    /// Writes `run.json`, then marks the run as finished.
    pub fn complete(&mut self, report: &Value) -> Result<()> {
        write_atomically(&self.dir.join("run.json"), &pretty(report))?;
        let (rows_in, _) = self.manifest.totals();
        let complete = serde_json::json!({ "units": self.manifest.units.len(), "rows_in": rows_in });
        self.appender().complete(complete.clone())?;
        self.manifest.complete = Some(complete);
        Ok(())
    }
}

impl Drop for Output {
    /// A run that ends before its first commit takes away what it made: a refused command leaves no folder behind.
    fn drop(&mut self) {
        let nothing = self.state == State::Fresh && self.manifest.units.is_empty();
        if nothing && self.appender.is_some() && clear(&self.dir).is_err() {
            return;
        }
        // What was written but not committed must not be read for data.
        if !nothing && self.appender.is_some() {
            sweep(&self.dir, &self.manifest).ok();
        }
        if nothing && (self.made || self.appender.is_some()) {
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

fn pretty(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a report is plain data; this is a bug");
    bytes.push(b'\n');
    bytes
}

fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix('_').unwrap_or(name);
    FILES.contains(&name) || Dataset::ALL.iter().any(|dataset| dataset.name() == name)
}

/// An output folder that is, or holds, an input would be written over while it is read.
fn refuse_inputs(dir: &Path, inputs: &[PathBuf]) -> Result<()> {
    let out = absolute(dir);
    let inside = |input: &&PathBuf| absolute(input).starts_with(&out);
    match inputs.iter().find(inside) {
        Some(input) => Err(Error::HoldsInput { dir: dir.to_owned(), input: input.clone() }),
        None => Ok(()),
    }
}

/// Where a path leads, also one that is yet to be made.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|ancestor| Some((ancestor, fs::canonicalize(ancestor).ok()?)));
    match there {
        Some((ancestor, real)) => real.join(path.strip_prefix(ancestor).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// Whether every committed part is still there in its size.
fn check_parts(dir: &Path, manifest: &Manifest) -> Result<()> {
    for part in manifest.every_part() {
        let path = dir.join(&part.path);
        if fs::metadata(&path).map_or(true, |metadata| metadata.len() != part.bytes) {
            return Err(Error::PartChanged { path });
        }
    }
    Ok(())
}

fn refuse_foreign(dir: &Path) -> Result<()> {
    let names: Vec<String> = match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Our names without a manifest (or its lock, of a run that died at once) are somebody else's folders.
    let known = names.iter().any(|name| name == "manifest.jsonl" || name == LOCK);
    match names.iter().filter(|name| !(known && is_ours(name))).min() {
        Some(found) => Err(Error::Foreign { dir: dir.to_owned(), found: format!("`{found}`") }),
        None => Ok(()),
    }
}

fn lock(dir: &Path) -> Result<fs::File> {
    let path = dir.join(LOCK);
    let mut file = fs::OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path)?;
    match file.file().try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            Err(Error::Locked { dir: dir.to_owned(), pid })
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Removes what an earlier run left; the manifest goes first, so that a crash in between leaves nothing that counts.
fn clear(dir: &Path) -> Result<()> {
    let files = FILES.iter().filter(|name| **name != LOCK);
    for name in files.flat_map(|name| [(*name).to_owned(), format!("_{name}")]) {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for dataset in Dataset::ALL {
        match fs::remove_dir_all(dir.join(dataset.name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file is called as parts are; others are not ours to remove.
fn is_part(name: &str) -> bool {
    let name = name.strip_prefix('_').unwrap_or(name);
    name.starts_with("part-") && name.ends_with(".parquet")
}

/// Removes the orphans of a crash, so that the folders can be read by pandas as they are.
fn sweep(dir: &Path, manifest: &Manifest) -> Result<()> {
    let committed = manifest.paths();
    for dataset in Dataset::ALL {
        let entries = match fs::read_dir(dir.join(dataset.name())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = format!("{}/{name}", dataset.name());
            if is_part(&name) && !committed.contains(relative.as_str()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Whether two runs as resolved are the same, whatever their input was at the time.
pub fn is_same_run(a: &Resolved, b: &Resolved) -> bool {
    settings(a) == settings(b)
}

/// A run without what its input was: what has to be the same for it to go on.
fn settings(run: &Resolved) -> Resolved {
    run.iter().filter(|(key, _)| *key != SNAPSHOT).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Each setting in which two runs differ, as `name is X there, Y now`.
pub(super) fn differences(there: &Resolved, here: &Resolved) -> Vec<String> {
    let (there, here) = (flat(there), flat(here));
    let mut keys: Vec<&String> = there.keys().chain(here.keys()).collect();
    keys.sort();
    keys.dedup();
    let show = |value: Option<&&Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
    keys.into_iter()
        .filter(|key| there.get(*key) != here.get(*key))
        .map(|key| format!("{key} is {} there, {} now", show(there.get(key)), show(here.get(key))))
        .collect()
}

/// The leaves of a run by their dotted paths, so that a difference names one setting and not a page of them.
fn flat(run: &Resolved) -> BTreeMap<String, &Value> {
    fn visit<'a>(path: String, value: &'a Value, leaves: &mut BTreeMap<String, &'a Value>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| visit(format!("{path}.{key}"), value, leaves));
            }
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    run.iter().for_each(|(key, value)| visit(key.clone(), value, &mut leaves));
    leaves
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
