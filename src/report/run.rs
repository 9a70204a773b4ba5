//! What a stage was asked for, resolved: everything that determines its output.
//!
//! The first line of `manifest.jsonl` holds it. The same run goes on where it stopped, any other is refused, and what
//! vectors mean is read from it wherever they meet a head or another cache. The keys are those of format 2; a setting that
//! came later is left out where it has the value that it had before.

use serde::{Deserialize, Serialize};

use crate::cache::{self, RecordedRun};
use crate::encode::{Calibration, EncoderIdentity, Numerics};
use crate::evaluate::Threshold;
use crate::head::Recipe;
use crate::ingest::Reading;

/// Raised whenever the layout of an output folder changes.
pub(crate) const OUTPUT_FORMAT: u32 = 2;

/// A run, by its stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(crate) enum Run {
    /// `bertline ingest`
    Ingest(InputRun),
    /// `bertline embed`
    Embed(Box<EmbedRun>),
    /// `bertline score`
    Score(Box<ScoreRun>),
    /// `bertline train`
    Train(Box<TrainRun>),
    /// `bertline evaluate` on what other stages left
    Evaluate(EvaluateRun),
}

/// What is read, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputRun {
    /// [`OUTPUT_FORMAT`] of the program that wrote the output.
    pub format: u32,
    /// The inputs as given.
    pub inputs: Vec<String>,
    /// What they were when they were found: the one thing that may differ when a run goes on.
    pub snapshot: Snapshot,
    /// How they are read, as far as it determines the output.
    pub reading: TypedReading,
}

/// What the files of an input were: where it is the same, so are their contents, and no digest is needed to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// How many.
    pub files: usize,
    /// Bytes of all.
    pub bytes: u64,
    /// Digest of their names, sizes, times of change and inodes.
    pub state: String,
}

/// How inputs are read, and what comes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TypedReading {
    /// As it was resolved.
    #[serde(flatten)]
    pub reading: Reading,
    /// The types of the kept columns, which must not change from one part to the next.
    pub keep_types: Vec<String>,
}

/// What makes the vectors of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EncoderRun {
    /// Name or folder of the model.
    pub model: String,
    /// What a vector means.
    pub encoder: EncoderIdentity,
    /// Stands for it.
    pub encoder_id: String,
    /// How it is computed, in a word.
    pub numerics: String,
    /// The same by its parts.
    pub numerics_parts: Numerics,
    /// How the encoder is quantised, where it is: whole, so that a head can be trained where the model cache is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// A run of `embed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EmbedRun {
    /// What is read.
    #[serde(flatten)]
    pub input: InputRun,
    /// What makes the vectors.
    #[serde(flatten)]
    pub encoder: EncoderRun,
    /// Whether rows without a label are rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_label: bool,
}

/// A run of `score`, also where `evaluate` scores reviews first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoreRun {
    /// What is read.
    #[serde(flatten)]
    pub input: InputRun,
    /// What makes the vectors.
    #[serde(flatten)]
    pub encoder: EncoderRun,
    /// The head.
    pub head_digest: String,
    /// What its logits are divided by, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Below which confidence it abstains, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
}

/// A run of `train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainRun {
    /// As it is run, or tried around in a sweep.
    pub recipe: Recipe,
    /// The share of answers that is to be right, where one is wanted.
    pub target_precision: Option<f64>,
    /// Whether many recipes are tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sweep: bool,
    /// `cuda` where a GPU trains, since it adds in another order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Cross-validation, where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<Repetitions>,
    /// The features.
    pub input: TrainInput,
}

/// How often is trained on parts of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repetitions {
    /// Folds of each seed.
    pub folds: Option<usize>,
    /// Seeds.
    pub repeats: Option<u64>,
}

/// The features that a head is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainInput {
    /// Outputs of `embed`, as given.
    pub inputs: Vec<String>,
    /// The one to validate on, where that is one of its own.
    pub validation: Option<String>,
    /// Digests of their parts, in that order.
    pub state: Vec<String>,
}

/// A run of `evaluate` on features or predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvaluateRun {
    /// The head.
    pub head_digest: String,
    /// Outputs of `embed` or of `score`, as given.
    pub inputs: Vec<String>,
    /// The share of answers that is to be right, where one is wanted.
    pub target_precision: Option<f64>,
    /// Digests of their parts.
    pub state: Vec<String>,
}

impl Run {
    /// As the manifest holds it.
    pub(crate) fn record(&self) -> RecordedRun {
        RecordedRun::of(self)
    }
}

impl EncoderRun {
    /// What made the vectors of the run that left `out`.
    ///
    /// # Errors
    /// Where the run made none.
    pub(crate) fn of(run: &RecordedRun, out: &std::path::Path) -> cache::Result<EncoderRun> {
        run.read(out)
    }

    /// Each way in which its vectors differ from those of another encoder or numerics.
    pub(crate) fn differences(&self, identity: &EncoderIdentity, numerics: &Numerics) -> Vec<String> {
        let mut differences = self.encoder.differences(identity);
        differences.extend(self.numerics_parts.differences(numerics));
        differences
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As bertline 0.1.0 wrote them.
    fn recorded() -> [Value; 2] {
        let reading = json!({
            "text_column": null, "label_column": "stars", "find_label": true, "format": "auto", "header": true,
            "encoding": "auto", "clean": "none", "limit": null, "keep": [], "unit_bytes": 2097152, "keep_types": [],
        });
        let snapshot = json!({ "files": 1, "bytes": 12, "state": "00ff" });
        let recipe = serde_json::to_value(crate::head::RecipeName::Default.recipe()).unwrap();
        [
            json!({ "command": "ingest", "format": 2, "inputs": ["in.csv"], "snapshot": snapshot, "reading": reading }),
            json!({
                "command": "train", "recipe": recipe, "target_precision": null, "sweep": true,
                "input": { "inputs": ["features"], "validation": null, "state": ["0123456789abcdef"] },
            }),
        ]
    }

    #[test]
    fn runs_are_written_by_the_keys_that_they_are_read_by() {
        for value in recorded() {
            let run: Run = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&run).unwrap(), value);
            assert_eq!(run.record().parse::<Run>().unwrap(), run);
            assert_eq!(run.record().command(), value["command"].as_str());
        }
    }

    #[test]
    fn what_was_no_setting_once_is_not_written_where_it_has_its_old_value() {
        let [_, mut train] = recorded();
        train["sweep"] = json!(false);
        let run: Run = serde_json::from_value(train).unwrap();
        let written = serde_json::to_value(&run).unwrap();
        assert!(written.get("sweep").is_none() && written.get("device").is_none(), "{written}");
    }
}
