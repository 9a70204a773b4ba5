//! Keeps pulled models: `models/<name>/<revision>/`, each with a record of what was pulled.
//!
//! A folder appears whole, by rename, and its record (`complete.json`) is written before that, so whatever has no record
//! was never finished. The record holds the SHA-256 of each file with size and time of change: while these two hold the
//! file is trusted, because hashing 90 MB at every start would cost as much as starting.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::event::Event;
use super::registry::{DEFAULT_REVISION, KNOWN, ModelId};
use super::settings::Settings;
use super::{OPTIONAL, REQUIRED};
use crate::files;

const RECORD: &str = "complete.json";
const FORMAT: u32 = 1;
/// Unfinished pulls; swept by the next one.
const STAGING_PREFIX: &str = ".pull-";

/// How far a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Hash a file only where its size or time of change is not the recorded one.
    Trusting,
    /// Hash every file.
    Full,
}

/// What a finished pull left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    model: String,
    revision: String,
    /// The commit that the revision was, where the hub said so.
    commit: Option<String>,
    /// The hub's address, or the PyPI package.
    pub source: String,
    files: BTreeMap<String, FileRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileRecord {
    /// In hexadecimal.
    sha256: String,
    bytes: u64,
    /// Since the Unix epoch.
    modified_ns: u64,
}

/// What a source says about the files that it gave.
#[derive(Debug)]
pub(super) struct Fetched {
    pub source: String,
    pub commit: Option<String>,
    /// SHA-256 in hexadecimal by file name, for the files where it is known beforehand.
    pub expected: BTreeMap<String, String>,
}

/// A model that is known, or in the cache, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Known short name or hub id.
    pub name: String,
    /// Revision in the cache; `None` for a known model that is not there.
    pub revision: Option<String>,
    /// Its folder; `None` for a known model that is not in the cache.
    pub dir: Option<PathBuf>,
    /// Size of its files, bytes.
    pub bytes: u64,
    /// Whether every file is there in the size that was pulled. Contents are checked when a model is used.
    pub complete: bool,
}

impl Listed {
    /// The name as `resolve` takes it, with the revision unless that is the default one.
    pub(crate) fn id(&self) -> String {
        match self.revision.as_deref() {
            None | Some(DEFAULT_REVISION) => self.name.clone(),
            Some(revision) => format!("{}@{revision}", self.name),
        }
    }
}

/// The models folder of the cache.
pub(super) struct Store {
    root: PathBuf,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { root: settings.cache.join("models") }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the model is, or would be.
    pub(super) fn entry(&self, id: &ModelId) -> PathBuf {
        let (name, revision) = id.folders();
        self.root.join(name).join(revision)
    }

    /// The model whose entry this (canonical) folder is.
    pub(super) fn entry_at(&self, dir: &Path) -> Option<ModelId> {
        let root = fs::canonicalize(&self.root).ok()?;
        let mut parts = dir.strip_prefix(root).ok()?.iter().map(|part| part.to_str());
        let (name, revision) = (parts.next()??, parts.next()??);
        if parts.next().is_some() { None } else { ModelId::from_folders(name, revision) }
    }

    /// Whether the model is in the cache: `false` where it is absent or was never finished.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a file is not the one that was pulled.
    pub(super) fn check(&self, id: &ModelId, check: Check) -> Result<bool> {
        let dir = self.entry(id);
        let Some(mut record) = read_record(&dir)? else { return Ok(false) };
        if REQUIRED.iter().any(|file| !record.files.contains_key(*file)) {
            return Ok(false);
        }
        let mut touched = false;
        for (name, wanted) in &mut record.files {
            let path = dir.join(name);
            let damaged = |found: &str, expected: &str| Error::Damaged {
                name: id.to_string(),
                file: path.clone(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            };
            if let (Some(known), "model.safetensors") = (id.known, name.as_str())
                && known.weights != wanted.sha256
            {
                return Err(damaged(&wanted.sha256, known.weights));
            }
            let Ok(metadata) = fs::metadata(&path) else { return Err(damaged("none", &wanted.sha256)) };
            let modified_ns = modified_ns(&metadata);
            if check == Check::Trusting && metadata.len() == wanted.bytes && modified_ns == wanted.modified_ns {
                continue;
            }
            let found = sha256(&path)?;
            if found != wanted.sha256 {
                return Err(damaged(&found, &wanted.sha256));
            }
            touched |= wanted.modified_ns != modified_ns;
            wanted.modified_ns = modified_ns;
        }
        if touched {
            // A copied cache has new times; a read-only one is hashed at every start and works all the same.
            let _ = write_record(&dir, &record);
        }
        Ok(true)
    }

    /// Where the cached model came from.
    pub(super) fn source(&self, id: &ModelId) -> Result<Option<String>> {
        Ok(read_record(&self.entry(id))?.map(|record| record.source))
    }

    /// Takes the model for this process until the lock is dropped.
    pub(super) fn lock(&self, id: &ModelId, progress: &mut dyn FnMut(Event)) -> Result<Lock> {
        let folder = self.root.join(id.folders().0);
        fs::create_dir_all(&folder).map_err(|source| Error::Store { source })?;
        let path = folder.join(".lock");
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| Error::Store { source })?;
        if file.try_lock().is_err() {
            progress(Event::Waiting { model: id.to_string() });
            file.lock().map_err(|source| Error::Store { source })?;
        }
        Ok(Lock { _file: file, folder })
    }

