//! A store of vectors that runs and datasets share (`--cache DIR`): texts that any of them has encoded.
//!
//! ```text
//! DIR/store.json                   says that DIR is a store
//! DIR/<encoder id>-<numerics>/     vectors that may meet; one folder for each
//!     encoder.json                 which encoder and numerics, in full
//!     part-<digest>.parquet        the columns of `features`, immutable
//!     .lock                        shared by runs, exclusive for `gc` and `compact`
//! ```
//! There is no manifest that two processes could fight over: a part counts from the rename that gives it its name, and
//! the name says what must be in it. It is written as a temporary file (`_...`), fsynced, hashed and renamed, so a kill
//! at any time leaves sealed parts and at worst a leftover that `gc` sweeps. Two runs may add the same text; the first
//! part by name answers for it, and `compact` drops the other.

mod damage;
mod tend;

use std::borrow::Cow;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::part::{PartMetadata, properties};
use super::{Error, Result};
use crate::files::{self, Staged, put_if_absent};
use crate::schema::Dataset;

pub(crate) use damage::verify;
pub(crate) use tend::{Limits, Listed, compact, gc, list};

const MARKER: &str = "store.json";
const ENCODER: &str = "encoder.json";
const LOCK: &str = ".lock";
/// Raised whenever the layout of a store changes.
const FORMAT: u32 = 1;
/// Rows of a row group: a writer holds one in memory, and 32,768 vectors of 384 values are 50 MB.
const GROUP_ROWS: usize = 32_768;

/// Whose vectors a folder of the store holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreEncoder {
    /// Name or folder of the model, for people.
    pub model: String,
    /// The encoder id.
    pub encoder_id: String,
    /// The numerics as one word.
    pub numerics: String,
    /// Values of a vector.
    pub width: usize,
    /// All parts of the encoder's identity.
    pub encoder: Value,
    /// All parts of the numerics.
    pub numerics_parts: Value,
}

impl StoreEncoder {
    fn metadata(&self) -> PartMetadata {
        PartMetadata::from([
            ("bertline.encoder_id".to_owned(), self.encoder_id.clone()),
            ("bertline.numerics".to_owned(), self.numerics.clone()),
            ("bertline.model".to_owned(), self.model.clone()),
        ])
    }
}

/// One folder of a store, held for a run.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    metadata: PartMetadata,
    _lock: fs::File,
}

/// A part's path and the digest that its name promises.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    pub(super) digest: String,
}

impl Store {
    /// Opens the encoder's folder of the store `dir`; both are made where they are missing. Waits while `gc` or
    /// `compact` is at work there.
    ///
    /// # Errors
    /// Where `dir` holds something that is no store, or the folder is of another encoder.
    pub fn open(dir: &Path, encoder: &StoreEncoder) -> Result<Store> {
        fs::create_dir_all(dir)?;
        if !is_store(dir) {
            // Asked again: another process may have made the store just now.
            if let Some(found) = first_entry(dir)?
                && !is_store(dir)
            {
                return Err(Error::NotStore { dir: dir.to_owned(), found });
            }
            place(dir, MARKER, &json!({ "store": FORMAT }))?;
        }
        check_format(dir)?;
        let folder = dir.join(folder_name(encoder));
        fs::create_dir_all(&folder)?;
        let lock = lock_file(&folder)?;
        lock.file().lock_shared()?;
        if read_encoder(&folder)?.is_none() {
            place(&folder, ENCODER, &json!(encoder))?;
        }
        // Read again: another process may have been the first.
        match read_encoder(&folder)?.filter(|found| !same(found, encoder)) {
            None => Ok(Store { folder, metadata: encoder.metadata(), _lock: lock }),
            Some(found) => Err(Error::StoreEncoder {
                folder,
                found: format!("encoder {}, {}", found.encoder_id, found.numerics),
                expected: format!("encoder {}, {}", encoder.encoder_id, encoder.numerics),
            }),
        }
    }

    /// The encoder's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The encoder id and numerics that each part must say.
    pub(super) fn made_by(&self) -> [Option<String>; 2] {
        ["bertline.encoder_id", "bertline.numerics"].map(|key| self.metadata.get(key).cloned())
    }

    /// The sealed parts, in order of name.
    pub(super) fn parts(&self) -> Result<Vec<Sealed>> {
        sealed(&self.folder)
    }

    /// Seals a part of these rows of the `features` dataset.
    pub(super) fn add(&self, batch: &RecordBatch) -> Result<Sealed> {
        let mut writer = Writer::create(&self.folder, batch.schema(), &self.metadata)?;
        writer.write(batch)?;
        writer.seal(None)
    }
}

