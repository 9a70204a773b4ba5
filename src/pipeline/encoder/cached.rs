//! Which vectors a stage need not compute: those of a store (`--cache`) and of embed outputs (`--features`).
//!
//! Vectors of another encoder or of other numerics must not meet those of this run. A store has a folder for each, so
//! it never gives them; an embed output that holds them is refused, with each part that differs.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::planned::Planned;
use crate::cache::{self, Known, Manifest, Store, StoreEncoder};
use crate::pipeline::{Error, Result};
use crate::report::EncoderRun;
use crate::telemetry::Terminal;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cached {
    pub(crate) store: Option<PathBuf>,
    pub(crate) features: Vec<PathBuf>,
}

impl Cached {
    /// The folders, which an output folder must not hold.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.store.iter().chain(&self.features).cloned().collect()
    }

    /// Reads the keys of all that may be used; `None` where there is nowhere to look.
    pub(crate) fn open(&self, planned: &Planned, terminal: Terminal) -> Result<Option<Known>> {
        if self.store.is_none() && self.features.is_empty() {
            return Ok(None);
        }
        let outputs = self.features.iter().map(|dir| output(dir, planned)).collect::<Result<Vec<_>>>()?;
        let width = planned.target.width()?;
        let store = self.store.as_ref().map(|dir| open_store(dir, planned, width)).transpose()?;
        let folder = store.as_ref().map(|store| store.folder().display().to_string());
        let known = Known::open(width, &outputs, store)?;
        let places = self.features.iter().map(|dir| dir.display().to_string()).chain(folder);
        let places: Vec<String> = places.map(|place| format!("`{place}`")).collect();
        terminal.say(&format!("cached: {} texts in {}", known.texts(), places.join(", ")));
        Ok(Some(known))
    }
}

/// Says which parts of the store were passed over.
pub(crate) fn warn_of_damage(known: &Known, terminal: Terminal) {
    for path in known.damaged() {
        terminal.warn(&format!(
            "`{}` is damaged or another encoder's and was not used, its texts were encoded again; `bertline cache gc` removes what is damaged",
            path.display()
        ));
    }
}

fn open_store(dir: &Path, planned: &Planned, width: usize) -> Result<Store> {
    let identity = &planned.target.identity;
    let encoder = StoreEncoder {
        model: planned.target.model.name.clone(),
        encoder_id: identity.id(),
        numerics: planned.numerics.to_string(),
        width,
        encoder: json!(identity),
        numerics_parts: json!(planned.numerics),
    };
    Ok(Store::open(dir, &encoder)?)
}

/// The manifest of an embed output whose vectors may be used.
fn output(dir: &Path, planned: &Planned) -> Result<(PathBuf, Manifest)> {
    let manifest = cache::finished_embed(dir)?;
    let theirs = EncoderRun::of(&manifest.run, dir)?;
    let mut differences = planned.target.identity.differences(&theirs.encoder);
    differences.extend(planned.numerics.differences(&theirs.numerics_parts));
    if differences.is_empty() {
        return Ok((dir.to_owned(), manifest));
    }
    Err(Error::OtherFeatures { dir: dir.to_owned(), differences: differences.join("; ") })
}