    /// Every known model and every folder of the cache.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for model in subfolders(&self.root)? {
            for dir in subfolders(&model)? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let (Some(name), Some(revision)) = (name(&model), name(&dir)) else { continue };
                let Some(id) = ModelId::from_folders(&name, &revision) else { continue };
                let (bytes, complete) = extent(&dir)?;
                let name = id.name().to_owned();
                listed.push(Listed { name, revision: Some(id.revision), dir: Some(dir), bytes, complete });
            }
        }
        for known in &KNOWN {
            if !listed.iter().any(|each| each.name == known.name) {
                let name = known.name.to_owned();
                listed.push(Listed { name, revision: None, dir: None, bytes: 0, complete: false });
            }
        }
        let known = |name: &str| KNOWN.iter().any(|known| known.name == name);
        listed.sort_by_key(|each| (!known(&each.name), each.name.clone(), each.revision.clone()));
        Ok(listed)
    }
}

/// One process's hold on one model.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
    folder: PathBuf,
}

impl Lock {
    /// An empty folder that is on the cache's file system, after sweeping those of pulls that were killed.
    pub(super) fn stage(&self) -> Result<tempfile::TempDir> {
        let store = |source| Error::Store { source };
        for stale in fs::read_dir(&self.folder).map_err(store)? {
            let stale = stale.map_err(store)?;
            if stale.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                fs::remove_dir_all(stale.path()).map_err(store)?;
            }
        }
        tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(&self.folder).map_err(store)
    }

    /// Makes the folder `fresh`, which is in `staging`, the model's entry, in place of whatever was there.
    pub(super) fn publish(&self, staging: &Path, fresh: &Path, entry: &Path) -> Result<()> {
        files::place_folder(fresh, entry, &staging.join("replaced")).map_err(|source| Error::Store { source })
    }
}

/// Hashes the files that came, compares them with what is known of them, and writes the record beside them.
pub(super) fn seal(files: &Path, id: &ModelId, fetched: &Fetched) -> Result<()> {
    let mut found = BTreeMap::new();
    for name in REQUIRED.iter().chain(&OPTIONAL) {
        let path = files.join(name);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let sha256 = sha256(&path)?;
        let known = id.known.filter(|_| *name == "model.safetensors").map(|known| known.weights);
        let expected = known.or(fetched.expected.get(*name).map(String::as_str));
        if let Some(expected) = expected.filter(|expected| *expected != sha256) {
            let (file, origin) = ((*name).to_owned(), fetched.source.clone());
            return Err(Error::Digest { file, origin, expected: expected.to_owned(), found: sha256 });
        }
        let record = FileRecord { sha256, bytes: metadata.len(), modified_ns: modified_ns(&metadata) };
        found.insert((*name).to_owned(), record);
    }
    let record = Record {
        format: FORMAT,
        model: id.name().to_owned(),
        revision: id.revision.clone(),
        commit: fetched.commit.clone(),
        source: fetched.source.clone(),
        files: found,
    };
    write_record(files, &record).map_err(|source| Error::Store { source })
}

/// The folder's record; `None` where there is none that this version can read.
fn read_record(dir: &Path) -> Result<Option<Record>> {
    match fs::read(dir.join(RECORD)) {
        Ok(text) => Ok(serde_json::from_slice::<Record>(&text).ok().filter(|record| record.format == FORMAT)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::Store { source }),
    }
}

/// Replaces the record, which another process may be reading, or replacing too.
fn write_record(dir: &Path, record: &Record) -> io::Result<()> {
    files::write_shared(&dir.join(RECORD), &serde_json::to_vec_pretty(record)?)
}

/// Bytes of the recorded files that are there, and whether all are there in their size.
fn extent(dir: &Path) -> Result<(u64, bool)> {
    let Some(record) = read_record(dir)? else {
        let files = fs::read_dir(dir).map_err(|source| Error::Store { source })?;
        let sizes = files.filter_map(|file| file.ok()?.metadata().ok()).map(|metadata| metadata.len());
        return Ok((sizes.sum(), false));
    };
    let sizes =
        record.files.iter().map(|(name, file)| (fs::metadata(dir.join(name)).map(|each| each.len()), file.bytes));
    let (mut bytes, mut complete) = (0, REQUIRED.iter().all(|file| record.files.contains_key(*file)));
    for (size, wanted) in sizes {
        complete &= size.as_ref().is_ok_and(|size| *size == wanted);
        bytes += size.unwrap_or(0);
    }
    Ok((bytes, complete))
}

/// Folders in a folder that need not exist, without the hidden ones.
fn subfolders(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Store { source }),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::Store { source })?;
        if entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn modified_ns(metadata: &std::fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// SHA-256 of a file in hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let store = |source| Error::Store { source };
    let mut file = fs::File::open(path).map_err(store)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(store)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Two digits a byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
