//! Puts what another program wrote, or a whole folder, in place, fsynced; a folder that replaces another is absent for an instant.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::staged::{sync_folder, sync_folder_of};

/// Gives a file that is whole a name in this program's folder, on the same file system.
pub(crate) fn adopt(file: &Path, target: &Path) -> io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    fs::rename(file, target)?;
    sync_folder_of(target)
}

/// Puts a folder of files in place of whatever has its name, which goes `aside`, on the same file system.
pub(crate) fn place_folder(folder: &Path, target: &Path, aside: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        fs::File::open(file?.path())?.sync_all()?;
    }
    sync_folder(folder)?;
    if target.symlink_metadata().is_ok() {
        fs::rename(target, aside)?;
    }
    fs::rename(folder, target)?;
    sync_folder_of(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_the_place_of_another_which_goes_aside() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for (folder, text) in [("entry", "old"), ("fresh", "new")] {
            fs::create_dir(path(folder)).unwrap();
            fs::write(path(folder).join("a"), text).unwrap();
        }
        fs::write(path("b"), "found").unwrap();
        adopt(&path("b"), &path("fresh/b")).unwrap();
        place_folder(&path("fresh"), &path("entry"), &path("replaced")).unwrap();
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!([read("entry/a"), read("entry/b"), read("replaced/a")], ["new", "found", "old"]);
        assert!(!path("fresh").exists() && !path("b").exists());
        fs::rename(path("entry"), path("fresh")).unwrap();
        place_folder(&path("fresh"), &path("entry"), &path("unused")).unwrap();
        assert!(path("entry/a").exists() && !path("unused").exists());
    }
}
