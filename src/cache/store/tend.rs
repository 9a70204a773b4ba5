//! Looking after a store: what is in it, what can go, and many small parts made into few.
//!
//! Whatever takes parts away holds the folder alone: a run that is reading keeps it out, with a message, rather than
//! losing a part that it has in its index.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use fs_err as fs;
use hashbrown::HashSet;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::super::{Error, Key, Result};
use super::damage::{damaged, unusable};
use super::{Sealed, StoreEncoder, Writer, folders, lock_exclusive, lock_file, name, sealed};
use crate::files::{self, Stored, sync_folder_of};
use crate::telemetry::catch_panic;

/// Parts of so many bytes are left as they are, and small ones are put together up to it.
const FULL_BYTES: u64 = 256 << 20;

/// One folder of a store.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    /// Its path.
    pub folder: PathBuf,
    /// Name or folder of the model.
    pub model: String,
    /// The encoder id.
    pub encoder_id: String,
    /// The numerics.
    pub numerics: String,
    /// Sealed parts.
    pub parts: u64,
    /// Rows of the parts that can be read; a text may be in two.
    pub rows: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Parts whose footer cannot be read.
    pub unreadable: u64,
}

/// What `gc` may take away beside leftovers and damaged parts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Parts that are older.
    pub older_than: Option<Duration>,
    /// The oldest parts, until the store is no larger.
    pub max_bytes: Option<u64>,
}

/// What `gc` took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Collected {
    /// Files that were never sealed.
    pub leftovers: u64,
    /// Parts that were no longer what was sealed.
    pub damaged: u64,
    /// Parts beyond the age.
    pub old: u64,
    /// Parts beyond the size.
    pub over_size: u64,
    /// Bytes of all of these.
    pub bytes_freed: u64,
    /// Parts that stay.
    pub parts_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
}

/// What `compact` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Compacted {
    /// Parts before.
    pub parts_before: u64,
    /// Parts after.
    pub parts_after: u64,
    /// Rows that stood in another part too.
    pub duplicates: u64,
    /// Damaged parts, which were left alone.
    pub damaged: u64,
}

/// What is in each folder of a store.
pub(crate) fn list(dir: &Path) -> Result<Vec<Listed>> {
    folders(dir)?.into_iter().map(|(folder, encoder)| listed(folder, encoder)).collect()
}

fn listed(folder: PathBuf, encoder: StoreEncoder) -> Result<Listed> {
    let lock = lock_file(&folder)?;
    lock.file().lock_shared()?;
    let (mut rows, mut bytes, mut unreadable) = (0, 0, 0);
    let parts = sealed(&folder)?;
    for part in &parts {
        let file = Stored::open(&part.path)?;
        bytes += file.bytes();
        let footer = catch_panic(|| ParquetRecordBatchReaderBuilder::try_new(file));
        match footer.map_err(|_| ()).and_then(|footer| footer.map_err(|_| ())) {
            Ok(reader) => rows += reader.metadata().file_metadata().num_rows().max(0).cast_unsigned(),
            Err(()) => unreadable += 1,
        }
    }
    let StoreEncoder { model, encoder_id, numerics, .. } = encoder;
    Ok(Listed { folder, model, encoder_id, numerics, parts: parts.len() as u64, rows, bytes, unreadable })
}

/// Takes away what was never sealed, what is damaged, and what is beyond the limits.
///
/// # Errors
/// Where `dir` is no store, or a run is using it.
pub(crate) fn gc(dir: &Path, limits: Limits) -> Result<Collected> {
    let folders = folders(dir)?;
    let _locks = folders.iter().map(|(folder, _)| lock_exclusive(folder)).collect::<Result<Vec<_>>>()?;
    let mut done = Collected::default();
    let mut parts = Vec::new();
    for (folder, _) in &folders {
        for path in files::list(folder)?.into_iter().filter(|path| name(path).starts_with('_')) {
            done.bytes_freed += remove(&path)?;
            done.leftovers += 1;
        }
        parts.extend(sealed(folder)?);
    }
    let damaged: HashSet<PathBuf> = damaged(&parts).into_iter().collect();
    let mut aged = parts.into_iter().map(|part| Aged::of(part.path)).collect::<Result<Vec<_>>>()?;
    aged.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    // The limits are for what is of use.
    aged.sort_by_key(|part| !damaged.contains(&part.path));
    let (mut left, now) = (aged.iter().map(|part| part.bytes).sum::<u64>(), SystemTime::now());
    for part in aged {
        // A clock that was set back makes a part of the future, which is not old.
        let age = now.duration_since(part.modified).unwrap_or_default();
        let counter = if damaged.contains(&part.path) {
            &mut done.damaged
        } else if limits.older_than.is_some_and(|limit| age > limit) {
            &mut done.old
        } else if limits.max_bytes.is_some_and(|limit| left > limit) {
            &mut done.over_size
        } else {
            done.parts_left += 1;
            continue;
        };
        *counter += 1;
        done.bytes_freed += remove(&part.path)?;
        left -= part.bytes;
    }
    done.bytes_left = left;
    Ok(done)
}

