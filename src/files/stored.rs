//! What lies in a place of data: listed, opened, read by ranges, and known again.
//!
//! Parts, stores and saved graphs are read through this, and made through `staged`: today the place is a folder, and what
//! an object store does otherwise belongs here. Manifests, locks and sweeping still ask the folder itself (`cache`).

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::FileState;
use super::digest::short;

/// What is in a folder, in order of name; nothing where there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// What says that a file is still the same without reading it.
pub(crate) fn state(path: &Path) -> io::Result<FileState> {
    Ok(FileState::from(&fs::metadata(path)?))
}

/// BLAKE3-128 of a file, in hexadecimal.
pub(crate) fn digest(path: &Path) -> io::Result<String> {
    Stored::open(path)?.digest()
}

/// A file that is read: as Parquet's readers want it, by ranges, or all of it for its digest. Each read says where it
/// begins, so that several may go on at a time.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    file: Arc<fs::File>,
    /// Its size when it was opened.
    bytes: u64,
}

impl Stored {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> io::Result<Stored> {
        let file = fs::File::open(path)?;
        Ok(Stored { bytes: file.metadata()?.len(), file: Arc::new(file) })
    }

    /// Its size when it was opened.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the open file is, whatever lies under its name by now.
    pub(crate) fn state(&self) -> io::Result<FileState> {
        Ok(FileState::from(&self.file.metadata()?))
    }

    /// Fills `range` with what begins at `start`.
    pub(crate) fn read_range(&self, start: u64, range: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(range, start)
    }

    /// The BLAKE3 hash of all of it.
    pub(crate) fn hash(&self) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(ReadFrom { file: Arc::clone(&self.file), next: 0 })?;
        Ok(hasher.finalize())
    }

    /// BLAKE3-128 of all of it, in hexadecimal.
    pub(crate) fn digest(&self) -> io::Result<String> {
        Ok(short(&self.hash()?))
    }
}

/// Reads on from a place of a file, whatever else is read of it.
#[derive(Debug)]
pub(crate) struct ReadFrom {
    file: Arc<fs::File>,
    next: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.next)?;
        self.next += read as u64;
        Ok(read)
    }
}

impl Length for Stored {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Stored {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<BufReader<ReadFrom>> {
        Ok(BufReader::new(ReadFrom { file: Arc::clone(&self.file), next: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Before there is memory for it: a damaged footer may ask for anything.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            let there = self.bytes;
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are wanted of {there}")));
        }
        let mut bytes = vec![0; length];
        self.read_range(start, &mut bytes)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_in_order_and_one_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = ["a", "b", "c"].map(|name| folder.path().join(name)).into();
        paths.iter().rev().for_each(|path| fs::write(path, "x").unwrap());
        assert_eq!(list(folder.path()).unwrap(), paths);
        assert!(list(&folder.path().join("absent")).unwrap().is_empty());
        assert!(list(&paths[0]).unwrap_err().to_string().contains("/a`"));
    }

    #[test]
    fn ranges_are_read_side_by_side_and_none_beyond_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "0123456789").unwrap();
        let stored = Stored::open(&path).unwrap();
        let (mut early, mut late) = (stored.get_read(1).unwrap(), stored.get_read(8).unwrap());
        let mut two = [0; 2];
        early.read_exact(&mut two).unwrap();
        let mut rest = String::new();
        late.read_to_string(&mut rest).unwrap();
        assert_eq!((&two, &*rest), (b"12", "89"));
        assert_eq!(&stored.get_bytes(3, 4).unwrap()[..], b"3456");
        stored.read_range(6, &mut two).unwrap();
        assert_eq!(&two, b"67");
        // Whatever was read before, the digest is of all of it.
        assert_eq!(stored.hash().unwrap(), blake3::hash(b"0123456789"));
        assert_eq!(stored.len(), 10);
        for (start, length) in [(8, 3), (11, 0), (0, usize::MAX), (u64::MAX, 2)] {
            assert!(matches!(stored.get_bytes(start, length), Err(ParquetError::EOF(_))), "{start} {length}");
        }
        let error = stored.read_range(9, &mut two).unwrap_err();
        assert!(error.to_string().contains("/a`"), "{error}");
    }

    #[test]
    fn an_open_file_stays_the_one_that_it_was_under_another_ones_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let stored = Stored::open(&path).unwrap();
        assert_eq!(stored.state().unwrap(), state(&path).unwrap());
        crate::files::write(&path, b"new").unwrap();
        assert_ne!(stored.state().unwrap(), state(&path).unwrap());
        let due = [&b"old"[..], b"new"].map(|bytes| blake3::hash(bytes).to_hex()[..32].to_owned());
        assert_eq!([stored.digest().unwrap(), digest(&path).unwrap()], due);
    }
}
