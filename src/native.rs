//! Finds the pinned native libraries, `onnxruntime/` and `libtorch/`, below one folder.
//!
//! Both are loaded at run time or found by rpath, and the binary must run from a clone, from an installed prefix and
//! from a custom target folder without `LD_LIBRARY_PATH`. One documented search order serves them all, and an error
//! can list exactly what was searched.

use std::path::{Path, PathBuf};

/// The folders that may hold the native libraries, in the order in which they are tried:
///
/// 1. `BERTLINE_LIB_DIR`, where it is set: then only this one, so that a wrong setting is seen;
/// 2. `<folder of the binary>/../lib/bertline`: an installed prefix (`bin/` beside `lib/`);
/// 3. `<folder of the binary>/../../.native`: a clone, `target/<profile>/bertline`;
/// 4. `.native` of the clone that this binary was built from: custom target folders, and tests in `target/*/deps`.
pub(crate) fn searched() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("BERTLINE_LIB_DIR").filter(|folder| !folder.is_empty()) {
        return vec![PathBuf::from(folder)];
    }
    let mut folders = Vec::with_capacity(3);
    // The link is resolved first: `bertline` in /usr/local/bin may point into a clone.
    let executable = std::env::current_exe().map(|path| path.canonicalize().unwrap_or(path));
    if let Ok(folder) = executable.as_deref().map(|path| path.parent().unwrap_or(Path::new("/"))) {
        folders.push(folder.join("../lib/bertline"));
        folders.push(folder.join("../../.native"));
    }
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(".native"));
    folders
}

/// The first existing `<folder>/<relative>` in the order of [`searched`], such as `onnxruntime/libonnxruntime.so`.
pub(crate) fn find(relative: &str) -> Option<PathBuf> {
    searched().into_iter().map(|folder| folder.join(relative)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clone_is_searched_last_and_the_prefix_before_the_target_folder() {
        let folders = searched();
        assert_eq!(folders.last().unwrap(), &Path::new(env!("CARGO_MANIFEST_DIR")).join(".native"));
        let position = |end: &str| folders.iter().position(|folder| folder.ends_with(end)).unwrap();
        assert!(position("../lib/bertline") < position("../../.native"));
    }

    #[test]
    fn what_is_nowhere_is_not_found() {
        assert_eq!(find("onnxruntime/no-such-library.so"), None);
    }
}
