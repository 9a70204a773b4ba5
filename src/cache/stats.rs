//! What a unit did and cost: rows, tokens, seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Seconds of work by its kind. Units overlap, so that the sum may be more than the wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Reading, unpacking and parsing the input.
    pub read: f64,
    /// Tokenizing.
    pub tokenize: f64,
    /// Sessions running, the mean over them: the device's time, where that is a GPU.
    pub encode: f64,
    /// Writing parts, fsync included.
    pub write: f64,
    /// Micro-batches waiting for a session, summed over them: next to nothing where the encoder starves.
    pub queue: f64,
}

impl StageSeconds {
    /// The kind of work that took the longest, if any was done: what to make faster first.
    pub fn limiting(&self) -> Option<&'static str> {
        let kinds = [("read", self.read), ("tokenize", self.tokenize), ("encode", self.encode), ("write", self.write)];
        let (kind, seconds) = kinds.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (seconds > 0.0).then_some(kind)
    }

    fn add(&mut self, other: &StageSeconds) {
        self.read += other.read;
        self.tokenize += other.tokenize;
        self.encode += other.encode;
        self.write += other.write;
        self.queue += other.queue;
    }
}

/// What a unit did and cost; sums over units are the totals of `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitStats {
    /// Rows that went on to the stage's main dataset.
    pub rows_out: u64,
    /// Rows that went to `rejects`.
    pub rows_rejected: u64,
    /// Rows (inside `rows_out`) whose text had been encoded already.
    pub rows_deduplicated: u64,
    /// Tokens fed to the encoder, without padding.
    pub tokens: u64,
    /// Rows times width over all micro-batches.
    pub padded_tokens: u64,
    /// Wall seconds of the run between the commit before this one and this one.
    pub seconds: f64,
    /// Of these, seconds in which the encoder had work.
    pub encoder_seconds: f64,
    /// Rows with a true label that the head knows (score with `--label-column`).
    pub labelled: u64,
    /// Of these, rows whose most probable label is the true one.
    pub correct: u64,
    /// Sum over these rows of minus the natural logarithm of the true label's probability.
    pub log_loss_sum: f64,
    /// Rows with a true label that the head does not know.
    pub unknown_labels: u64,
    /// Rows that score has an answer for, but not one as sure as the head's threshold wants.
    #[serde(default)]
    pub rows_abstained: u64,
    /// Rows (rejected, or without an answer in score) whose text the encoder failed on.
    #[serde(default)]
    pub rows_failed: u64,
    /// Micro-batches that failed and were split.
    #[serde(default)]
    pub batches_split: u64,
    /// Texts that were encoded.
    #[serde(default)]
    pub texts: u64,
    /// Of these, texts that have more tokens than the encoder was to see.
    #[serde(default)]
    pub texts_truncated: u64,
    /// `rows_rejected` by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, u64>,
    /// Texts whose vectors came from a cache.
    #[serde(default)]
    pub texts_cached: u64,
    /// Where the time went.
    #[serde(default)]
    pub stage_seconds: StageSeconds,
}

impl UnitStats {
    /// What the encoder did and cost, without the rows that came of it.
    pub(super) fn of_encoder(&self) -> UnitStats {
        UnitStats {
            tokens: self.tokens,
            padded_tokens: self.padded_tokens,
            seconds: self.seconds,
            encoder_seconds: self.encoder_seconds,
            stage_seconds: self.stage_seconds,
            batches_split: self.batches_split,
            texts: self.texts,
            texts_truncated: self.texts_truncated,
            ..UnitStats::default()
        }
    }

    /// Adds another unit's figures.
    pub fn add(&mut self, other: &UnitStats) {
        self.rows_out += other.rows_out;
        self.rows_rejected += other.rows_rejected;
        self.rows_deduplicated += other.rows_deduplicated;
        self.tokens += other.tokens;
        self.padded_tokens += other.padded_tokens;
        self.seconds += other.seconds;
        self.encoder_seconds += other.encoder_seconds;
        self.labelled += other.labelled;
        self.correct += other.correct;
        self.log_loss_sum += other.log_loss_sum;
        self.unknown_labels += other.unknown_labels;
        self.rows_abstained += other.rows_abstained;
        self.rows_failed += other.rows_failed;
        self.batches_split += other.batches_split;
        self.texts += other.texts;
        self.texts_truncated += other.texts_truncated;
        for (reason, rows) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += rows;
        }
        self.texts_cached += other.texts_cached;
        self.stage_seconds.add(&other.stage_seconds);
    }
}
