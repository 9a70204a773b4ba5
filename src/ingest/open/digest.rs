//! Digests of files, each computed once as long as its file stays what it is.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stream::open_file;
use crate::files::FileState;
use crate::ingest::{Error, Result};

type Known = HashMap<PathBuf, (FileState, String)>;

/// The digests that are known; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    known: Arc<Mutex<Known>>,
}

impl Digests {
    /// BLAKE3 of a file's raw bytes, 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Read`].
    pub fn of(&self, path: &Path) -> Result<String> {
        let mut file = open_file(path)?;
        self.of_opened(path, &mut file).map_err(|source| Error::Read { name: path.display().to_string(), source })
    }

    /// The same of a file that was just opened, and may be read to its end for it.
    pub(super) fn of_opened(&self, path: &Path, file: &mut fs_err::File) -> io::Result<String> {
        let state = FileState::from(&file.metadata()?);
        if let Some((_, digest)) = self.known().get(path).filter(|(known, _)| *known == state) {
            return Ok(digest.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut *file)?;
        let digest = hasher.finalize().to_hex().to_string();
        // What was written to meanwhile may be of two minds.
        if FileState::from(&file.metadata()?) == state {
            self.known().insert(path.to_owned(), (state, digest.clone()));
        }
        Ok(digest)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_is_hashed_again_and_one_that_did_not_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let digests = Digests::default();
        fs_err::write(&path, "one").unwrap();
        let first = digests.of(&path).unwrap();
        assert_eq!(first, blake3::hash(b"one").to_hex().to_string());
        // What is known is believed: a digest that no file has comes back.
        let state = FileState::from(&fs_err::metadata(&path).unwrap());
        digests.known().insert(path.clone(), (state, "known".to_owned()));
        assert_eq!(digests.clone().of(&path).unwrap(), "known");
        fs_err::write(&path, "another").unwrap();
        assert_eq!(digests.of(&path).unwrap(), blake3::hash(b"another").to_hex().to_string());
    }
}
