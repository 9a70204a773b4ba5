//! Finds and loads ONNX Runtime, before any other call into it.
//!
//! `ort` loads the library on first use and panics where it cannot; loading it here first turns a missing or wrong
//! library into an error that says what to run. The environment lives as long as the process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::ExecutionProvider as _;
use serde::Serialize;

use super::{Error, Result};
use crate::native;

/// Where the library lies below a folder of native libraries.
const RELATIVE: &str = "onnxruntime/libonnxruntime.so";
/// What decides which precisions run fast, or at all.
const CPU_FEATURES: [&str; 6] = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"];

/// The loaded library.
#[derive(Debug)]
pub(super) struct Library {
    pub environment: Environment,
    pub path: PathBuf,
}

/// What `bertline doctor` tells about ONNX Runtime.
#[derive(Debug, Clone, Serialize)]
pub struct LibraryReport {
    /// The library's file.
    pub path: PathBuf,
    /// Its version, such as `1.24.1`.
    pub version: String,
    /// The execution providers built into it.
    pub providers: Vec<String>,
    /// Which of the CPU's features matter to the encoder, and whether they are there.
    pub cpu_features: Vec<(String, bool)>,
}

/// Loads ONNX Runtime and reports what was found.
///
/// # Errors
/// Where no library is found, or the one found cannot be loaded.
pub fn probe() -> Result<LibraryReport> {
    let library = load()?;
    let built_in = [
        ("CPUExecutionProvider", ort::ep::CPU::is_available()),
        ("OpenVINOExecutionProvider", ort::ep::OpenVINO::is_available()),
    ];
    let providers = built_in.into_iter().filter(|(_, here)| matches!(here, Ok(true)));
    Ok(LibraryReport {
        path: library.path.clone(),
        version: version(library),
        providers: providers.map(|(name, _)| name.to_owned()).collect(),
        cpu_features: CPU_FEATURES.iter().map(|&feature| (feature.to_owned(), cpu_has(feature))).collect(),
    })
}

/// The library, loaded on the first call.
pub(super) fn load() -> Result<&'static Library> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    match LIBRARY.get() {
        Some(library) => Ok(library),
        None => {
            let library = open()?;
            Ok(LIBRARY.get_or_init(|| library))
        }
    }
}

/// Whether the OpenVINO provider is built into the library.
pub(super) fn has_openvino() -> bool {
    ort::ep::OpenVINO::is_available().unwrap_or(false)
}

/// Whether the CPU can multiply bf16 itself; without it the provider would silently compute in fp32.
pub fn cpu_has_bf16() -> bool {
    cpu_has("avx512_bf16") || cpu_has("amx_bf16")
}

/// The file, without loading it.
fn find() -> Result<PathBuf> {
    let path = native::find(RELATIVE).ok_or_else(|| {
        let folders = native::searched();
        let searched = folders.iter().map(|folder| format!("`{}`", folder.display())).collect::<Vec<_>>().join(", ");
        Error::LibraryMissing { searched }
    })?;
    // The library finds its providers beside its own file, so a link to it must not be what it sees.
    Ok(path.canonicalize().unwrap_or(path))
}

/// The library's version as its file name says it, without loading it.
pub(super) fn found_version() -> Result<String> {
    Ok(version_in_name(&find()?).unwrap_or_else(|| "unknown".to_owned()))
}

fn version_in_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.split_once(".so.")?.1.to_owned())
}

fn open() -> Result<Library> {
    let path = find()?;
    let builder = ort::init_from(&path).map_err(|source| Error::LibraryLoad { path: path.clone(), source })?;
    // Whatever the library has to say comes back as errors; its own log would break the progress display.
    let environment = builder
        .with_name("bertline")
        .with_telemetry(false)
        .with_logger(Arc::new(|_, _, _, _, _| {}))
        .build()
        .map_err(|source| Error::Environment { path: path.clone(), source })?;
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    Ok(Library { environment, path })
}

/// The file's own version suffix; where it has none, the library's description of its build.
fn version(library: &Library) -> String {
    version_in_name(&library.path).unwrap_or_else(|| ort::info().to_owned())
}

/// The CPU's features that matter to the encoder and are there.
pub(super) fn cpu_features() -> Vec<String> {
    CPU_FEATURES.iter().filter(|feature| cpu_has(feature)).map(|&feature| feature.to_owned()).collect()
}

/// The CPU's name.
pub(super) fn cpu_name() -> String {
    cpuinfo("model name").unwrap_or_else(|| "unknown".to_owned())
}

pub(super) fn cpu_has(feature: &str) -> bool {
    static FLAGS: OnceLock<Vec<String>> = OnceLock::new();
    let flags =
        FLAGS.get_or_init(|| cpuinfo("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect());
    flags.iter().any(|flag| flag == feature)
}

/// What /proc/cpuinfo says of the first core.
fn cpuinfo(field: &str) -> Option<String> {
    let text = fs_err::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_library_reports_itself() {
        if native::find(RELATIVE).is_none() {
            eprintln!("skipped: no {RELATIVE} (`make deps` gets it)");
            return;
        }
        let report = probe().unwrap();
        assert!(report.version.starts_with("1."), "{}", report.version);
        assert!(report.providers.iter().any(|name| name == "CPUExecutionProvider"));
        assert!(report.cpu_features.iter().any(|(name, _)| name == "avx512_bf16"));
    }
}
