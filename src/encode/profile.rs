//! Where the encoder's time goes, by operator: `BERTLINE_PROFILE` names a folder, and each session leaves ONNX Runtime's
//! own profile there when it ends, `session-1_*.json` (Chrome's trace format).
//!
//! A GPU's kernels run on after they were started, and a profile knows of the start alone; with CUDA_LAUNCH_BLOCKING=1
//! each is waited for, so that a node's time is its kernels'.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Error, Result};

const VARIABLE: &str = "BERTLINE_PROFILE";

/// How the name of the next session's profile begins, if one is asked for.
///
/// # Errors
/// Where its folder cannot be made: ONNX Runtime would say nothing and leave nothing.
pub(super) fn from_environment() -> Result<Option<PathBuf>> {
    static SESSIONS: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    fs_err::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    // Sessions that are opened within a second would have one name.
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(Some(folder.join(format!("session-{number}"))))
}
