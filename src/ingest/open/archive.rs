//! The two kinds of archive behind one door.

use std::io::Read as _;
use std::path::Path;

use super::compression::Compression;
use super::member::Listed;
use super::stream::open_file;
use super::{tar, zip};
use crate::ingest::{Error, Result};

/// What a file of many files is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArchiveFormat {
    Zip,
    /// Compressed or not; its first bytes tell.
    Tar,
}

impl ArchiveFormat {
    /// Whether a file begins as such an archive does; its name alone proves little.
    pub(crate) fn is(self, path: &Path) -> Result<bool> {
        let mut head = Vec::new();
        let read = |source| Error::Open { path: path.to_owned(), source };
        open_file(path)?.take(tar::BLOCK_BYTES).read_to_end(&mut head).map_err(read)?;
        Ok(match self {
            Self::Zip => head.starts_with(b"PK"),
            Self::Tar => Compression::of(&head).is_some() || tar::is_header(&head),
        })
    }
}

/// Hands every file of the archive at `path`, which `name` is called, to `each`, in the order of the archive.
pub(crate) fn list_members(
    path: &Path,
    name: &str,
    kind: ArchiveFormat,
    each: &mut dyn FnMut(Listed) -> Result<()>,
) -> Result<()> {
    match kind {
        ArchiveFormat::Zip => zip::list(path, name, each),
        ArchiveFormat::Tar => tar::list(path, name, each),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_files_that_are_only_called_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let is = |kind: ArchiveFormat, bytes: &[u8]| {
            fs_err::write(file.path(), bytes).unwrap();
            kind.is(file.path()).unwrap()
        };
        let (zip, tar) = (crate::testing::zip(&[("a", b"x")]), crate::testing::tar(&[("a", b"x")]));
        assert!(is(ArchiveFormat::Zip, &zip) && is(ArchiveFormat::Tar, &tar));
        assert!(is(ArchiveFormat::Tar, &zstd::encode_all(tar.as_slice(), 1).unwrap()));
        let page = "<html>not found</html>".repeat(50);
        for bytes in [b"".as_slice(), page.as_bytes()] {
            assert!(!is(ArchiveFormat::Zip, bytes) && !is(ArchiveFormat::Tar, bytes));
        }
    }
}
