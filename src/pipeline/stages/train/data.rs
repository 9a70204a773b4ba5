//! The rows that a head is trained on, and those that it is judged by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache::{FeatureSet, Manifest, check_same_encoder, load_features};
use crate::head::{BundleEncoder, TrainingData};
use crate::pipeline::rows::labelled::LabelledRows;
use crate::pipeline::{Error, Result, TrainOptions};
use crate::report::{EncoderRun, Input, TextHygiene};
use crate::telemetry::Terminal;

/// How often vectors are in memory while a head is trained on them: as they were read, and as tensors of both sides.
const COPIES: u64 = 3;

/// The features of both sides, read.
pub(super) struct Features {
    pub(super) set: FeatureSet,
    /// The set to validate on, where it is one of its own.
    pub(super) held_out: Option<FeatureSet>,
    pub(super) labels: Vec<String>,
    pub(super) encoder: EncoderRun,
    /// How many vectors may be in memory at a time, one part of them as it is read aside.
    pub(super) window: usize,
}

impl Features {
    /// Reads them; all must be of one encoder.
    pub(super) fn load(options: &TrainOptions) -> Result<Features> {
        let set = load_features(&options.inputs, options.memory / COPIES)?;
        let labels = set.rows.iter().filter_map(|row| row.label.clone());
        let labels: Vec<String> = labels.collect::<BTreeSet<_>>().into_iter().collect();
        if labels.is_empty() {
            let inputs: Vec<String> = options.inputs.iter().map(|dir| dir.display().to_string()).collect();
            return Err(Error::NoLabels { inputs: inputs.join("`, `") });
        }
        let encoder = EncoderRun::of(&set.run, &options.inputs[0])?;
        let held_out = options.validation.as_deref().map(|dir| held_out(options, &set, dir)).transpose()?;
        let window = window(options, &set);
        Ok(Features { set, held_out, labels, encoder, window })
    }

    /// The labelled rows to train on.
    pub(super) fn rows(&self, options: &TrainOptions) -> Result<LabelledRows<'_>> {
        self.labelled(&self.set, &options.inputs[0])
    }

    /// Those to validate on, where they are a set of their own.
    pub(super) fn validation(&self, options: &TrainOptions) -> Result<Option<LabelledRows<'_>>> {
        match (&options.validation, &self.held_out) {
            (Some(dir), Some(set)) => Ok(Some(self.labelled(set, dir)?)),
            _ => Ok(None),
        }
    }

    fn labelled<'a>(&'a self, set: &'a FeatureSet, dir: &Path) -> Result<LabelledRows<'a>> {
        LabelledRows::of(set, &self.labels, self.window).map_err(|label| {
            let known = format!("`{}`", self.labels.join("`, `"));
            Error::UnknownLabel { dir: dir.to_owned(), label, known }
        })
    }

    /// The encoder that a head of theirs belongs behind.
    pub(super) fn bundle_encoder(&self) -> BundleEncoder {
        let EncoderRun { model, encoder, numerics_parts, calibration, .. } = self.encoder.clone();
        BundleEncoder { model, identity: encoder, numerics: numerics_parts, calibration }
    }

    /// Says what is trained on.
    pub(super) fn say(&self, classes: &[u32], unlabelled: usize, terminal: Terminal) {
        let mut counts = vec![0usize; self.labels.len()];
        classes.iter().for_each(|class| counts[*class as usize] += 1);
        let parts: Vec<String> =
            self.labels.iter().zip(&counts).map(|(label, count)| format!("`{label}` {count}")).collect();
        let rest = match unlabelled {
            0 => String::new(),
            rows => format!("; {rows} rows without a label are left out"),
        };
        terminal.say(&format!("data: {} labelled rows, {}{rest}", classes.len(), parts.join(", ")));
        if !self.set.vectors.in_memory() {
            let window = self.window;
            terminal.say(&format!(
                "data: more than --memory holds: every epoch reads them from disk, {window} vectors at a time, in another order"
            ));
        }
    }
}

/// Says what is odd about the texts.
pub(super) fn say_hygiene(terminal: Terminal, hygiene: TextHygiene) {
    let TextHygiene { duplicate_rows, texts_with_several_labels, leaked_rows } = hygiene;
    if duplicate_rows > 0 {
        let several = match texts_with_several_labels {
            0 => String::new(),
            texts => format!("; {texts} texts have more than one label"),
        };
        terminal.say(&format!("data: {duplicate_rows} rows repeat the text of another{several}"));
    }
    if leaked_rows > 0 {
        terminal.warn(&format!(
            "{leaked_rows} rows of the validation set have a text that is trained on too: its figures are too good"
        ));
    }
}

/// What a bundle remembers of the features, those of the validation set behind them.
pub(super) fn remembered(options: &TrainOptions) -> Result<Vec<TrainingData>> {
    let data = |dir: &PathBuf| {
        let manifest = Manifest::of_output(dir, "embed")?;
        Ok(TrainingData { path: dir.display().to_string(), digest: manifest.digest() })
    };
    all(options).map(data).collect()
}

/// The features for `run.json`.
pub(super) fn inputs(options: &TrainOptions) -> Result<Vec<Input>> {
    let input = |dir: &PathBuf| {
        let manifest = Manifest::of_output(dir, "embed")?;
        Ok(Input {
            path: dir.display().to_string(),
            files: manifest.every_part().count() as u64,
            bytes: manifest.every_part().map(|part| part.bytes).sum(),
            digest: manifest.digest(),
        })
    };
    all(options).map(input).collect()
}

/// The features of both sides.
pub(super) fn all(options: &TrainOptions) -> impl Iterator<Item = &PathBuf> {
    options.inputs.iter().chain(&options.validation)
}

/// The set that is validated on; its vectors must be of the same encoder.
fn held_out(options: &TrainOptions, set: &FeatureSet, dir: &Path) -> Result<FeatureSet> {
    let held_out = load_features(&[dir.to_owned()], options.memory / COPIES)?;
    check_same_encoder((&options.inputs[0], &set.run), (dir, &held_out.run))?;
    Ok(held_out)
}

fn window(options: &TrainOptions, set: &FeatureSet) -> usize {
    if set.vectors.in_memory() {
        return usize::MAX;
    }
    let vector = (set.vectors.width() * size_of::<f32>()).max(1) as u64;
    (options.memory / COPIES / vector).max(1) as usize
}
