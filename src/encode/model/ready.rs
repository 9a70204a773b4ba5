//! An encoder that comes as an ONNX file.
//!
//! The file's outline (inputs, outputs, where tensors lie) is read here, without ONNX Runtime, because a stage must
//! know the length of a vector before anything is loaded.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde_json::Value;

use super::super::batch::WIDTH_STEP;
use super::super::digest::short_digest;
use super::super::interface::Interface;
use super::super::{Error, Result};
use crate::onnx::ModelOutline;

/// Where exporters put the graph.
const PLACES: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// A ready-made graph and what is known about it.
#[derive(Debug, Clone)]
pub(in crate::encode) struct Ready {
    pub path: PathBuf,
    pub interface: Interface,
    pub positions: usize,
    pub vocabulary: usize,
}

impl Ready {
    /// The graph of a model folder, if there is one.
    pub(in crate::encode) fn find(model_dir: &Path) -> Option<PathBuf> {
        PLACES.iter().map(|place| model_dir.join(place)).find(|path| path.is_file())
    }

    /// Reads the outline of the graph at `path`, and what the folder's configuration says about it.
    ///
    /// # Errors
    /// Where the file is no ONNX model, keeps tensors elsewhere, or takes or gives something else than an encoder.
    pub(in crate::encode) fn load(model_dir: &Path, path: PathBuf) -> Result<Ready> {
        let refused = |reason: String| Error::ReadyMade { path: path.clone(), reason };
        let bytes = fs_err::read(&path).map_err(Error::read(&path))?;
        let outline = ModelOutline::decode(bytes.as_slice())
            .map_err(|error| refused(format!("it is corrupt or cut short ({error}); fetch the model again")))?;
        let graph = outline.graph.ok_or_else(|| refused("it holds no graph".to_owned()))?;
        if graph.has_external_data() {
            return Err(refused("it keeps its weights in another file; save it as one file".to_owned()));
        }
        let config = json(&model_dir.join("config.json"))?;
        let tokenizer = json(&model_dir.join("tokenizer_config.json"))?;
        let size = |field: &str| config[field].as_u64().filter(|&size| size > 0).map(|size| size as usize);
        let inputs = graph.real_inputs();
        let interface = Interface::of(&inputs, &graph.output, size("hidden_size").or(size("dim"))).map_err(refused)?;
        // The tokenizer's limit is a habit, the model's a fact. Tokenizers without one write a number beyond u64: no u64.
        let habit = || tokenizer["model_max_length"].as_u64().map(|most| most as usize);
        // Widths come in steps, and a foreign table of positions has no row for padding beyond its end.
        let positions = size("max_position_embeddings").or_else(habit).map_or(usize::MAX / 2, round_down);
        Ok(Ready { interface, positions, vocabulary: size("vocab_size").unwrap_or(i32::MAX as usize), path })
    }

    /// 32 hex digits that stand for what is taken from the graph; the graph itself is its weights.
    pub(in crate::encode) fn digest(&self) -> String {
        short_digest(format!("onnx {} {}", self.interface.output, self.interface.row).as_bytes())
    }
}

fn round_down(positions: usize) -> usize {
    positions / WIDTH_STEP * WIDTH_STEP
}

/// A file that need not be there, and of which only a few fields matter; null where it is not.
fn json(path: &Path) -> Result<Value> {
    match fs_err::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        read => serde_json::from_slice(&read.map_err(Error::read(path))?)
            .map_err(|source| Error::ConfigJson { path: path.to_owned(), source }),
    }
}
