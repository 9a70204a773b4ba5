//! Texts to vectors, whatever becomes of single micro-batches.
//!
//! One that fails (too little memory, a text that the provider cannot take) is split by rows and its halves are tried
//! again, down to single texts; where memory was too small, later ones are split before they are tried. A text that fails alone is told apart and the others go on. A provider that is broken
//! must not turn a million texts into failures, so where nothing succeeds any more that is the error.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::allowance::Allowance;
use super::{BatchPlan, Encoder, Error, MicroBatch, Result};
use crate::tokenize::Tokenized;

/// So many texts that fail alone, none encoded in between, put the provider in doubt.
const DOUBTFUL: usize = 8;
/// The most characters that are kept of a reason's beginning and of its end: providers begin with where they are, and
/// end with what is wrong.
const REASON: [usize; 2] = [80, 200];

/// What became of the texts of a few micro-batches.
#[derive(Debug, Default)]
pub struct Vectors {
    /// Row-major [texts, width]; zeros where a text was in no micro-batch, or failed.
    pub values: Vec<f32>,
    /// The texts that cannot be encoded.
    pub failed: Vec<Failed>,
    /// Tokens of the texts that were encoded.
    pub tokens: u64,
    /// The same with padding.
    pub padded_tokens: u64,
    /// How often a micro-batch failed and was split.
    pub splits: u64,
}

/// A text that the provider fails on even alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its index.
    pub text: usize,
    /// The provider's message, on one line.
    pub reason: String,
}

impl Encoder {
    /// The vectors of the texts that `plans` name.
    ///
    /// # Errors
    /// Where the provider is broken, rather than single texts are beyond it; or where a micro-batch is malformed.
    pub async fn encode_texts(&self, texts: &Tokenized, plans: Vec<BatchPlan>) -> Result<Vectors> {
        let texts = Texts {
            texts,
            lengths: texts.lengths(),
            pad: self.tokenizer().pad_id(),
            width: self.width(),
            in_flight: self.in_flight(),
            allowance: self.allowance(),
            packed: self.packs(),
        };
        texts.encode(plans, |batch| self.encode(batch)).await
    }
}

struct Texts<'a> {
    texts: &'a Tokenized,
    lengths: Vec<u32>,
    pad: u32,
    width: usize,
    in_flight: usize,
    allowance: &'a Allowance,
    /// Whether padding costs nothing.
    packed: bool,
}

impl Texts<'_> {
    async fn encode<F, Answer>(&self, mut waiting: Vec<BatchPlan>, encode: F) -> Result<Vectors>
    where
        F: Fn(MicroBatch) -> Answer,
        Answer: Future<Output = Result<Vec<f32>>>,
    {
        // A stack, so that halves are tried before anything new.
        waiting.reverse();
        let mut vectors = Vectors { values: vec![0.0; self.lengths.len() * self.width], ..Vectors::default() };
        let mut running = FuturesUnordered::new();
        let mut failures_in_a_row = 0;
        let mut last = None;
        loop {
            while running.len() < self.in_flight
                && let Some(plan) = waiting.pop()
            {
                if !self.allowance.takes(self.paid(&plan))
                    && let Some([front, back]) = plan.halves(&self.lengths)
                {
                    waiting.extend([back, front]);
                    continue;
                }
                let answer = encode(MicroBatch::gather(&plan, self.pad, |row| self.texts.ids(row)));
                running.push(async move { (plan, answer.await) });
            }
            let Some((plan, answer)) = running.next().await else { break };
            let error = match answer {
                Ok(rows) => {
                    self.put(&mut vectors, &plan, &rows);
                    self.allowance.fitted(self.paid(&plan));
                    failures_in_a_row = 0;
                    continue;
                }
                Err(error) if error.is_of_batch() => error,
                Err(error) => return Err(error),
            };
            if let Some([front, back]) = plan.halves(&self.lengths) {
                if error.is_of_memory() {
                    self.allowance.too_large(self.paid(&plan));
                }
                vectors.splits += 1;
                waiting.extend([back, front]);
                continue;
            }
            vectors.failed.push(Failed { text: plan.rows[0], reason: reason(&error) });
            failures_in_a_row += 1;
            if failures_in_a_row % DOUBTFUL == 0 {
                encode(self.harmless(&plan)).await?;
            }
            last = Some((plan, error));
        }
        match last {
            Some((_, error)) if vectors.tokens == 0 && vectors.failed.len() >= DOUBTFUL => Err(error),
            Some((plan, _)) if vectors.tokens == 0 => encode(self.harmless(&plan)).await.map(|_| vectors),
            _ => Ok(vectors),
        }
    }

    fn put(&self, vectors: &mut Vectors, plan: &BatchPlan, rows: &[f32]) {
        vectors.tokens += self.tokens(plan) as u64;
        vectors.padded_tokens += self.paid(plan) as u64;
        for (row, vector) in plan.rows.iter().zip(rows.chunks_exact(self.width)) {
            vectors.values[row * self.width..(row + 1) * self.width].copy_from_slice(vector);
        }
    }

    fn tokens(&self, plan: &BatchPlan) -> usize {
        plan.rows.iter().map(|&row| self.lengths[row] as usize).sum()
    }

    /// Tokens that a micro-batch costs: with those of padding, where it has any.
    fn paid(&self, plan: &BatchPlan) -> usize {
        if self.packed { self.tokens(plan) } else { plan.rows.len() * plan.width }
    }

    /// A text of the shape of the one in `plan`, of padding alone: where that fails too, no text is at fault.
    fn harmless(&self, plan: &BatchPlan) -> MicroBatch {
        let lengths = plan.rows.iter().map(|&row| self.lengths[row]).collect();
        MicroBatch { width: plan.width, lengths, ids: vec![self.pad as i32; plan.rows.len() * plan.width] }
    }
}

/// The provider's own words, where there are any.
fn reason(error: &Error) -> String {
    let said = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters: Vec<char> = line.chars().collect();
    let [front, back] = REASON;
    if characters.len() <= front + back {
        return line;
    }
    let (front, back) = (&characters[..front], &characters[characters.len() - back..]);
    [front, &['.'; 3], back].concat().into_iter().collect()
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
