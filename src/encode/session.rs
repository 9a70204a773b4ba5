//! A session of ONNX Runtime: a graph, ready to run on one provider at one precision.
//!
//! `ort` runs a session through `&mut` on purpose (some providers crash otherwise), so a session has one owner: the
//! encoder's thread.

use std::path::Path;
use std::sync::Arc;

use ort::ep::{ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynTensor, Tensor, TensorRef};

use super::interface::{Feed, Input, Interface};
use super::library::Library;
use super::placement::{OnCpu, Placement};
use super::{Chosen, Error, MicroBatch, Precision, Provider, Result, profile};

/// How a session computes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// The name of the numerics, for messages.
    pub precision: Precision,
    /// The number format of all products that the graph itself does not quantise.
    pub floats: Precision,
    pub provider: Provider,
    pub threads: usize,
    /// Whether other sessions run beside it.
    pub shared: bool,
    /// The GPU that computes.
    pub gpu: Option<u32>,
    /// Whether the graph is one that all of it runs on the device.
    pub whole: bool,
}

impl Settings {
    /// Those of each session of a plan.
    pub(super) fn of(chosen: &Chosen) -> Settings {
        Settings {
            precision: chosen.precision,
            floats: chosen.floats(),
            provider: chosen.provider,
            threads: chosen.plan.threads.max(1),
            shared: chosen.plan.sessions > 1,
            gpu: chosen.gpus.and_then(|gpus| gpus.numbers().next()),
            whole: false,
        }
    }
}

/// Where a graph is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Graph<'a> {
    File(&'a Path),
    Memory { name: &'a str, bytes: &'a [u8] },
}

impl Graph<'_> {
    fn name(self) -> String {
        match self {
            Graph::File(path) => path.display().to_string(),
            Graph::Memory { name, .. } => name.to_owned(),
        }
    }
}

/// A graph that is ready to run.
pub(super) struct Session {
    session: OrtSession,
    interface: Interface,
    on_cpu: Option<OnCpu>,
}

impl Session {
    /// Opens a graph of this interface.
    pub(super) fn open(
        library: &Library,
        graph: Graph<'_>,
        interface: Interface,
        settings: Settings,
    ) -> Result<Session> {
        let placement = Arc::new(Placement::default());
        let profile = profile::from_environment()?;
        let builder = builder(library, settings).and_then(|builder| match settings.gpu {
            Some(_) => listen(builder, &placement),
            None => Ok(builder),
        });
        // Written when the session ends, which it does before the process.
        let builder = builder.and_then(|builder| match &profile {
            Some(begins) => Ok(builder.with_profiling(begins)?),
            None => Ok(builder),
        });
        let session = commit(builder, graph).map_err(|source| match placement.on_cpu().filter(|_| settings.whole) {
            Some(nodes) => Error::NodesOnCpu { graph: graph.name(), nodes, source },
            None => failed(graph, settings, source),
        })?;
        Ok(Session { session, interface, on_cpu: placement.on_cpu() })
    }

    /// The nodes that the CPU computes where a GPU should.
    pub(super) fn on_cpu(&self) -> Option<&OnCpu> {
        self.on_cpu.as_ref()
    }

    /// The vectors of a micro-batch, row-major [rows, width].
    ///
    /// # Errors
    /// Where the provider fails, or gives something else than its interface says.
    pub(super) fn encode(&mut self, batch: &MicroBatch) -> Result<Vec<f32>> {
        let (rows, width) = (batch.rows(), batch.width);
        let mut values = self.run(batch).map_err(|source| Error::Run { rows, width, source })?;
        let Interface { row, pooling, .. } = self.interface;
        let (found, expected) = (values.len(), rows * row * if pooling.is_some() { width } else { 1 });
        if found != expected {
            return Err(Error::OutputShape { found, rows, width, expected });
        }
        if let Some(pooling) = pooling {
            let texts = values.chunks_exact(width * row).zip(&batch.lengths);
            values = texts.flat_map(|(tokens, &length)| pooling.of(&tokens[..length as usize * row], row)).collect();
        }
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::OutputNotFinite { rows, width }),
        }
    }

    /// What the graph gives for a micro-batch under other names than the CLS rows', each row-major.
    ///
    /// # Errors
    /// Where the provider fails, or there is no such output.
    pub(super) fn outputs(&mut self, batch: &MicroBatch, names: &[String]) -> Result<Vec<Vec<f32>>> {
        let (rows, width) = (batch.rows(), batch.width);
        self.run_for(batch, names).map_err(|source| Error::Run { rows, width, source })
    }

    fn run(&mut self, batch: &MicroBatch) -> ort::Result<Vec<f32>> {
        let output = self.interface.output.clone();
        Ok(self.run_for(batch, std::slice::from_ref(&output))?.swap_remove(0))
    }

    fn run_for(&mut self, batch: &MicroBatch, names: &[String]) -> ort::Result<Vec<Vec<f32>>> {
        let inputs = self.interface.inputs.iter().map(|input| Ok((input.feed.name(), fed(*input, batch)?)));
        let inputs: Vec<(&str, DynTensor)> = inputs.collect::<ort::Result<_>>()?;
        let outputs = self.session.run(inputs)?;
        names.iter().map(|name| Ok(outputs[name.as_str()].try_extract_tensor::<f32>()?.1.to_vec())).collect()
    }
}

