//! Starts `bertline-train`, the binary that is linked to libtorch, and says clearly where either is missing.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::INTERRUPTED;
use crate::pipeline::TrainOptions;
use crate::{engine, native, pipeline};

/// The CPU part, which all training needs.
pub(super) const LIBRARY: &str = "libtorch/lib/libtorch_cpu.so";
/// What registers GPUs with libtorch as it is loaded; CUDA's own libraries lie beside it.
pub(super) const CUDA: [&str; 2] = ["libtorch-cuda/libtorch_cuda.so", "libtorch-cuda/libtorch_cuda_linalg.so"];

/// What was typed, less the program's name and the word `train`.
pub(super) fn typed() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(word) = arguments.iter().position(|argument| argument == "train") {
        arguments.remove(word);
    }
    arguments
}

/// Runs `bertline-train` with `arguments` and hands on how it ended; a signal to this process ends that one too.
pub(super) fn start(options: &TrainOptions, arguments: &[OsString]) -> Result<ExitCode> {
    let gpu = options.gpu().map_err(pipeline::Error::from)?;
    let mut child = command(gpu.is_some())?.args(arguments).spawn().context("cannot start `bertline-train`")?;
    let Some(status) = engine::unless_interrupted(&mut child).map_err(pipeline::Error::from)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    match status.code() {
        // The dynamic loader's own exit code: it has said which library it could not load.
        Some(127) if gpu.is_some() => {
            bail!("`bertline-train` could not load its libraries; run `make deps-cuda-train`")
        }
        Some(127) => bail!("`bertline-train` could not load its libraries; run `make deps`, then `make build`"),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        // Ended by the same Ctrl-C as this process.
        None if matches!(status.signal(), Some(2 | 15)) => Ok(ExitCode::from(INTERRUPTED)),
        None => bail!("`bertline-train` was ended by a signal"),
    }
}

fn command(on_gpu: bool) -> Result<Command> {
    let mut command = Command::new(beside_this("bertline-train")?);
    let library = find(LIBRARY, "`train` needs libtorch; run `make deps`")?;
    // The run path of a build is enough where the build stands; a library found elsewhere must be said.
    let mut paths: Vec<PathBuf> = library.parent().into_iter().map(Path::to_owned).collect();
    if on_gpu {
        let needs = "device cuda needs the CUDA part of libtorch; run `make deps-cuda-train`";
        let libraries = CUDA.iter().map(|library| find(library, needs)).collect::<Result<Vec<_>>>()?;
        paths.extend(libraries[0].parent().map(Path::to_owned));
        // By their names: a space in a path would end it.
        let mut names: Vec<&OsStr> = libraries.iter().filter_map(|library| library.file_name()).collect();
        let others = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty());
        names.extend(others.as_deref());
        command.env("LD_PRELOAD", names.join(OsStr::new(":")));
    }
    paths.extend(std::env::var_os("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(paths)?);
    Ok(command)
}

fn find(library: &str, needs: &str) -> Result<PathBuf> {
    native::find(library).with_context(|| {
        let searched: Vec<String> = native::searched().iter().map(|path| path.display().to_string()).collect();
        format!("{needs} ({library} is in none of {})", searched.join(", "))
    })
}

fn beside_this(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let program = this.parent().unwrap_or(Path::new(".")).join(name);
    if !program.is_file() {
        bail!("`{}` is not there; build it with `make build` (cargo feature `train`)", program.display());
    }
    Ok(program)
}
