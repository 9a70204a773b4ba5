//! What says that a file is still the same without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When its content changed last.
    pub(crate) fn modified(&self) -> SystemTime {
        let [seconds, nanoseconds, ..] = self.times;
        let nanoseconds = Duration::from_nanos(nanoseconds.unsigned_abs());
        match seconds {
            0.. => UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()) + nanoseconds,
            _ => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()) + nanoseconds,
        }
    }

    /// What of it stays the same when the machine starts again, which may number its devices anew.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.bytes.to_le_bytes()).update(&self.inode.to_le_bytes());
        self.times.iter().for_each(|time| {
            hasher.update(&time.to_le_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_file_system_before_the_epoch_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for time in [UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789), UNIX_EPOCH - Duration::new(5, 250_000_000)]
        {
            file.as_file().set_modified(time).unwrap();
            let metadata = file.as_file().metadata().unwrap();
            assert_eq!(FileState::from(&metadata).modified(), metadata.modified().unwrap());
            assert_eq!(metadata.modified().unwrap(), time);
        }
    }

    #[test]
    fn a_state_is_hashed_as_manifests_have_it_hashed() {
        let state = FileState { device: 9, inode: 2, bytes: 3, times: [4, 5, -6, 7] };
        let mut hasher = blake3::Hasher::new();
        state.hash_into(&mut hasher);
        let bytes: Vec<u8> = [3, 2, 4, 5, -6, 7].into_iter().flat_map(i64::to_le_bytes).collect();
        assert_eq!(hasher.finalize(), blake3::hash(&bytes));
    }
}
