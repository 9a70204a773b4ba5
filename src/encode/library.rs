//! Finds and loads ONNX Runtime, before any other call into it.
//!
//! `ort` loads the library on first use and panics where it cannot; loading it here first turns a missing or wrong
//! library into an error that says what to run. The environment lives as long as the process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::ExecutionProvider as _;
use serde::Serialize;

use super::{Error, Provider, Result};
use crate::native;

/// Where the library lies below a folder of native libraries.
const RELATIVE: &str = "onnxruntime/libonnxruntime.so";
/// The same of the one that computes on GPUs, which has no OpenVINO.
const RELATIVE_CUDA: &str = "onnxruntime-cuda/libonnxruntime.so";
/// What its CUDA provider is linked against, in the order in which they need one another.
const CUDA_LIBRARIES: [&str; 4] = ["libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"];
/// What it looks for when an operator of a ready-made graph, or the mean over tokens, asks for it.
const CUDA_LATER: [&str; 2] = ["libnvrtc.so.13", "libcudnn.so.9"];
/// What an NVIDIA driver brings, in the system's folders.
const DRIVER: &str = "libcuda.so.1";
/// What decides which precisions run fast, or at all.
const CPU_FEATURES: [&str; 6] = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"];

/// The loaded library.
#[derive(Debug)]
pub(super) struct Library {
    pub environment: Environment,
    pub path: PathBuf,
    /// Whether it is the one for GPUs.
    cuda: bool,
}

/// What `bertline doctor` tells about ONNX Runtime.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LibraryReport {
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
pub(crate) fn probe() -> Result<LibraryReport> {
    let library = load(Provider::Mlas)?;
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

/// The library that has the provider, loaded on the first call. A process has one: what the first call loads stays.
pub(super) fn load(provider: Provider) -> Result<&'static Library> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    match LIBRARY.get() {
        Some(library) if provider == Provider::Cuda && !library.cuda => {
            Err(Error::LibraryTaken { path: library.path.clone() })
        }
        Some(library) => Ok(library),
        None => {
            let library = open(provider == Provider::Cuda)?;
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
fn find(cuda: bool) -> Result<PathBuf> {
    let path = native::find(if cuda { RELATIVE_CUDA } else { RELATIVE }).ok_or_else(|| {
        let folders = native::searched();
        let searched = folders.iter().map(|folder| format!("`{}`", folder.display())).collect::<Vec<_>>().join(", ");
        if cuda { Error::CudaMissing { searched } } else { Error::LibraryMissing { searched } }
    })?;
    // The library finds its providers beside its own file, so a link to it must not be what it sees.
    Ok(path.canonicalize().unwrap_or(path))
}

/// The library's version as its file name says it, without loading it.
pub(super) fn found_version() -> Result<String> {
    Ok(version_in_name(&find(false)?).unwrap_or_else(|| "unknown".to_owned()))
}

fn version_in_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.split_once(".so.")?.1.to_owned())
}

/// Whether the CUDA build of the library is there.
pub(crate) fn has_cuda() -> bool {
    find(true).is_ok()
}

/// Loads CUDA's libraries, which lie beside ONNX Runtime's, where its own search does not look.
fn preload(library: &Path) -> Result<()> {
    // Of `ort`'s errors none can be made before the library is loaded.
    let load = |path: &Path| ort::util::preload_dylib(path).map_err(|error| error.to_string());
    load(Path::new(DRIVER)).map_err(|reason| Error::NoDriver { reason })?;
    let paths = CUDA_LIBRARIES.iter().map(|name| library.with_file_name(name));
    // cuDNN finds its other parts itself, and loads those that it needs.
    let later = CUDA_LATER.iter().map(|name| library.with_file_name(name)).filter(|path| path.exists());
    for path in paths.chain(later) {
        load(&path).map_err(|reason| Error::CudaLibrary { path, reason })?;
    }
    Ok(())
}

fn open(cuda: bool) -> Result<Library> {
    let path = find(cuda)?;
    if cuda {
        preload(&path)?;
    }
    let builder = ort::init_from(&path).map_err(|source| Error::LibraryLoad { path: path.clone(), source })?;
    // Whatever the library has to say comes back as errors; its own log would break the progress display.
    let environment = builder
        .with_name("bertline")
        .with_telemetry(false)
        .with_logger(Arc::new(|_, _, _, _, _| {}))
        .build()
        .map_err(|source| Error::Environment { path: path.clone(), source })?;
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    Ok(Library { environment, path, cuda })
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
