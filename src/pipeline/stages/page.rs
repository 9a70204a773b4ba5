//! Puts `report.html` beside `run.json`.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, UInt32Type};

use crate::cache::{self, Manifest, write_atomically};
use crate::evaluate::{Evaluation, RowOrigin};
use crate::head::TrainingReport;
use crate::pipeline::Result;
use crate::report::RunReport;
use crate::report::html::{Distributions, Page};
use crate::schema::Dataset;

const REPORT: &str = "report.html";

/// What a page holds beside the run.
#[derive(Clone, Copy, Default)]
pub(super) struct Sections<'a> {
    pub(super) training: Option<&'a TrainingReport>,
    pub(super) evaluation: Option<&'a Evaluation>,
    pub(super) distributions: Option<&'a Distributions>,
}

/// Writes the page of a stage whose `run.json` is `run`.
pub(super) fn write(dir: &Path, run: &RunReport, manifest: &Manifest, sections: Sections<'_>) -> Result<()> {
    let Sections { training, evaluation, distributions } = sections;
    let page =
        Page { out: dir.display().to_string(), run, units: &manifest.units, training, evaluation, distributions };
    Ok(write_atomically(&dir.join(REPORT), page.render().as_bytes())?)
}

/// Where the lengths of judged rows lie.
pub(super) fn lengths(places: &[RowOrigin], max_length: u32) -> Distributions {
    let mut found = Distributions::new(Some(max_length));
    places.iter().filter_map(|place| place.tokens).for_each(|(tokens, _)| found.add_length(tokens));
    found
}

/// Where lengths and scores of predictions lie; they are read once, batch by batch.
pub(super) fn of_predictions(dir: &Path, manifest: &Manifest, max_length: u32) -> Result<Distributions> {
    let mut found = Distributions::new(Some(max_length));
    for part in manifest.parts(Dataset::Predictions.name()) {
        cache::read_part(dir, part, &["probability", "n_tokens"], &mut |batch| {
            let tokens = batch["n_tokens"].as_primitive::<UInt32Type>();
            tokens.iter().flatten().for_each(|tokens| found.add_length(tokens));
            let scores = batch["probability"].as_primitive::<Float32Type>();
            (0..scores.len()).filter(|row| scores.is_valid(*row)).for_each(|row| found.add_score(scores.value(row)));
            Ok(())
        })?;
    }
    Ok(found)
}
