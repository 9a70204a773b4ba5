//! What an output folder may hold, and whose it is.

use std::fs::TryLockError;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::cache::{Error, Manifest, Result};
use crate::schema::Dataset;

pub(super) const LOCK: &str = ".lock";
/// Files that stages leave in an output folder beside the datasets.
const FILES: [&str; 8] = [
    "manifest.jsonl",
    "run.json",
    LOCK,
    "bundle.json",
    "head.safetensors",
    "head.onnx",
    "evaluation.json",
    "report.html",
];

fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix('_').unwrap_or(name);
    FILES.contains(&name) || Dataset::ALL.iter().any(|dataset| dataset.name() == name)
}

/// An output folder that is, or holds, an input would be written over while it is read.
pub(super) fn refuse_inputs(dir: &Path, inputs: &[PathBuf]) -> Result<()> {
    let out = absolute(dir);
    let inside = |input: &&PathBuf| absolute(input).starts_with(&out);
    match inputs.iter().find(inside) {
        Some(input) => Err(Error::HoldsInput { dir: dir.to_owned(), input: input.clone() }),
        None => Ok(()),
    }
}

/// Where a path leads, also one that is yet to be made.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|ancestor| Some((ancestor, fs::canonicalize(ancestor).ok()?)));
    match there {
        Some((ancestor, real)) => real.join(path.strip_prefix(ancestor).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// Whether every committed part is still there in its size.
pub(super) fn check_parts(dir: &Path, manifest: &Manifest) -> Result<()> {
    for part in manifest.every_part() {
        let path = dir.join(&part.path);
        if fs::metadata(&path).map_or(true, |metadata| metadata.len() != part.bytes) {
            return Err(Error::PartChanged { path });
        }
    }
    Ok(())
}

pub(super) fn refuse_foreign(dir: &Path) -> Result<()> {
    let names: Vec<String> = match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Our names without a manifest (or its lock, of a run that died at once) are somebody else's folders.
    let known = names.iter().any(|name| name == "manifest.jsonl" || name == LOCK);
    match names.iter().filter(|name| !(known && is_ours(name))).min() {
        Some(found) => Err(Error::Foreign { dir: dir.to_owned(), found: format!("`{found}`") }),
        None => Ok(()),
    }
}

/// Takes the folder for this process.
pub(super) fn lock(dir: &Path) -> Result<fs::File> {
    let path = dir.join(LOCK);
    let mut file = fs::OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path)?;
    match file.file().try_lock() {
        // Whoever held it may have taken the file away meanwhile: a lock on a file that has no name keeps nobody out.
        Ok(()) if !is_at(&file, &path) => lock(dir),
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            Err(Error::Locked { dir: dir.to_owned(), pid })
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn is_at(file: &fs::File, path: &Path) -> bool {
    let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (held, named) = (file.metadata().map(inode), fs::metadata(path).map(inode));
    held.is_ok_and(|held| named.is_ok_and(|named| held == named))
}

/// Removes what an earlier run left; the manifest goes first, so that a crash in between leaves nothing that counts.
pub(super) fn clear(dir: &Path) -> Result<()> {
    let files = FILES.iter().filter(|name| **name != LOCK);
    for name in files.flat_map(|name| [(*name).to_owned(), format!("_{name}")]) {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for dataset in Dataset::ALL {
        match fs::remove_dir_all(dir.join(dataset.name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file is called as parts are; others are not ours to remove.
fn is_part(name: &str) -> bool {
    let name = name.strip_prefix('_').unwrap_or(name);
    name.starts_with("part-") && name.ends_with(".parquet")
}

/// Removes the orphans of a crash, so that the folders can be read by pandas as they are.
pub(super) fn sweep(dir: &Path, manifest: &Manifest) -> Result<()> {
    let committed = manifest.paths();
    for dataset in Dataset::ALL {
        let entries = match fs::read_dir(dir.join(dataset.name())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = format!("{}/{name}", dataset.name());
            if is_part(&name) && !committed.contains(relative.as_str()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
