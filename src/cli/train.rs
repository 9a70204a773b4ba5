//! Starts `bertline-train`, the binary that is linked to libtorch, and says clearly where either is missing.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::INTERRUPTED;
use crate::{engine, native, pipeline};

const LIBRARY: &str = "libtorch/lib/libtorch_cpu.so";

/// What was typed, less the program's name and the word `train`.
pub(super) fn typed() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(word) = arguments.iter().position(|argument| argument == "train") {
        arguments.remove(word);
    }
    arguments
}

/// Runs `bertline-train` with `arguments` and hands on how it ended; a signal to this process ends that one too.
pub(super) fn start(arguments: &[OsString]) -> Result<ExitCode> {
    let mut child = command()?.args(arguments).spawn().context("cannot start `bertline-train`")?;
    let Some(status) = engine::unless_interrupted(&mut child).map_err(pipeline::Error::from)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    match status.code() {
        // The dynamic loader's own exit code: it has said which library it could not load.
        Some(127) => bail!("`bertline-train` could not load its libraries; run `make deps`, then `make build`"),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        // Ended by the same Ctrl-C as this process.
        None if matches!(status.signal(), Some(2 | 15)) => Ok(ExitCode::from(INTERRUPTED)),
        None => bail!("`bertline-train` was ended by a signal"),
    }
}

fn command() -> Result<Command> {
    let program = beside_this("bertline-train")?;
    let Some(library) = native::find(LIBRARY) else {
        let searched: Vec<String> = native::searched().iter().map(|path| path.display().to_string()).collect();
        bail!("libtorch is not there, and `train` needs it; run `make deps` (searched: {})", searched.join(", "));
    };
    let mut command = Command::new(program);
    // The run path of a build is enough where the build stands; a library found elsewhere must be said.
    if let Some(folder) = library.parent() {
        let mut paths = vec![folder.to_owned()];
        paths.extend(std::env::var_os("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(paths)?);
    }
    Ok(command)
}

fn beside_this(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let program = this.parent().unwrap_or(Path::new(".")).join(name);
    if !program.is_file() {
        bail!("`{}` is not there; build it with `make build` (cargo feature `train`)", program.display());
    }
    Ok(program)
}
