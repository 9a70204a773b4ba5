//! Writes a file so that it appears whole or not at all, whatever its size and whatever ends the process.
//!
//! It grows in its own folder under a name that starts with `_` (readers of Parquet folders pass such names over), is
//! fsynced, renamed, and its folder fsynced. A kill leaves the old file or the new one and at worst that other name; an
//! error takes it away again. Anybody may read the file whom the umask lets: it is opened as any other.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use tempfile::{Builder, NamedTempFile, TempPath};

use super::digest;
use super::failpoint::{self, Gaps};

/// A file that is being written; what is dropped before it is committed is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile<fs::File>,
    target: PathBuf,
    gaps: Gaps,
}

impl Staged {
    /// Begins the file `target` in a folder that this process holds alone. What a process that was killed left of it is
    /// written over.
    pub(crate) fn create(target: &Path) -> io::Result<Staged> {
        let temporary = target.with_file_name(format!("_{}", name(target)));
        let file = fs::File::create(&temporary)?;
        let file = NamedTempFile::from_parts(file, TempPath::try_from_path(temporary)?);
        Ok(Staged { file, target: target.to_owned(), gaps: Gaps::default() })
    }

    /// Begins it in a folder where others may write the same file at the same time: the last one to commit stays.
    pub(crate) fn shared(target: &Path) -> io::Result<Staged> {
        let prefix = format!("_{}.", name(target));
        let file = Builder::new().prefix(&prefix).make_in(folder_of(target), |path| fs::File::create_new(path))?;
        Ok(Staged { file, target: target.to_owned(), gaps: Gaps::default() })
    }

    /// Lets tests end the process in `gaps`.
    pub(crate) fn with_gaps(self, gaps: Gaps) -> Staged {
        Staged { gaps, ..self }
    }

    /// Where it grows, for messages.
    pub(crate) fn path(&self) -> &Path {
        self.file.as_file().path()
    }

    /// Lets it have been written at another time.
    pub(crate) fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file.as_file().set_modified(time)
    }

    /// Makes what is written durable, under no name yet that anybody reads.
    pub(crate) fn seal(self) -> io::Result<Durable> {
        failpoint::pass(self.gaps.written);
        self.file.as_file().sync_all()?;
        failpoint::pass(self.gaps.synced);
        Ok(Durable(self))
    }

    /// Puts it in place of whatever has its name.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.seal()?.commit()
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// A file that is whole on disk and waits for its name.
#[derive(Debug)]
pub(crate) struct Durable(Staged);

impl Durable {
    /// Its size.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.file.as_file().metadata()?.len())
    }

    /// Its digest, read back from where it lies.
    pub(crate) fn digest(&self) -> io::Result<String> {
        digest(self.0.path())
    }

    /// Puts it in place of whatever has its name.
    pub(crate) fn commit(self) -> io::Result<()> {
        let Staged { mut file, target, gaps } = self.0;
        fs::rename(file.as_file().path(), &target)?;
        // From here on its old name is anybody's.
        file.disable_cleanup(true);
        failpoint::pass(gaps.renamed);
        sync_folder_of(&target)
    }

    /// The same under another name in its folder, one that its content gives; returns the path.
    pub(crate) fn commit_as(mut self, name: &str) -> io::Result<PathBuf> {
        let target = self.0.target.with_file_name(name);
        self.0.target.clone_from(&target);
        self.commit()?;
        Ok(target)
    }

    /// Puts it in place where nothing has its name, else leaves what is there; returns whether it did.
    pub(crate) fn commit_if_absent(self) -> io::Result<bool> {
        let Staged { file, target, .. } = self.0;
        match file.into_temp_path().persist_noclobber(&target) {
            Ok(()) => sync_folder_of(&target).map(|()| true),
            Err(there) if there.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(failed) => {
                let why = format!("failed to put file `{}` in place: {}", target.display(), failed.error);
                Err(io::Error::new(failed.error.kind(), why))
            }
        }
    }
}