struct Aged {
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
}

impl Aged {
    fn of(path: PathBuf) -> Result<Aged> {
        let state = files::state(&path)?;
        Ok(Aged { path, modified: state.modified(), bytes: state.bytes() })
    }
}

fn remove(path: &Path) -> Result<u64> {
    let bytes = files::state(path)?.bytes();
    fs::remove_file(path)?;
    Ok(bytes)
}

/// Puts small parts together, each text of those once.
///
/// New parts are sealed before the old ones go: a kill in between leaves texts twice, which harms nobody, and the next
/// `compact` drops them.
///
/// # Errors
/// Where `dir` is no store, or a run is using it.
pub(crate) fn compact(dir: &Path) -> Result<Compacted> {
    let folders = folders(dir)?;
    let _locks = folders.iter().map(|(folder, _)| lock_exclusive(folder)).collect::<Result<Vec<_>>>()?;
    let mut done = Compacted::default();
    for (folder, encoder) in &folders {
        let parts = sealed(folder)?;
        done.parts_before += parts.len() as u64;
        let damaged = unusable(&parts, encoder);
        done.damaged += damaged.len() as u64;
        let whole = parts.into_iter().filter(|part| !damaged.contains(&part.path));
        let mut small = whole.map(|part| Aged::of(part.path)).collect::<Result<Vec<_>>>()?;
        small.retain(|part| part.bytes < FULL_BYTES);
        // Those of an age together, so that `gc` can still tell old from new.
        small.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        for group in groups(&small) {
            done.duplicates += merge(folder, encoder, group)?;
        }
        done.parts_after += sealed(folder)?.len() as u64;
    }
    Ok(done)
}

/// Runs of parts that make a full one together; a part alone has nothing to be put together with.
fn groups(parts: &[Aged]) -> Vec<&[Aged]> {
    let (mut groups, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, part) in parts.iter().enumerate() {
        bytes += part.bytes;
        if bytes >= FULL_BYTES || place + 1 == parts.len() {
            groups.push(&parts[start..=place]);
            (start, bytes) = (place + 1, 0);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn merge(folder: &Path, encoder: &StoreEncoder, group: &[Aged]) -> Result<u64> {
    let mut writer = Writer::create(folder, crate::schema::features(encoder.width), &encoder.metadata())?;
    let (mut seen, mut duplicates) = (HashSet::new(), 0);
    for part in group {
        for batch in read(&part.path)? {
            let batch = batch.map_err(|error| Error::Parquet { path: part.path.clone(), source: error.into() })?;
            let fresh = first_of_each(&batch, &mut seen);
            duplicates += fresh.false_count() as u64;
            let batch = filter_record_batch(&batch, &fresh)
                .map_err(|error| Error::Parquet { path: part.path.clone(), source: error.into() })?;
            writer.write(&batch)?;
        }
    }
    let Sealed { path, .. } = writer.seal(group.iter().map(|part| part.modified).max())?;
    for part in group.iter().filter(|part| part.path != path) {
        fs::remove_file(&part.path)?;
    }
    sync_folder_of(&path)?;
    Ok(duplicates)
}

type Batches = parquet::arrow::arrow_reader::ParquetRecordBatchReader;

fn read(path: &Path) -> Result<Batches> {
    let file = Stored::open(path)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    reader.map_err(|source| Error::Parquet { path: path.to_owned(), source })
}

fn first_of_each(batch: &RecordBatch, seen: &mut HashSet<Key>) -> BooleanArray {
    let keys = batch["key"].as_fixed_size_binary().iter();
    keys.map(|key| Some(key.and_then(Key::from_bytes).is_some_and(|key| seen.insert(key)))).collect()
}
