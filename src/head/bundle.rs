//! The head bundle: all that scoring needs to know about a head, in one folder.
//!
//! `bundle.json` says what the head is for (encoder, labels) and how it came about; `head.safetensors` holds the weights
//! that scoring reads; `head.onnx` is the same head for other programs. `bundle.json` is written last and names the
//! digest of the weights, so that a folder either is a whole bundle or is refused.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::weights::{from_safetensors, to_safetensors};
use super::{Error, Head, Result, TrainingReport, onnx};
use crate::encode::{Calibration, EncoderIdentity, Numerics};
use crate::evaluate::Threshold;
use crate::files;

/// The version of `bundle.json` that is written.
pub const BUNDLE_VERSION: u32 = 2;
/// The oldest that is still read: it has no temperature, threshold, training data and program.
const OLDEST_VERSION: u32 = 1;

const DESCRIPTION: &str = "bundle.json";
const WEIGHTS: &str = "head.safetensors";
const ONNX: &str = "head.onnx";

/// What `bundle.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_VERSION`] of the program that wrote it.
    pub version: u32,
    /// The classes' names in the order of the head's outputs.
    pub labels: Vec<String>,
    /// What makes the vectors that the head takes.
    pub encoder: BundleEncoder,
    /// How the head came about and how good it was.
    pub training: TrainingReport,
    /// What its logits are divided by before they become probabilities, fitted on the validation rows; 1 leaves them as
    /// they are.
    #[serde(default = "as_trained")]
    pub temperature: f64,
    /// Below which confidence it had better not answer, if a precision was wanted; told on the validation rows.
    #[serde(default)]
    pub threshold: Option<Threshold>,
    /// What it was trained on, and validated on where that was given apart.
    #[serde(default)]
    pub data: Vec<TrainingData>,
    /// The version of bertline that made it.
    #[serde(default)]
    pub program: String,
    /// BLAKE3 of `head.safetensors`, hexadecimal; [`Bundle::save`] fills it in.
    pub head_digest: String,
    /// When, in RFC 3339.
    pub created: String,
}

impl Bundle {
    /// The probability below which the head abstains: none where no precision was wanted, more than any where no
    /// confidence was high enough for it.
    pub fn least_confidence(&self) -> Option<f64> {
        self.threshold.map(|threshold| threshold.confidence.unwrap_or(f64::INFINITY))
    }
}

fn as_trained() -> f64 {
    1.0
}

/// An output of `embed` that a head was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingData {
    /// Its folder, as given.
    pub path: String,
    /// BLAKE3-128 over its parts' names and digests.
    pub digest: String,
}

/// The encoder that a head belongs behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEncoder {
    /// The model's name, or its folder, as it was given.
    pub model: String,
    /// What must match wherever vectors meet this head.
    pub identity: EncoderIdentity,
    /// How the training vectors were computed.
    pub numerics: Numerics,
    /// How the encoder was quantised, where it was: scoring must do likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