/// A part that is being written.
struct Writer(ArrowWriter<Staged>);

impl Writer {
    fn create(folder: &Path, schema: SchemaRef, metadata: &PartMetadata) -> Result<Writer> {
        // Its name comes of its content.
        let file = Staged::shared(&folder.join("part.parquet"))?;
        let path = file.path().to_owned();
        let properties = properties(Dataset::Features, metadata)
            .into_builder()
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties));
        writer.map(Writer).map_err(|source| Error::Parquet { path, source })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.0.write(batch);
        written.map_err(|source| Error::Parquet { path: self.0.inner().path().to_owned(), source })
    }

    /// Makes the part durable under the name of its digest; `modified` is its age for `gc`, now without one.
    fn seal(self, modified: Option<std::time::SystemTime>) -> Result<Sealed> {
        let path = self.0.inner().path().to_owned();
        let file = self.0.into_inner().map_err(|source| Error::Parquet { path, source })?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        let file = file.seal()?;
        let digest = file.digest()?;
        let path = file.commit_as(&format!("part-{digest}.parquet"))?;
        Ok(Sealed { path, digest })
    }
}

/// Puts a small file there; of two processes that do it at once one is enough.
fn place(folder: &Path, name: &str, content: &Value) -> Result<()> {
    put_if_absent(&folder.join(name), format!("{content:#}\n").as_bytes())?;
    Ok(())
}

/// Whether a folder is a store.
pub(super) fn is_store(dir: &Path) -> bool {
    dir.join(MARKER).is_file()
}

/// Refuses a store of another format.
fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join(MARKER);
    let marker: Value =
        serde_json::from_slice(&fs::read(&path)?).map_err(|source| Error::StoreFile { path: path.clone(), source })?;
    match marker["store"] == FORMAT {
        true => Ok(()),
        false => Err(Error::StoreFormat { path, found: marker["store"].to_string(), known: FORMAT }),
    }
}

/// The folders of the store `dir` with their encoders, in order of name.
fn folders(dir: &Path) -> Result<Vec<(PathBuf, StoreEncoder)>> {
    if !is_store(dir) {
        return Err(Error::NoStore { dir: dir.to_owned() });
    }
    check_format(dir)?;
    let mut found = Vec::new();
    for path in files::list(dir)? {
        if let Some(encoder) = read_encoder(&path)? {
            found.push((path, encoder));
        }
    }
    Ok(found)
}

fn folder_name(encoder: &StoreEncoder) -> String {
    let clean = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    format!("{}-{}", encoder.encoder_id, encoder.numerics.chars().map(clean).collect::<String>())
}

/// The model's name and how its identity is spelled may differ; what the vectors mean may not.
fn same(a: &StoreEncoder, b: &StoreEncoder) -> bool {
    (&a.encoder_id, &a.numerics, a.width) == (&b.encoder_id, &b.numerics, b.width)
}

fn read_encoder(folder: &Path) -> Result<Option<StoreEncoder>> {
    let path = folder.join(ENCODER);
    if !path.is_file() {
        return Ok(None);
    }
    let encoder = serde_json::from_slice(&fs::read(&path)?);
    encoder.map(Some).map_err(|source| Error::StoreFile { path, source })
}

fn sealed(folder: &Path) -> Result<Vec<Sealed>> {
    let part = |path: PathBuf| {
        let digest = name(&path).strip_prefix("part-")?.strip_suffix(".parquet")?.to_owned();
        Some(Sealed { digest, path })
    };
    Ok(files::list(folder)?.into_iter().filter_map(part).collect())
}

fn lock_file(folder: &Path) -> Result<fs::File> {
    let path = folder.join(LOCK);
    let made = fs::OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path);
    match made {
        // A store that may only be read can be shared all the same.
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            Ok(fs::File::open(path)?)
        }
        made => Ok(made?),
    }
}

/// Takes a folder for `gc` or `compact`, which must not pull parts away from a run that reads them.
fn lock_exclusive(folder: &Path) -> Result<fs::File> {
    let lock = lock_file(folder)?;
    match lock.file().try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::StoreInUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// What is in a folder, if it is not empty; another process may be making the same store.
fn first_entry(dir: &Path) -> Result<Option<String>> {
    let names = files::list(dir)?.into_iter().map(|path| name(&path).into_owned());
    Ok(names.filter(|name| !name.starts_with('_') && name != MARKER).min())
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests;
