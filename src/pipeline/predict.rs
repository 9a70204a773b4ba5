//! The command `predict`: a few texts, judged at once, no folder written.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::score::encoder_of;
use super::{Error, PredictOptions, Result};
use crate::encode::{Encoder, MicroBatch, TOKEN_BUDGET, plan_micro_batches};
use crate::head::{Bundle, Head};
use crate::ingest::Clean;
use crate::telemetry::Terminal;
use crate::tokenize::Pool;

/// What the head says of one text.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// The text as given.
    pub text: String,
    /// The most probable label; `None` for an empty text.
    pub label: Option<String>,
    /// Its probability.
    pub probability: Option<f32>,
    /// Probability of every class by label.
    pub probabilities: serde_json::Map<String, serde_json::Value>,
    /// Tokens with specials, before truncation.
    pub n_tokens: Option<u32>,
    /// Whether the text was longer than the encoder sees.
    pub truncated: bool,
}

/// A head and its encoder, ready to judge.
pub struct Predictor {
    bundle: Bundle,
    head: Head,
    clean: Clean,
    encoder: Encoder,
    pool: Pool,
}

impl Predictor {
    /// Loads the head of `options` and its encoder.
    pub fn open(options: &PredictOptions, terminal: Terminal) -> Result<Predictor> {
        let (bundle, head) = Bundle::load(&options.head)?;
        let clean = bundle.encoder.identity.clean.parse()?;
        let planned = encoder_of(&bundle, &options.head, options.model.as_deref(), &options.device, terminal)?;
        let (encoder, pool) = planned.open(Terminal { quiet: true, ..terminal })?;
        Ok(Predictor { bundle, head, clean, encoder, pool })
    }

    /// Judges `texts`, in their order.
    pub fn predict(&self, texts: &[String]) -> Result<Vec<Prediction>> {
        judge(self, texts)
    }
}

fn judge(predictor: &Predictor, texts: &[String]) -> Result<Vec<Prediction>> {
    let Predictor { bundle, head, clean, encoder, pool } = predictor;
    let cleaned: Vec<String> = texts.iter().map(|text| clean.apply(text.clone())).collect();
    let filled: Vec<usize> = (0..texts.len()).filter(|i| !cleaned[*i].is_empty()).collect();
    let views: Vec<&str> = filled.iter().map(|i| cleaned[*i].as_str()).collect();
    let tokenized = encoder.tokenizer().encode(&views, pool);
    let pad = encoder.tokenizer().pad_id();
    let threads = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Runtime)?;
    let batches: Vec<_> = threads.block_on(
        stream::iter(plan_micro_batches(&tokenized.lengths(), TOKEN_BUDGET))
            .map(|plan| {
                let batch = MicroBatch::gather(&plan, pad, |row| tokenized.ids(row));
                let encoder = encoder.clone();
                async move { encoder.encode(batch).await.map(|vectors| (plan, vectors)) }
            })
            .buffer_unordered(2)
            .try_collect(),
    )?;
    let mut predictions: Vec<Prediction> = texts.iter().map(|text| empty(text)).collect();
    for (plan, vectors) in batches {
        let probabilities = head.probabilities(&vectors);
        for (row, values) in plan.rows.iter().zip(probabilities.chunks_exact(bundle.labels.len())) {
            let prediction = &mut predictions[filled[*row]];
            fill(prediction, &bundle.labels, values);
            prediction.n_tokens = Some(tokenized.n_tokens(*row));
            prediction.truncated = tokenized.truncated(*row);
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
        probabilities,
        n_tokens: None,
        truncated: false,
    }
}

fn fill(prediction: &mut Prediction, labels: &[String], values: &[f32]) {
    // The first of equals, as in bulk scoring.
    let best = values.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    prediction.label = best.map(|(class, _)| labels[class].clone());
    prediction.probability = best.map(|(_, value)| *value);
    prediction.probabilities =
        labels.iter().zip(values).map(|(label, value)| (label.clone(), serde_json::json!(value))).collect();
}
