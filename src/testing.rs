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

/// A zip archive of these files, the odd ones compressed.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write as _;
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (at, (name, content)) in files.iter().enumerate() {
        let packed = at % 2 == 1;
        let method = if packed { rawzip::CompressionMethod::DEFLATE } else { rawzip::CompressionMethod::STORE };
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
        let sink: Box<dyn std::io::Write> = match packed {
            true => Box::new(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast())),
            false => Box::new(&mut entry),
        };
        let mut writer = config.wrap(sink);
        writer.write_all(content).unwrap();
        let (sink, descriptor) = writer.finish().unwrap();
        drop(sink);
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// A tar archive of these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}
