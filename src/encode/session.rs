//! A session of ONNX Runtime: a graph, ready to run on one provider at one precision.
//!
//! `ort` runs a session through `&mut` on purpose (some providers crash otherwise), so a session has one owner: the
//! encoder's thread.

use std::path::Path;

use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;
use ort::value::TensorRef;

use super::library::Library;
use super::{Error, MicroBatch, Precision, Result, graph};

/// The provider that computes, as it stands in the numerics of a dataset.
pub(super) const PROVIDER: &str = "openvino-cpu";

/// How a session computes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub precision: Precision,
    pub threads: usize,
}

/// A graph that is ready to run.
pub(super) struct Session {
    session: OrtSession,
}

impl Session {
    /// Opens a graph from a file.
    pub(super) fn open(library: &Library, graph: &Path, settings: Settings) -> Result<Session> {
        let name = || graph.display().to_string();
        let mut builder = builder(library, settings).map_err(|source| failed(name(), settings, source))?;
        let session = builder.commit_from_file(graph).map_err(|source| failed(name(), settings, source))?;
        Ok(Session { session })
    }

    /// Opens a graph from memory.
    pub(super) fn from_bytes(library: &Library, name: &str, graph: &[u8], settings: Settings) -> Result<Session> {
        let failed = |source| failed(name.to_owned(), settings, source);
        let session = builder(library, settings).map_err(failed)?.commit_from_memory(graph).map_err(failed)?;
        Ok(Session { session })
    }

    /// The CLS vectors of a micro-batch, row-major [rows, hidden].
    ///
    /// # Errors
    /// Where the provider fails, or gives something else than `hidden` numbers a row.
    pub(super) fn encode(&mut self, batch: &MicroBatch, hidden: usize) -> Result<Vec<f32>> {
        let (rows, width) = (batch.rows(), batch.width);
        let values = self.run(batch).map_err(|source| Error::Run { rows, width, source })?;
        if values.len() != rows * hidden {
            return Err(Error::OutputShape { found: values.len(), rows, hidden });
        }
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::OutputNotFinite { rows, width }),
        }
    }

    fn run(&mut self, batch: &MicroBatch) -> ort::Result<Vec<f32>> {
        let lengths: Vec<i32> = batch.lengths.iter().map(|&length| length as i32).collect();
        let outputs = self.session.run(ort::inputs![
            graph::INPUT_IDS => TensorRef::from_array_view(([batch.rows(), batch.width], batch.ids.as_slice()))?,
            graph::LENGTHS => TensorRef::from_array_view(([batch.rows()], lengths.as_slice()))?,
        ])?;
        Ok(outputs[graph::CLS].try_extract_tensor::<f32>()?.1.to_vec())
    }

    /// Runs a graph of one input and one output, both matrices of floats.
    pub(super) fn run_floats(&mut self, shape: [usize; 2], values: &[f32]) -> Result<Vec<f32>> {
        let [rows, width] = shape;
        let mut run = || {
            let outputs = self.session.run(ort::inputs![TensorRef::from_array_view((shape, values))?])?;
            Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
        };
        run().map_err(|source| Error::Run { rows, width, source })
    }
}

fn failed(graph: String, settings: Settings, source: ort::Error) -> Error {
    Error::Session { graph, numerics: format!("{}/{PROVIDER}", settings.precision), source }
}

fn builder(library: &Library, settings: Settings) -> ort::Result<SessionBuilder> {
    // Shapes vary from batch to batch: patterns of memory kept for each would only pile up.
    let builder = OrtSession::builder(&library.environment)?.with_intra_threads(settings.threads)?;
    Ok(builder.with_memory_pattern(false)?.with_execution_providers([openvino(settings)])?)
}

fn openvino(settings: Settings) -> ExecutionProviderDispatch {
    let hint = match settings.precision {
        Precision::Fp32 => "f32",
        Precision::Bf16 => "bf16",
    };
    let config = serde_json::json!({ "CPU": {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": settings.threads.to_string(),
    }});
    ort::ep::OpenVINO::default()
        .with_device_type("CPU")
        .with_arbitrary_config("load_config", config.to_string())
        .build()
        .error_on_failure()
}
