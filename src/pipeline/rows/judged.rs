//! Predictions whose truth is known, out of what stages left: features with a head, or scored rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt32Type, UInt64Type};
use hashbrown::HashMap;

use super::labelled::LabelledRows;
use crate::cache::{self, FeatureSet, Manifest};
use crate::evaluate::{Judged, RowOrigin, cool, fit_temperature};
use crate::head::{Head, HeldOut};
use crate::pipeline::{Error, Result};
use crate::report::LeftOut;
use crate::schema::Dataset;

/// Rows that go through a head at a time.
const BLOCK: usize = 4096;

/// Judged rows, and how many could not be.
#[derive(Debug, Default)]
pub(crate) struct JudgedRows {
    probabilities: Vec<f32>,
    labels: Vec<u32>,
    classes: usize,
    pub(crate) places: Vec<RowOrigin>,
    pub(crate) left_out: LeftOut,
}

impl JudgedRows {
    fn new(labels: &[String]) -> (JudgedRows, HashMap<&str, u32>) {
        let classes = labels.iter().zip(0..).map(|(label, class)| (label.as_str(), class)).collect();
        (JudgedRows { classes: labels.len(), ..JudgedRows::default() }, classes)
    }

    /// What a head says of cached features.
    pub(crate) fn of_features(set: &FeatureSet, head: &Head, labels: &[String]) -> Result<JudgedRows> {
        let (mut found, classes) = JudgedRows::new(labels);
        let mut answers: Vec<f32> = Vec::new();
        for part in 0..set.vectors.parts() {
            let vectors = set.vectors.read(part)?;
            answers.extend(vectors.chunks(BLOCK * head.width()).flat_map(|vectors| head.probabilities(vectors)));
        }
        for row in &set.rows {
            let Some(class) = found.class(row.label.as_deref(), &classes) else { continue };
            let vector = row.vector as usize;
            found.probabilities.extend_from_slice(&answers[vector * found.classes..][..found.classes]);
            found.labels.push(class);
            let source_file = Arc::clone(&row.source_file);
            found.places.push(RowOrigin { source_file, row: row.row, tokens: Some(set.tokens[vector]) });
        }
        Ok(found)
    }

    /// What was said of rows (of `rows`) that were held out of a training; takes the answers out.
    pub(crate) fn of_held_out(held_out: &mut HeldOut, rows: &LabelledRows<'_>, classes: usize) -> JudgedRows {
        JudgedRows {
            probabilities: std::mem::take(&mut held_out.probabilities),
            labels: held_out.rows.iter().map(|row| rows.classes()[*row]).collect(),
            classes,
            places: held_out.rows.iter().map(|row| rows.place(*row)).collect(),
            left_out: LeftOut::default(),
        }
    }

    /// Brings the answers to the temperature at which they are calibrated, and returns it.
    pub(crate) fn calibrate(&mut self) -> f64 {
        let temperature = fit_temperature(&self.judged());
        cool(&mut self.probabilities, self.classes, temperature);
        temperature
    }

    /// What a score run with true labels says.
    pub(crate) fn of_predictions(dir: &Path, manifest: &Manifest, labels: &[String]) -> Result<JudgedRows> {
        let (mut found, classes) = JudgedRows::new(labels);
        for part in manifest.parts(Dataset::Predictions.name()) {
            let columns = ["source_file", "row", "probabilities", "n_tokens", "truncated", "true_label"];
            cache::read_part(dir, part, &columns, &mut |batch| {
                found.append(batch, &classes);
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn append(&mut self, batch: &RecordBatch, classes: &HashMap<&str, u32>) {
        let (files, rows) = (batch["source_file"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
        let answers = batch["probabilities"].as_fixed_size_list();
        let (n_tokens, truncated) = (batch["n_tokens"].as_primitive::<UInt32Type>(), batch["truncated"].as_boolean());
        let truth = batch["true_label"].as_string::<i32>();
        for row in 0..batch.num_rows() {
            if answers.is_null(row) {
                self.left_out.rows_without_answer += 1;
                continue;
            }
            let label = truth.is_valid(row).then(|| truth.value(row));
            let Some(class) = self.class(label, classes) else { continue };
            self.probabilities.extend_from_slice(answers.value(row).as_primitive::<Float32Type>().values());
            self.labels.push(class);
            let source_file = match self.places.last() {
                Some(last) if *last.source_file == *files.value(row) => Arc::clone(&last.source_file),
                _ => Arc::from(files.value(row)),
            };
            let tokens = n_tokens.is_valid(row).then(|| (n_tokens.value(row), truncated.value(row)));
            self.places.push(RowOrigin { source_file, row: rows.value(row), tokens });
        }
    }

    fn class(&mut self, label: Option<&str>, classes: &HashMap<&str, u32>) -> Option<u32> {
        let class = label.map(|label| classes.get(label).copied());
        match class {
            None => self.left_out.rows_without_label += 1,
            Some(None) => self.left_out.rows_with_unknown_label += 1,
            Some(Some(_)) => {}
        }
        class.flatten()
    }

    /// Puts other rows behind these.
    pub(crate) fn extend(&mut self, other: JudgedRows) {
        self.probabilities.extend(other.probabilities);
        self.labels.extend(other.labels);
        self.places.extend(other.places);
        let (left_out, more) = (&mut self.left_out, other.left_out);
        left_out.rows_without_label += more.rows_without_label;
        left_out.rows_with_unknown_label += more.rows_with_unknown_label;
        left_out.rows_without_answer += more.rows_without_answer;
    }

    pub(crate) fn judged(&self) -> Judged<'_> {
        Judged { probabilities: &self.probabilities, labels: &self.labels, classes: self.classes }
    }

    /// Refuses to judge nothing.
    pub(crate) fn check(&self, inputs: &[PathBuf], labels: &[String]) -> Result<()> {
        if !self.labels.is_empty() {
            return Ok(());
        }
        let inputs = inputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("`, `");
        let LeftOut { rows_without_label, rows_with_unknown_label, rows_without_answer } = self.left_out;
        let found = format!(
            "{rows_without_label} without a label, {rows_with_unknown_label} with an unknown one, {rows_without_answer} without an answer"
        );
        Err(Error::NothingToJudge { inputs, found, known: labels.join("`, `") })
    }
}
