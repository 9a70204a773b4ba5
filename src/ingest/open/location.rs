//! Where the bytes of a source are: in a file, or in a member of an archive.

use std::path::PathBuf;

use super::member::ArchiveMember;

/// Where the bytes of a source are, and what they are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The file, or the archive that it is in.
    pub path: PathBuf,
    /// The path as given: for a folder the input as typed, `/`, and the path below it; always forward slashes. For a
    /// member of an archive `!/` and the path in it follow.
    pub name: String,
    /// Its size on disk; of a member of an archive the size that the archive says.
    pub bytes: u64,
    /// Which member of the archive it is.
    pub(crate) member: Option<ArchiveMember>,
}
