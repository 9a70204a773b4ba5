//! Which sealed parts are no longer what was sealed.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;

use super::super::part::digest;
use super::super::{Error, Manifest, Result};
use super::{Sealed, folders, is_store, lock_file, sealed};

/// What a look at every part found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
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
pub fn verify(dir: &Path) -> Result<Verified> {
    let mut locks = Vec::new();
    let parts = if is_store(dir) {
        let mut parts = Vec::new();
        for (folder, _) in folders(dir)? {
            let lock = lock_file(&folder)?;
            lock.file().lock_shared()?;
            locks.push(lock);
            parts.extend(sealed(&folder)?);
        }
        parts
    } else {
        let manifest = Manifest::read(dir)?.ok_or_else(|| Error::NeitherStoreNorOutput { dir: dir.to_owned() })?;
        let parts = manifest.units.iter().flat_map(|unit| &unit.parts);
        parts.map(|part| Sealed { path: dir.join(&part.path), digest: part.digest.clone() }).collect()
    };
    let bytes = parts.iter().filter_map(|part| Some(fs::metadata(&part.path).ok()?.len())).sum();
    let mut damaged = damaged(&parts);
    damaged.sort();
    Ok(Verified { parts: parts.len() as u64, bytes, damaged })
}

/// The parts whose content does not have the digest that it had; hashed on all cores.
pub(super) fn damaged(parts: &[Sealed]) -> Vec<PathBuf> {
    let whole = |part: &Sealed| digest(&part.path).is_ok_and(|found| found == part.digest);
    parts.par_iter().filter(|part| !whole(part)).map(|part| part.path.clone()).collect()
}
