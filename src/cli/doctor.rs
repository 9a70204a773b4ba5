//! `bertline doctor`: what this machine has of all that a run may need.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::train;
use crate::telemetry::Terminal;
use crate::{encode, model, native};

/// Prints the findings; exit code 1 where scoring or training could not run.
pub(super) fn doctor(terminal: Terminal) -> Result<ExitCode> {
    let encoder = encode::probe();
    let libtorch = native::find(train::LIBRARY);
    let models = model::list()?;
    let well = encoder.is_ok() && libtorch.is_some();
    if terminal.json {
        terminal.print(&serde_json::to_string_pretty(&findings(encoder, libtorch, &models)?)?);
    } else {
        terminal.print(&format!("bertline {}", env!("CARGO_PKG_VERSION")));
        match &encoder {
            Ok(found) => {
                terminal.print(&format!("onnx runtime {} ({})", found.version, found.path.display()));
                terminal.print(&format!("providers: {}", found.providers.join(", ")));
                let features: Vec<String> = found
                    .cpu_features
                    .iter()
                    .map(|(name, here)| format!("{name} {}", if *here { "yes" } else { "no" }))
                    .collect();
                terminal.print(&format!("cpu: {}", features.join(", ")));
            }
            Err(error) => terminal.print(&format!("onnx runtime: {error}")),
        }
        let cuda =
            if encode::has_cuda() { ", cuda (where a driver and a GPU are)" } else { " (`make deps-cuda` gets cuda)" };
        terminal.print(&format!("devices: cpu{cuda}"));
        match &libtorch {
            Some(path) if native::find(train::CUDA[0]).is_some() => {
                terminal.print(&format!("libtorch with its CUDA part ({})", path.display()));
            }
            Some(path) => terminal.print(&format!("libtorch ({})", path.display())),
            None => terminal.print("libtorch: not found, `train` cannot run; run `make deps`"),
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        terminal.print(&format!("cores: {cores}"));
        terminal.print(&format!("cache: {}", model::cache_root()?.display()));
        for listed in &models {
            terminal.print(&format!("model {}: {}", listed.id(), if listed.complete { "here" } else { "not pulled" }));
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn findings(
    encoder: encode::Result<encode::LibraryReport>,
    libtorch: Option<std::path::PathBuf>,
    models: &[model::Listed],
) -> Result<Value> {
    let encoder = match encoder {
        Ok(report) => json!(report),
        Err(error) => json!({ "error": error.to_string() }),
    };
    let models: Vec<Value> = models
        .iter()
        .map(|listed| json!({ "name": listed.id(), "complete": listed.complete, "dir": listed.dir }))
        .collect();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "onnxruntime": encoder,
        "libtorch": libtorch,
        "libtorch_cuda": native::find(train::CUDA[0]),
        "devices": ["cpu"],
        "cuda_libraries": encode::has_cuda(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "cache": model::cache_root()?,
        "models": models,
    }))
}
