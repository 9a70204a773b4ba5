//! What a stage alone has to say in its `run.json`, by stage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Evaluation, Interval, Threshold};
use crate::head::{Metrics, Swept, TrainingReport};
use crate::ingest::{Decoded, Skipped};

/// The stage that ran, with its own figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(crate) enum StageReport {
    /// `bertline ingest`
    Ingest(InputReport),
    /// `bertline embed`
    Embed(InputReport),
    /// `bertline score`
    Score(Box<ScoreReport>),
    /// `bertline train`
    Train(Box<TrainReport>),
    /// `bertline evaluate`
    Evaluate(Box<EvaluateReport>),
}

/// What was odd about the files of the input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputReport {
    /// Files that were read in other encodings than UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encodings: Vec<Decoded>,
    /// Files that were passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedFiles>,
}

/// Files that were found and not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SkippedFiles {
    /// How many.
    pub files: usize,
    /// The same by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first ones.
    pub first: Vec<Skipped>,
}

/// The head that scored or was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeadReport {
    /// Its folder, as given.
    pub path: PathBuf,
    /// Its digest.
    pub digest: String,
}

/// What `score` adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoreReport {
    /// The head.
    pub head: HeadReport,
    /// How often it abstained, where it has a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstained: Option<Abstained>,
    /// How good it was, where there are true labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<RowMetrics>,
    /// What is odd about the input.
    #[serde(flatten)]
    pub input: InputReport,
    /// What `evaluate` found, which scored the reviews first; not in `run.json`.
    #[serde(flatten, skip_deserializing)]
    pub judgement: Option<Judgement>,
}

/// Rows without an answer that is as sure as was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Abstained {
    /// How many.
    pub rows: u64,
    /// What was wanted.
    pub threshold: Threshold,
}

/// How good answers are on the rows that have a true label; null where none has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowMetrics {
    /// Rows with a true label that the head knows.
    pub rows: u64,
    /// The share of these whose most probable label is the true one.
    pub accuracy: Option<f64>,
    /// The mean over these of minus the natural logarithm of the true label's probability.
    pub log_loss: Option<f64>,
    /// Rows with a true label that the head does not know.
    pub rows_with_unknown_label: u64,
}

/// What `train` adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainReport {
    /// The classes.
    pub labels: Vec<String>,
    /// Rows that were left out.
    pub rows_without_label: usize,
    /// BLAKE3 of the weights.
    pub head_digest: String,
    /// How the head came about.
    pub metrics: TrainingReport,
    /// What its logits are divided by.
    pub temperature: f64,
    /// How good it is on the rows that were held out.
    pub evaluation: EvaluationReport,
    /// Whether the vectors were held.
    pub features_in_memory: bool,
    /// What is odd about the texts.
    pub text_hygiene: TextHygiene,
    /// The recipes that were tried, the best first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Vec<Swept>>,
    /// What to expect on new texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidation>,
}

/// What is odd about the texts of labelled rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextHygiene {
    /// Rows whose text an earlier row has.
    pub duplicate_rows: usize,
    /// Texts whose rows have more than one label.
    pub texts_with_several_labels: usize,
    /// Rows of the validation set whose text is in the training set too.
    pub leaked_rows: usize,
}

/// How a recipe did on rows that it was not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CrossValidation {
    /// Folds of each seed; 1 is the recipe's own split.
    pub folds: usize,
    /// Seeds.
    pub repeats: u64,
    /// Share of rows whose most probable class is right.
    pub accuracy: Spread,
    /// Mean over the classes of the share of their rows that is right.
    pub balanced_accuracy: Spread,
    /// Mean F1 over the classes.
    pub macro_f1: Spread,
    /// Mean negative natural logarithm of the true class's probability.
    pub log_loss: Spread,
    /// Each training.
    pub runs: Vec<ValidationRun>,
}

/// Mean and sample standard deviation over the runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; 0 of one value.
    pub deviation: f64,
}

/// One training of a cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValidationRun {
    /// Its seed.
    pub seed: u64,
    /// The fold that it was judged on, counted from 1.
    pub fold: usize,
    /// The epoch that was kept.
    pub best_epoch: usize,
    /// How good it was there.
    pub metrics: Metrics,
}

/// What `evaluate` adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvaluateReport {
    /// The head.
    pub head: HeadReport,
    /// What was found.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// What `evaluate` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judgement {
    /// Rows that say nothing of the head.
    pub left_out: LeftOut,
    /// How good it is.
    pub evaluation: EvaluationReport,
    /// Labelled rows with a text that the head was trained on; null where that cannot be told.
    pub leaked_rows: Option<u64>,
}

/// Rows that say nothing of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// Rows without a label.
    pub rows_without_label: u64,
    /// Rows with a label that the head does not know.
    pub rows_with_unknown_label: u64,
    /// Rows that have no answer: no text, or the encoder failed on it.
    pub rows_without_answer: u64,
}

/// What of `evaluation.json` a run report repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvaluationReport {
    /// Rows that were judged.
    pub rows: u64,
    /// The figures, each with an interval of 95 %.
    pub metrics: BTreeMap<String, Interval>,
    /// The temperature that would calibrate these answers.
    pub temperature: f64,
    /// For the wanted precision, if one is.
    pub threshold: Option<Threshold>,
}

impl EvaluationReport {
    /// Of an evaluation.
    pub(crate) fn of(evaluation: &Evaluation) -> EvaluationReport {
        let metrics = evaluation.metrics.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        let Evaluation { rows, temperature, threshold, .. } = *evaluation;
        EvaluationReport { rows, metrics, temperature, threshold }
    }
}

impl Default for StageReport {
    fn default() -> StageReport {
        StageReport::Ingest(InputReport::default())
    }
}

impl StageReport {
    /// The stage's name.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            StageReport::Ingest(_) => "ingest",
            StageReport::Embed(_) => "embed",
            StageReport::Score(_) => "score",
            StageReport::Train(_) => "train",
            StageReport::Evaluate(_) => "evaluate",
        }
    }
}

impl LeftOut {
    /// Each reason in words, with its rows.
    pub(crate) fn reasons(&self) -> [(&'static str, u64); 3] {
        [
            ("rows without label", self.rows_without_label),
            ("rows with unknown label", self.rows_with_unknown_label),
            ("rows without answer", self.rows_without_answer),
        ]
    }
}

impl Spread {
    /// Of some values.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Spread {
        let values: Vec<f64> = values.collect();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread { mean, deviation: (squares / (count - 1.0).max(1.0)).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_mean_and_the_sample_deviation() {
        let spread = Spread::of([1.0, 2.0, 6.0].into_iter());
        assert_eq!(spread.mean, 3.0);
        assert!((spread.deviation - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of([2.0].into_iter()).deviation, 0.0);
    }
}