/// What goes into an input.
fn fed(input: Input, batch: &MicroBatch) -> ort::Result<DynTensor> {
    let (rows, width) = (batch.rows(), batch.width);
    let lengths = || batch.lengths.iter().map(|&length| length as i32);
    let one_axis = |values: Vec<i32>| (vec![values.len()], values);
    let (shape, values): (Vec<usize>, Vec<i32>) = match input.feed {
        Feed::Tokens => one_axis(batch.packed(&batch.ids)),
        Feed::Places => one_axis(lengths().flat_map(|length| 0..length).collect()),
        Feed::Starts => one_axis(batch.bounds()[..rows].to_vec()),
        Feed::Ends => one_axis(batch.bounds()[1..].to_vec()),
        Feed::Numbers => one_axis((0..batch.tokens() as i32).collect()),
        Feed::Bounds => one_axis(batch.bounds()),
        Feed::Offsets => (vec![rows, width], batch.offsets()),
        Feed::Ids => (vec![rows, width], batch.ids.clone()),
        Feed::Lengths => (vec![rows], lengths().collect()),
        Feed::Segments => (vec![rows, width], vec![0; rows * width]),
        Feed::Mask => {
            let row = |length: i32| (0..width as i32).map(move |place| i32::from(place < length));
            (vec![rows, width], lengths().flat_map(row).collect())
        }
    };
    Ok(match input.wide {
        false => Tensor::from_array((shape, values))?.upcast(),
        true => Tensor::from_array((shape, values.into_iter().map(i64::from).collect::<Vec<_>>()))?.upcast(),
    })
}

/// Runs a graph of one input and one output, both matrices of floats.
pub(super) fn run_floats(
    library: &Library,
    graph: Graph<'_>,
    settings: Settings,
    shape: [usize; 2],
    values: &[f32],
) -> Result<Vec<f32>> {
    let [rows, width] = shape;
    let session = commit(builder(library, settings), graph);
    let mut session = session.map_err(|source| match settings.gpu {
        Some(gpu) => Error::NoGpu { gpu, source },
        None => failed(graph, settings, source),
    })?;
    let mut run = || {
        let outputs = session.run(ort::inputs![TensorRef::from_array_view((shape, values))?])?;
        Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
    };
    run().map_err(|source| Error::Run { rows, width, source })
}

fn commit(builder: ort::Result<SessionBuilder>, graph: Graph<'_>) -> ort::Result<OrtSession> {
    builder.and_then(|mut builder| match graph {
        Graph::File(path) => builder.commit_from_file(path),
        Graph::Memory { bytes, .. } => builder.commit_from_memory(bytes),
    })
}

fn failed(graph: Graph<'_>, settings: Settings, source: ort::Error) -> Error {
    Error::Session { graph: graph.name(), numerics: format!("{}/{}", settings.precision, settings.provider), source }
}

/// ONNX Runtime says where it puts nodes at its most talkative level alone; a run adds a few lines, which are dropped.
fn listen(builder: SessionBuilder, placement: &Arc<Placement>) -> ort::Result<SessionBuilder> {
    let placement = Arc::clone(placement);
    let builder = builder.with_log_level(LogLevel::Verbose)?;
    Ok(builder.with_logger(Arc::new(move |_, _, _, _, line: &str| placement.hear(line)))?)
}

fn builder(library: &Library, settings: Settings) -> ort::Result<SessionBuilder> {
    // Shapes vary from batch to batch: patterns of memory kept for each would only pile up.
    let builder = OrtSession::builder(&library.environment)?.with_intra_threads(settings.threads)?;
    let builder = builder.with_memory_pattern(false)?;
    match settings.provider {
        Provider::OpenVino => {
            // It has its own: ONNX Runtime's would take 8-bit products apart where it recognises them.
            let builder = builder.with_optimization_level(GraphOptimizationLevel::Disable)?;
            Ok(builder.with_execution_providers([openvino(settings)])?)
        }
        // ONNX Runtime's own kernels run where no provider is named.
        Provider::Mlas | Provider::Packed => Ok(builder),
        Provider::Cuda => cuda(builder, settings),
    }
}

fn cuda(builder: SessionBuilder, settings: Settings) -> ort::Result<SessionBuilder> {
    // Products in 32 bits are asked for where they are wanted, and TF32 has 11 of them.
    let provider = ort::ep::CUDA::default().with_device_id(settings.gpu.unwrap_or(0) as i32).with_tf32(false);
    let builder = builder.with_execution_providers([provider.build().error_on_failure()])?;
    match settings.whole {
        // A node that the GPU has no kernel for would be computed on the CPU without a word, its data copied twice.
        true => Ok(builder.with_config_entry("session.disable_cpu_ep_fallback", "1")?),
        false => Ok(builder),
    }
}

fn openvino(settings: Settings) -> ExecutionProviderDispatch {
    let hint = if settings.floats == Precision::Bf16 { "bf16" } else { "f32" };
    let config = serde_json::json!({ "CPU": {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": settings.threads.to_string(),
        // Each session pins its threads to the first cores, so that several would share these.
        "ENABLE_CPU_PINNING": if settings.shared { "NO" } else { "YES" },
    }});
    ort::ep::OpenVINO::default()
        .with_device_type("CPU")
        .with_arbitrary_config("load_config", config.to_string())
        .build()
        .error_on_failure()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Its log is nobody's interface: this holds the words to the library that is there.
    #[test]
    fn onnx_runtime_says_where_a_graphs_nodes_are() {
        if crate::native::find("onnxruntime/libonnxruntime.so").is_none() {
            eprintln!("skipped: no ONNX Runtime (`make deps` gets it)");
            return;
        }
        let library = super::super::library::load(Provider::Mlas).unwrap();
        let placement = Arc::new(Placement::default());
        let builder = OrtSession::builder(&library.environment).and_then(|builder| listen(builder, &placement));
        let bytes = super::super::proof::product().encode_to_vec();
        commit(builder, Graph::Memory { name: "product", bytes: &bytes }).unwrap();
        assert_eq!(placement.on_cpu().unwrap().to_string(), "1 of 1 nodes");
    }
}
