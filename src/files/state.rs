//! What says that a file is still the same without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// A file's place, size and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the content, then of the file in any way: copies may keep the first.
    times: [i64; 4],
}

impl From<&Metadata> for FileState {
    fn from(found: &Metadata) -> FileState {
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        FileState { device: found.dev(), inode: found.ino(), bytes: found.len(), times }
    }
}

impl FileState {
    /// What of it stays the same when the machine starts again, which may number its devices anew.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.bytes.to_le_bytes()).update(&self.inode.to_le_bytes());
        self.times.iter().for_each(|time| {
            hasher.update(&time.to_le_bytes());
        });
    }
}
