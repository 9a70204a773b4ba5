//! Keeps built graphs in a folder, so that the second run opens what the first one built.
//!
//! A graph's name is a digest of all that it was made from, so a stale one is never opened. A seal beside it (length
//! and BLAKE3) is written last: a graph without one, or that no longer matches it, is built again.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::digest::short_digest;
use super::graph::{self, Lowering, Site};
use super::model::{Architecture, Description, WeightsFile};
use super::readout::Readout;
use super::{Error, Result};
use crate::files::{Stored, write_shared};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Seal {
    bytes: u64,
    blake3: String,
}

/// All that decides what is in a saved graph.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Key {
    pub weights: String,
    pub architecture: String,
    pub lowering: Lowering,
    /// Which rows and layers it gives.
    pub readout: Readout,
    /// The digest of what is quantised, for int8 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
}

impl Key {
    fn file_name(&self) -> String {
        let json = serde_json::to_string(self).expect("a struct of strings and flags serialises; this is a bug");
        let digest = short_digest(format!("{} {json}", graph::VERSION).as_bytes());
        format!("encoder-{digest}-{}.onnx", self.lowering.name())
    }
}

/// The file of the graph of these weights in `folder`, built first where it is not there whole; what `sites` name is
/// quantised.
///
/// # Errors
/// Where the weights are damaged or do not fit the architecture, or the folder cannot be written.
pub(super) fn open_or_build(
    folder: &Path,
    model_dir: &Path,
    architecture: &Architecture,
    key: &Key,
    sites: &[Site],
) -> Result<PathBuf> {
    let path = folder.join(key.file_name());
    let seal_path = path.with_extension("json");
    if is_whole(&path, &seal_path) {
        return Ok(path);
    }
    let bytes = build(model_dir, architecture, key, sites)?;
    let seal = Seal { bytes: bytes.len() as u64, blake3: blake3::hash(&bytes).to_hex().to_string() };
    let seal = serde_json::to_vec(&seal).expect("a struct of a number and a string serialises; this is a bug");
    let written = fs_err::create_dir_all(folder)
        .and_then(|()| write_shared(&path, &bytes))
        .and_then(|()| write_shared(&seal_path, &seal));
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Write { path, source }),
    }
}

/// A graph's bytes; the copies of the weights on the way to it go as soon as they have been used.
fn build(model_dir: &Path, architecture: &Architecture, key: &Key, sites: &[Site]) -> Result<Vec<u8>> {
    let file = WeightsFile::read(model_dir)?;
    let description = Description::read(architecture, &file.tensors(architecture.prefix())?)?;
    drop(file);
    let model = graph::lower(&description, key.readout, key.lowering, sites);
    drop(description);
    Ok(model.encode_to_vec())
}

fn is_whole(path: &Path, seal_path: &Path) -> bool {
    let expected: Option<Seal> = fs_err::read(seal_path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    expected.is_some_and(|expected| seal_of(path).is_ok_and(|found| found == expected))
}

fn seal_of(path: &Path) -> std::io::Result<Seal> {
    let file = Stored::open(path)?;
    Ok(Seal { bytes: file.bytes(), blake3: file.hash()?.to_hex().to_string() })
}
