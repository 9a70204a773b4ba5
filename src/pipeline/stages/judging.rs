//! What `train` and `evaluate` have in common: figures of rows whose truth is known, and the file with all of them.

use std::path::Path;

use crate::cache::write_atomically;
use crate::evaluate::{self, Evaluation};
use crate::pipeline::Result;
use crate::pipeline::rows::judged::JudgedRows;

/// The file with all figures.
const EVALUATION: &str = "evaluation.json";
/// Seeds the bootstrap: the same rows give the same intervals.
const SEED: u64 = 42;

/// Judges rows.
pub(super) fn evaluation(rows: &JudgedRows, labels: &[String], target_precision: Option<f64>) -> Evaluation {
    evaluate::evaluate(rows.judged(), &rows.places, labels, target_precision, SEED)
}

/// Writes the figures.
pub(super) fn save(dir: &Path, evaluation: &Evaluation) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(evaluation).expect("an evaluation is plain data; this is a bug");
    text.push(b'\n');
    Ok(write_atomically(&dir.join(EVALUATION), &text)?)
}