/// Writes a small file to a folder that this process holds alone.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Staged::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Writes a small file to a folder where others may write it at the same time.
pub(crate) fn write_shared(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Staged::shared(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Writes a small file unless one of its name is there; of several that do so at a time one is told that it did.
pub(crate) fn put_if_absent(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = Staged::shared(path)?;
    file.write_all(bytes)?;
    file.seal()?.commit_if_absent()
}

/// Flushes the folder that `path` is in, so that a name that came or went in it survives a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    sync_folder(folder_of(path))
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // File systems that have nothing to flush for a folder say that it cannot be done.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Both ways to begin a file.
    const WAYS: [fn(&Path) -> io::Result<Staged>; 2] = [Staged::create, Staged::shared];

    #[test]
    fn a_file_has_its_name_when_it_is_committed_and_leaves_nothing_when_it_is_not() {
        for begin in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.json");
            fs::write(&path, "old").unwrap();
            let mut file = begin(&path).unwrap();
            file.write_all(b"half").unwrap();
            let there = names(folder.path());
            assert!(there.len() == 2 && there[0].starts_with("_a.json"), "{there:?}");
            drop(file);
            let mut file = begin(&path).unwrap();
            file.write_all(b"half").unwrap();
            drop(file.seal().unwrap());
            assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["a.json".to_owned()], b"old".to_vec()));

            let mut file = begin(&path).unwrap();
            file.write_all(b"new").unwrap();
            file.commit().unwrap();
            assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["a.json".to_owned()], b"new".to_vec()));
        }
    }

    #[test]
    fn what_a_killed_process_left_of_a_file_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("_a.json"), "a long leftover").unwrap();
        write(&folder.path().join("a.json"), b"new").unwrap();
        assert_eq!(names(folder.path()), ["a.json"]);
        assert_eq!(fs::read(folder.path().join("a.json")).unwrap(), b"new");
    }

    #[test]
    fn a_sealed_file_knows_its_size_and_digest_and_takes_a_name_from_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Staged::shared(&folder.path().join("part.parquet")).unwrap();
        file.write_all(b"abc").unwrap();
        let sealed = file.seal().unwrap();
        // The first half of the BLAKE3 digest of these bytes.
        assert_eq!((sealed.bytes().unwrap(), &*sealed.digest().unwrap()), (3, "6437b3ac38465133ffb63b75273a8db5"));
        let path = sealed.commit_as("part-6437.parquet").unwrap();
        assert_eq!(
            (names(folder.path()), path),
            (vec!["part-6437.parquet".to_owned()], folder.path().join("part-6437.parquet"))
        );
    }

    #[test]
    fn of_many_that_put_a_file_at_once_one_does_and_of_many_that_write_it_all_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let text = |number: usize| number.to_string().repeat(1000).into_bytes();
        let at_once = |act: &(dyn Fn(usize) -> bool + Sync)| -> Vec<usize> {
            std::thread::scope(|threads| {
                let started: Vec<_> = (0..8).map(|number| threads.spawn(move || act(number))).collect();
                let done = started.into_iter().map(|thread| thread.join().unwrap()).enumerate();
                done.filter(|(_, done)| *done).map(|(number, _)| number).collect()
            })
        };
        let put = at_once(&|number| put_if_absent(&path, &text(number)).unwrap());
        assert_eq!(put.len(), 1);
        assert!(fs::read(&path).unwrap() == text(put[0]));
        assert_eq!(at_once(&|number| write_shared(&path, &text(number)).is_ok()).len(), 8);
        let left = fs::read(&path).unwrap();
        assert!((0..8).any(|number| left == text(number)), "a mixture was left");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn errors_name_the_file_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for begin in WAYS {
            let error = begin(&folder.path().join("absent/a.json")).unwrap_err().to_string();
            assert!(error.contains("absent/_a.json"), "{error}");
        }
        let taken = folder.path().join("a.json");
        fs::create_dir(&taken).unwrap();
        for write in [write, write_shared] {
            let error = write(&taken, b"x").unwrap_err().to_string();
            assert!(error.contains("_a.json") && error.contains("/a.json`"), "{error}");
        }
        assert!(!put_if_absent(&taken, b"x").unwrap());
        assert_eq!(names(folder.path()), ["a.json"]);
    }
}