impl Bundle {
    /// Writes bundle and head into `dir`, which is made where it is missing, and returns what `bundle.json` now says:
    /// this bundle with the head's digest. Each file appears whole or not at all, `bundle.json` last.
    ///
    /// # Errors
    /// Where the folder cannot be written, or the head has other outputs than there are labels.
    pub fn save(&self, head: &Head, dir: &Path) -> Result<Bundle> {
        self.check_labels(head, dir)?;
        let weights = to_safetensors(head)?;
        let bundle = Bundle { head_digest: blake3::hash(&weights).to_hex().to_string(), ..self.clone() };
        let mut description = serde_json::to_vec_pretty(&bundle).map_err(Error::Describe)?;
        description.push(b'\n');

        let io = |source| Error::Io { action: "write", source };
        fs_err::create_dir_all(dir).map_err(io)?;
        // An older description must never stand beside new weights.
        match fs_err::remove_file(dir.join(DESCRIPTION)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let calibrated = onnx::encode(&head.clone().cooled(self.temperature), &self.labels);
        for (name, bytes) in [(WEIGHTS, weights), (ONNX, calibrated), (DESCRIPTION, description)] {
            files::write(&dir.join(name), &bytes).map_err(io)?;
        }
        Ok(bundle)
    }

    /// Reads a bundle and its head, which is calibrated: its temperature is in its last layer.
    ///
    /// # Errors
    /// Where `dir` is no bundle, its description has unknown keys or another version, the weights are not the ones that
    /// it names, or they do not make a head for its labels. Each names the file.
    pub fn load(dir: &Path) -> Result<(Bundle, Head)> {
        let path = dir.join(DESCRIPTION);
        let text = match fs_err::read(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(Error::NotABundle { dir: dir.to_owned() });
            }
            read => read.map_err(|source| Error::Io { action: "read", source })?,
        };
        let syntax = |source| Error::BundleSyntax { path: path.clone(), source };
        // Before the fields: another version may have others, and then its number is the better answer.
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(syntax)?;
        let readable = u64::from(OLDEST_VERSION)..=u64::from(BUNDLE_VERSION);
        if let Some(found) = value["version"].as_u64().filter(|found| !readable.contains(found)) {
            return Err(Error::BundleVersion { path, found, expected: BUNDLE_VERSION });
        }
        // From the text again: errors then tell line and column.
        let bundle: Bundle = serde_json::from_slice(&text).map_err(syntax)?;

        let weights_path = dir.join(WEIGHTS);
        let weights = fs_err::read(&weights_path).map_err(|source| Error::Io { action: "read", source })?;
        let found = blake3::hash(&weights).to_hex().to_string();
        if found != bundle.head_digest {
            return Err(Error::DigestMismatch { path: weights_path, found, expected: bundle.head_digest });
        }
        let head = from_safetensors(&weights, &weights_path)?;
        bundle.check_labels(&head, dir)?;
        if !(bundle.temperature.is_finite() && bundle.temperature > 0.0) {
            return Err(Error::Temperature { path: dir.join(DESCRIPTION), found: bundle.temperature });
        }
        let head = head.cooled(bundle.temperature);
        Ok((bundle, head))
    }

