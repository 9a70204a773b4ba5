//! The command `predict`: a few texts, judged at once, no folder written.

use hashbrown::HashMap;
use serde::Serialize;

use crate::encode::Encoder;
use crate::engine::Opened;
use crate::evaluate::most_probable;
use crate::head::{Bundle, Head};
use crate::ingest::Clean;
use crate::pipeline::encoder::{CalibrateFrom, encoder_of};
use crate::pipeline::{Error, PredictOptions, Result};
use crate::telemetry::Terminal;
use crate::tokenize::Pool;

/// What the head says of one text.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Prediction {
    /// The text as given.
    pub text: String,
    /// The most probable label; `None` for an empty text, or one that the encoder failed on.
    pub label: Option<String>,
    /// Its probability.
    pub probability: Option<f32>,
    /// Whether that is less than the head's wanted precision takes; absent where the head has no threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstained: Option<bool>,
    /// Probability of every class by label.
    pub probabilities: serde_json::Map<String, serde_json::Value>,
    /// Tokens with specials, before truncation.
    pub n_tokens: Option<u32>,
    /// Whether the text was longer than the encoder sees.
    pub truncated: bool,
    /// Why the encoder failed on it, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A head and its encoder, ready to judge.
pub(crate) struct Predictor {
    bundle: Bundle,
    head: Head,
    clean: Clean,
    encoder: Encoder,
    pool: Pool,
}

impl Predictor {
    /// Loads the head of `options` and its encoder.
    pub(crate) fn open(options: &PredictOptions, terminal: Terminal) -> Result<Predictor> {
        let (bundle, head) = Bundle::load(&options.head)?;
        let clean = bundle.encoder.identity.clean;
        let mut planned = encoder_of(
            &bundle,
            &options.head,
            options.model.as_deref(),
            &options.device,
            CalibrateFrom::Kept,
            terminal,
        )?;
        if planned.chosen.plan_source != "flags" {
            planned.chosen.plan = planned.chosen.plan.in_one_session();
        }
        let Opened { encoder, pool } = planned.open(Terminal { quiet: true, ..terminal })?;
        Ok(Predictor { bundle, head, clean, encoder, pool })
    }

    /// Judges `texts`, in their order.
    pub(crate) fn predict(&self, texts: &[String]) -> Result<Vec<Prediction>> {
        judge(self, texts)
    }
}

fn judge(predictor: &Predictor, texts: &[String]) -> Result<Vec<Prediction>> {
    let Predictor { bundle, head, clean, encoder, pool } = predictor;
    let cleaned: Vec<String> = texts.iter().map(|text| clean.apply(text.clone())).collect();
    let filled: Vec<usize> = (0..texts.len()).filter(|i| !cleaned[*i].is_empty()).collect();
    let views: Vec<&str> = filled.iter().map(|i| cleaned[*i].as_str()).collect();
    let tokenized = encoder.tokenizer().encode(&views, pool);
    let threads = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Runtime)?;
    let plans = encoder.micro_batches(&tokenized.lengths());
    let vectors = threads.block_on(encoder.encode_texts(&tokenized, plans))?;
    let mut failed: HashMap<usize, String> =
        vectors.failed.into_iter().map(|failed| (failed.text, failed.reason)).collect();
    let probabilities = head.probabilities(&vectors.values);
    let mut predictions: Vec<Prediction> = texts.iter().map(|text| empty(text)).collect();
    for (at, values) in probabilities.chunks_exact(bundle.labels.len()).enumerate() {
        let prediction = &mut predictions[filled[at]];
        prediction.error = failed.remove(&at);
        if prediction.error.is_none() {
            fill(prediction, &bundle.labels, values);
            let sure = prediction.probability.zip(bundle.least_confidence());
            prediction.abstained = sure.map(|(probability, least)| f64::from(probability) < least);
            prediction.n_tokens = Some(tokenized.n_tokens(at));
            prediction.truncated = tokenized.truncated(at);
        }
    }
    Ok(predictions)
}

fn empty(text: &str) -> Prediction {
    let probabilities = serde_json::Map::new();
    Prediction {
        text: text.to_owned(),
        label: None,
        probability: None,
        abstained: None,
        probabilities,
        n_tokens: None,
        truncated: false,
        error: None,
    }
}

fn fill(prediction: &mut Prediction, labels: &[String], values: &[f32]) {
    let class = most_probable(values);
    prediction.label = Some(labels[class].clone());
    prediction.probability = Some(values[class]);
    prediction.probabilities =
        labels.iter().zip(values).map(|(label, value)| (label.clone(), serde_json::json!(value))).collect();
}
