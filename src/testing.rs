//! Finds what tests need from outside the project, and says so where it is missing.
//!
//! The project builds and passes its tests without `../shared` and without a model; a test that needs either prints a
//! line that starts with `skipped:` and returns. `make test` counts those lines.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

/// `../shared/<relative>` beside the project (or under `BERTLINE_SHARED`), or `None` after saying that the test skips.
pub(crate) fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BERTLINE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: ../shared/{relative} is not here");
    None
}

/// The folder of the default model, or `None` after saying that the test skips.
pub(crate) fn model_dir() -> Option<PathBuf> {
    let found = std::env::var_os("BERTLINE_TEST_MODEL").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: BERTLINE_TEST_MODEL names no model folder (`make test` sets it)");
    }
    found
}
