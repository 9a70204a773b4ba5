//! Keeps calibrations in the model cache, one a model and length, so that every later run quantises alike.

use std::path::{Path, PathBuf};

use super::{Calibration, VERSION};
use crate::encode::{Error, Result};

/// The calibration kept for an encoder, if there is one.
///
/// # Errors
/// Where the file is there and cannot be read, or is another version's.
pub(in crate::encode) fn load(folder: &Path, encoder: &str) -> Result<Option<Calibration>> {
    let path = path(folder, encoder);
    let text = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(Error::read(&path))?,
    };
    let found: Calibration =
        serde_json::from_slice(&text).map_err(|source| Error::Calibration { path: path.clone(), source })?;
    Ok(Some(found).filter(|found| found.version == VERSION && found.encoder == encoder))
}

/// Keeps a calibration for its encoder.
///
/// # Errors
/// Where the folder cannot be written.
pub(in crate::encode) fn save(folder: &Path, calibration: &Calibration) -> Result<()> {
    let path = path(folder, &calibration.encoder);
    let json = serde_json::to_vec_pretty(calibration).expect("numbers and strings serialise; this is a bug");
    crate::encode::saved::replace(folder, &path, &json).map_err(|source| Error::Write { path, source })
}

fn path(folder: &Path, encoder: &str) -> PathBuf {
    folder.join(format!("int8-{encoder}.json"))
}
