//! A model folder: which encoder it holds, and whether it is whole.
//!
//! Two kinds are understood. A graph that we build ourselves from `config.json` and `model.safetensors` computes less
//! for the same vectors; any other encoder can come as a ready-made `model.onnx`. Only where the first is not to be had
//! is the second taken.
//!
//! `architecture.rs` reads config.json, `names.rs` knows the families' tensors, `weights.rs` reads them, and
//! `description.rs` makes of it all the plain data that a graph is lowered from; `ready.rs` looks into an ONNX file.

mod architecture;
mod description;
mod names;
mod ready;
mod weights;

use std::path::{Path, PathBuf};

#[cfg(test)]
pub(super) use architecture::Family;
pub(super) use architecture::{Activation, Architecture};
pub(super) use description::{Description, Embeddings, Layer, Linear, Norm};
pub(super) use ready::Ready;
pub(super) use weights::WeightsFile;

use super::interface::{Feed, Interface};
use super::readout::{Layers, Pooling, Readout};
use super::{Error, Result};
use crate::tokenize::Tokenizer;

/// Where weights are that a graph is built from.
const WEIGHTS: &str = "model.safetensors";

/// The encoder of a model folder.
#[derive(Debug, Clone)]
pub(super) enum Model {
    /// Its graph is built here.
    Built(Architecture),
    /// Its graph lies in the folder.
    Ready(Ready),
}

impl Model {
    /// Looks into a model folder.
    ///
    /// # Errors
    /// Where the file that decides is missing or corrupt, or what it describes is not supported.
    pub(super) fn load(model_dir: &Path) -> Result<Model> {
        let ready = Ready::find(model_dir);
        let whole = ["config.json", WEIGHTS].iter().all(|name| model_dir.join(name).is_file());
        match (Architecture::load(model_dir), ready) {
            (Ok(architecture), None) => Ok(Model::Built(architecture)),
            (Ok(architecture), Some(_)) if whole => Ok(Model::Built(architecture)),
            // A damaged config.json beside weights must not quietly become another encoder.
            (Err(error), Some(_)) if whole && !matches!(error, Error::Unsupported { .. }) => Err(error),
            (_, Some(path)) => Ok(Model::Ready(Ready::load(model_dir, path)?)),
            (Err(error), None) => Err(error),
        }
    }

    /// The length of a vector.
    pub(super) fn width(&self, readout: Readout) -> usize {
        readout.width(match self {
            Model::Built(architecture) => architecture.hidden,
            Model::Ready(ready) => ready.interface.row,
        })
    }

    /// What its graph takes and gives: one that is built here takes `feeds`.
    pub(super) fn interface(&self, feeds: Vec<Feed>, readout: Readout) -> Interface {
        match self {
            Model::Built(architecture) => Interface::built(feeds, readout, architecture.hidden),
            Model::Ready(Ready { interface, .. }) => {
                Interface { pooling: interface.pooling.map(|_| readout.pooling), ..interface.clone() }
            }
        }
    }

    /// Refuses a readout of rows or layers that the model does not give.
    pub(super) fn check_readout(&self, model_dir: &Path, readout: Readout) -> Result<()> {
        let reason = match self {
            Model::Built(architecture) if architecture.layers < readout.layers.count() => {
                format!("it has {} layers", architecture.layers)
            }
            Model::Ready(_) if readout.layers != Layers::Last => {
                "its graph is a ready-made one, which gives the last layer alone".to_owned()
            }
            Model::Ready(ready) if ready.interface.pooling.is_none() && readout.pooling != Pooling::Cls => {
                format!("its ready-made graph gives `{}`, not the rows of all tokens", ready.interface.output)
            }
            _ => return Ok(()),
        };
        Err(Error::Readout { model_dir: model_dir.to_owned(), readout, reason })
    }

    /// Refuses int8 where there is no graph to be quantised, and for vectors that it was not calibrated for.
    pub(super) fn check_int8(&self, model_dir: &Path, readout: Readout) -> Result<()> {
        match self {
            Model::Built(_) if !readout.is_default() => Err(Error::ReadoutInt8 { readout }),
            Model::Built(_) => Ok(()),
            Model::Ready(_) => Err(Error::ReadyMadeInt8 { model_dir: model_dir.to_owned() }),
        }
    }

    /// The tokens that a text may have; without end where nothing says so.
    pub(super) fn positions(&self) -> usize {
        match self {
            Model::Built(architecture) => architecture.positions,
            Model::Ready(ready) => ready.positions,
        }
    }

    /// The words that the encoder knows; without end where nothing says so.
    pub(super) fn vocabulary(&self) -> usize {
        match self {
            Model::Built(architecture) => architecture.vocabulary,
            Model::Ready(ready) => ready.vocabulary,
        }
    }

    /// The file that holds the weights.
    pub(super) fn weights(&self, model_dir: &Path) -> PathBuf {
        match self {
            Model::Built(_) => model_dir.join(WEIGHTS),
            Model::Ready(ready) => ready.path.clone(),
        }
    }

    /// 32 hex digits that stand for what is computed with the weights.
    pub(super) fn digest(&self) -> String {
        match self {
            Model::Built(architecture) => architecture.digest(),
            Model::Ready(ready) => ready.digest(),
        }
    }

    /// Refuses a tokenizer whose ids or lengths the embedding tables do not hold.
    pub(super) fn check_tokenizer(&self, model_dir: &Path, tokenizer: &Tokenizer) -> Result<()> {
        let (max_length, positions) = (tokenizer.window().max_length, self.positions());
        if max_length > positions {
            return Err(Error::MaxLength { max_length, positions });
        }
        if tokenizer.vocabulary() > self.vocabulary() {
            return Err(Error::Vocabulary {
                model_dir: model_dir.to_owned(),
                largest: tokenizer.vocabulary() - 1,
                vocabulary: self.vocabulary(),
            });
        }
        Ok(())
    }
}
