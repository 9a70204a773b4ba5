//! Which sealed parts are no longer what was sealed.

use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;

use super::super::features_part::made_by;
use super::super::{Error, Manifest, Result};
use super::{Sealed, StoreEncoder, folders, is_store, lock_file, sealed};
use crate::files::{Stored, digest, state};

/// What a look at every part found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DamageReport {
    /// Parts that were looked at.
    pub parts: u64,
    /// Bytes of those that are there.
    pub bytes: u64,
    /// Parts that are gone or no longer what was sealed, in order of path.
    pub damaged: Vec<PathBuf>,
}

/// Reads every sealed part of a store, or every part that the manifest of an output folder names, and compares digests.
///
/// # Errors
/// Where `dir` is neither; a damaged part is a finding and no error.
pub(crate) fn verify(dir: &Path) -> Result<DamageReport> {
    let (mut locks, mut wrong) = (Vec::new(), Vec::new());
    let parts: Vec<Sealed> = if is_store(dir) {
        let mut parts = Vec::new();
        for (folder, encoder) in folders(dir)? {
            let lock = lock_file(&folder)?;
            lock.file().lock_shared()?;
            locks.push(lock);
            let there = sealed(&folder)?;
            wrong.extend(unusable(&there, &encoder));
            parts.extend(there);
        }
        parts
    } else {
        let manifest = Manifest::read(dir)?.ok_or_else(|| Error::NeitherStoreNorOutput { dir: dir.to_owned() })?;
        let named = manifest.every_part();
        let parts: Vec<Sealed> =
            named.map(|part| Sealed { path: dir.join(&part.path), digest: part.digest.clone() }).collect();
        wrong = damaged(&parts);
        parts
    };
    let bytes = parts.iter().filter_map(|part| Some(state(&part.path).ok()?.bytes())).sum();
    wrong.sort();
    Ok(DamageReport { parts: parts.len() as u64, bytes, damaged: wrong })
}

/// The parts whose content does not have the digest that it had; hashed on all cores.
pub(super) fn damaged(parts: &[Sealed]) -> Vec<PathBuf> {
    let whole = |part: &Sealed| digest(&part.path).is_ok_and(|found| found == part.digest);
    parts.par_iter().filter(|part| !whole(part)).map(|part| part.path.clone()).collect()
}

/// The parts that are damaged, and whole ones that another encoder made, as happens where two folders are put together by
/// hand.
pub(super) fn unusable(parts: &[Sealed], encoder: &StoreEncoder) -> HashSet<PathBuf> {
    let expected = [Some(encoder.encoder_id.clone()), Some(encoder.numerics.clone())];
    let is_foreign = |part: &Sealed| {
        let file = Stored::open(&part.path).ok();
        let metadata = file.and_then(|file| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).ok());
        metadata.is_some_and(|metadata| made_by(&metadata) != expected)
    };
    let mut unusable: HashSet<PathBuf> = damaged(parts).into_iter().collect();
    for part in parts {
        // Footers of damaged files are not to be read.
        if !unusable.contains(&part.path) && is_foreign(part) {
            unusable.insert(part.path.clone());
        }
    }
    unusable
}