    fn check_labels(&self, head: &Head, dir: &Path) -> Result<()> {
        if head.classes() == self.labels.len() {
            return Ok(());
        }
        Err(Error::LabelCount { path: dir.join(DESCRIPTION), labels: self.labels.len(), outputs: head.classes() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::random_head;
    use super::*;
    use crate::encode::{Layers, Pooling, Precision};
    use crate::head::{EpochMetrics, Recipe, SplitBy, evaluate};
    use crate::ingest::Clean;
    use crate::tokenize::Truncation;

    fn bundle() -> Bundle {
        let text = |text: &str| text.to_owned();
        let epoch = EpochMetrics {
            epoch: 1,
            train_loss: 0.5,
            validation_loss: 0.25,
            validation_accuracy: 0.75,
            seconds: 0.125,
        };
        Bundle {
            version: BUNDLE_VERSION,
            labels: vec![text("negative"), text("neutral"), text("positive")],
            encoder: BundleEncoder {
                model: text("all-MiniLM-L6-v2"),
                identity: EncoderIdentity {
                    format: 1,
                    weights: text("w"),
                    architecture: text("a"),
                    tokenizer: text("t"),
                    pooling: Pooling::Cls,
                    layers: Layers::Last,
                    max_length: 250,
                    truncation: Truncation::Head,
                    clean: Clean::None,
                },
                numerics: Numerics {
                    precision: Precision::Fp32,
                    provider: text("cpu"),
                    calibration: None,
                    floats: None,
                },
                calibration: None,
            },
            training: TrainingReport {
                recipe: Recipe::article(),
                train_rows: 4,
                validation_rows: 1,
                only_in_train: vec![1],
                epochs: vec![epoch],
                best_epoch: 1,
                validation: evaluate(&[0.5, 0.25, 0.25], &[0], 3),
            },
            temperature: 1.0,
            threshold: None,
            data: vec![TrainingData { path: text("features"), digest: text("d") }],
            program: text("0.1.0"),
            head_digest: String::new(),
            created: text("2026-01-01T00:00:00Z"),
        }
    }

    fn saved() -> (tempfile::TempDir, Bundle, Head) {
        let dir = tempfile::tempdir().unwrap();
        let head = random_head(&[8, 4, 3]);
        let written = bundle().save(&head, dir.path()).unwrap();
        (dir, written, head)
    }

    #[test]
    fn bundles_come_back_as_they_were_and_leave_nothing_else() {
        let (dir, written, head) = saved();
        assert_eq!(written, Bundle { head_digest: written.head_digest.clone(), ..bundle() });
        assert_eq!(Bundle::load(dir.path()).unwrap(), (written, head));
        let mut names: Vec<_> = fs_err::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [DESCRIPTION, ONNX, WEIGHTS]);
    }

    #[test]
    fn a_head_comes_back_calibrated_and_its_weights_stay_as_they_were_trained() {
        let dir = tempfile::tempdir().unwrap();
        let head = random_head(&[8, 3]);
        let written = Bundle { temperature: 2.0, ..bundle() }.save(&head, dir.path()).unwrap();
        let (read, calibrated) = Bundle::load(dir.path()).unwrap();
        assert_eq!(read, written);
        let features = [0.25; 8];
        let halved: Vec<f32> = head.logits(&features).iter().map(|logit| logit / 2.0).collect();
        let found = calibrated.logits(&features);
        assert!(found.iter().zip(&halved).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {halved:?}");
        assert_eq!(from_safetensors(&fs_err::read(dir.path().join(WEIGHTS)).unwrap(), dir.path()).unwrap(), head);
    }

    #[test]
    fn a_bundle_of_the_first_version_still_opens() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle-1");
        let (bundle, head) = Bundle::load(&dir).unwrap();
        assert_eq!((bundle.version, bundle.temperature, bundle.threshold), (1, 1.0, None));
        assert_eq!((head.width(), bundle.labels), (384, vec!["neg".to_owned(), "pos".to_owned()]));
        assert_eq!(bundle.training.recipe.split, SplitBy::Rows);
    }

    #[test]
    fn saving_again_replaces_the_old_bundle() {
        let (dir, ..) = saved();
        let other = random_head(&[8, 3]);
        bundle().save(&other, dir.path()).unwrap();
        assert_eq!(Bundle::load(dir.path()).unwrap().1, other);
    }

    #[test]
    fn changed_weights_are_refused() {
        let (dir, ..) = saved();
        let path = dir.path().join(WEIGHTS);
        let mut bytes = fs_err::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let error = Bundle::load(dir.path()).unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }) && !error.is_usage());
        assert!(error.to_string().contains(WEIGHTS));
        fs_err::remove_file(&path).unwrap();
        assert!(matches!(Bundle::load(dir.path()), Err(Error::Io { action: "read", .. })));
    }

    /// What loading says once `from` reads `to` in the description.
    fn with_description(from: &str, to: &str) -> Error {
        let (dir, ..) = saved();
        let path = dir.path().join(DESCRIPTION);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
        Bundle::load(dir.path()).unwrap_err()
    }

    #[test]
    fn descriptions_that_this_version_does_not_write_are_refused() {
        for (from, to) in [
            ("\"labels\"", "\"colour\": 1, \"labels\""),
            ("\"epochs\": 5", "\"epochs\": 5, \"momentum\": 1"),
            ("\"model\"", "\"modle\""),
            ("{", ""),
        ] {
            let error = with_description(from, to);
            assert!(matches!(error, Error::BundleSyntax { .. }), "{error:?}");
            assert!(error.to_string().contains(DESCRIPTION));
        }
        let error = with_description("\"version\": 2", "\"version\": 3, \"more\": 3");
        assert!(matches!(error, Error::BundleVersion { found: 3, .. }));
        let error = with_description("\"temperature\": 1.0", "\"temperature\": 0.0");
        assert!(matches!(error, Error::Temperature { found: 0.0, .. }));
        let error = with_description("\"neutral\",", "");
        assert!(matches!(error, Error::LabelCount { labels: 2, outputs: 3, .. }));
    }

    #[test]
    fn other_folders_and_other_heads_are_no_bundle() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("absent")] {
            let error = Bundle::load(&path).unwrap_err();
            assert!(matches!(error, Error::NotABundle { .. }) && error.is_usage());
        }
        let error = bundle().save(&random_head(&[8, 2]), dir.path()).unwrap_err();
        assert!(matches!(error, Error::LabelCount { labels: 3, outputs: 2, .. }));
        assert!(fs_err::read_dir(dir.path()).unwrap().next().is_none());
    }
}
