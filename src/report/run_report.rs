//! `run.json`: what ran, on what, and what it cost.
//!
//! Totals are of the whole output, summed over the units that the manifest names, so that they hold across restarts;
//! `this_run` is of this process alone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StageReport;
use crate::cache::{self, Manifest, StageSeconds, UnitStats};
use crate::encode::{Chosen, EncoderIdentity, Numerics, Plan};
use crate::head::BundleEncoder;
use crate::schema::RejectCounts;
use crate::telemetry::peak_rss_bytes;

/// One input argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// As given.
    pub path: String,
    /// Files behind it.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// BLAKE3-128 of the file, or of the files' names and digests in order.
    pub digest: String,
}

/// What this process did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThisRun {
    /// Units committed.
    pub units: u64,
    /// Records read.
    pub rows: u64,
    /// Tokens fed to the encoder.
    pub tokens: u64,
    /// Wall seconds.
    pub seconds: f64,
}

/// The encoder behind a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EncoderReport {
    /// Name or folder of the model.
    pub model: Option<String>,
    /// Identity: must match wherever vectors meet a head or another cache.
    pub encoder_id: Option<String>,
    /// Precision and provider.
    pub numerics: Option<String>,
    /// Tokens of a text that the encoder sees.
    pub max_length: Option<u32>,
    /// Where it computes, and where a head was trained: cpu, cuda:0, ...
    pub device: Option<String>,
    /// Execution provider.
    pub provider: Option<String>,
    /// Arithmetic.
    pub precision: Option<String>,
    /// Why this precision.
    pub precision_reason: Option<String>,
    /// Threads over all sessions.
    pub threads: Option<usize>,
    /// How the sessions share the machine.
    pub plan: Option<Plan>,
    /// Where the plan comes from: `default`, `tuned` or `flags`.
    pub plan_source: Option<String>,
}

impl EncoderReport {
    /// Describes the encoder behind a head that was not needed.
    pub(crate) fn behind(encoder: &BundleEncoder) -> EncoderReport {
        EncoderReport {
            model: Some(encoder.model.clone()),
            encoder_id: Some(encoder.identity.id()),
            numerics: Some(encoder.numerics.to_string()),
            max_length: Some(encoder.identity.max_length),
            ..EncoderReport::default()
        }
    }

    /// Describes an encoder that is going to run, or would if there were anything to encode.
    pub(crate) fn of(model: &str, identity: &EncoderIdentity, numerics: &Numerics, chosen: &Chosen) -> EncoderReport {
        EncoderReport {
            model: Some(model.to_owned()),
            encoder_id: Some(identity.id()),
            numerics: Some(numerics.to_string()),
            max_length: Some(identity.max_length),
            device: Some(chosen.device()),
            provider: Some(numerics.provider.clone()),
            precision: Some(numerics.precision.to_string()),
            precision_reason: Some(chosen.reason.clone()),
            threads: Some(chosen.plan.sessions * chosen.plan.threads),
            plan: Some(chosen.plan),
            plan_source: Some(chosen.plan_source.to_owned()),
        }
    }
}

/// The report of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunReport {
    /// The stage, and what it alone has to say.
    #[serde(flatten)]
    pub stage: StageReport,
    /// bertline's version.
    pub version: String,
    /// When this process started, RFC 3339.
    pub started: String,
    /// Wall seconds over all processes that worked on the output.
    pub seconds: f64,
    /// Records of the input.
    pub rows_in: u64,
    /// Rows of the stage's main dataset.
    pub rows_out: u64,
    /// Rows of `rejects`.
    pub rows_rejected: u64,
    /// `rows_rejected` by reason.
    pub rejected: RejectCounts,
    /// Rows (inside `rows_out`) whose text was encoded for another row.
    pub rows_deduplicated: u64,
    /// Rows whose text the encoder failed on: rejected, or without an answer in score.
    pub rows_failed: u64,
    /// Micro-batches that failed and were split.
    pub batches_split: u64,
    /// Texts that were encoded.
    pub texts: u64,
    /// Share of these that have more tokens than the encoder was to see.
    pub truncated_share: Option<f64>,
    /// Texts whose vectors came from a cache, over the units' distinct texts.
    pub texts_cached: u64,
    /// Tokens fed to the encoder, without padding.
    pub tokens: u64,
    /// Rows times width over all micro-batches.
    pub padded_tokens: u64,
    /// `padded_tokens / tokens`.
    pub padding_ratio: Option<f64>,
    /// Wall time from the first micro-batch handed to the encoder to the last vector out.
    pub encoder_seconds: f64,
    /// `tokens / encoder_seconds`.
    pub tokens_per_second: Option<f64>,
    /// Seconds of work by its kind.
    pub stage_seconds: StageSeconds,
    /// The kind of work that took the longest.
    pub limiting_stage: Option<String>,
    /// The encoder.
    #[serde(flatten)]
    pub encoder: EncoderReport,
    /// The process's largest resident set.
    pub peak_rss_bytes: Option<u64>,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// What this process did.
    pub this_run: ThisRun,
}

/// When a stage started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    started: String,
    clock: std::time::Instant,
}

impl Start {
    /// Now.
    pub(crate) fn now() -> Start {
        let started = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Start { started, clock: std::time::Instant::now() }
    }

    /// Wall seconds since then.
    pub(crate) fn seconds(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    /// The report of a stage whose units are in `manifest`; `this_run` gets its seconds here.
    pub(crate) fn report(
        &self,
        stage: StageReport,
        manifest: &Manifest,
        mut this_run: ThisRun,
        encoder: EncoderReport,
        inputs: Vec<Input>,
    ) -> RunReport {
        let (rows_in, stats) = manifest.totals();
        this_run.seconds = self.seconds();
        let UnitStats { tokens, padded_tokens, encoder_seconds, .. } = stats;
        // Laps cover the time between commits. Where all were of this process, what it spent outside them (opening the
        // model) counts too.
        let seconds = stats.seconds.max(this_run.seconds);
        RunReport {
            stage,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.clone(),
            seconds,
            rows_in,
            rows_out: stats.rows_out,
            rows_rejected: stats.rows_rejected,
            rejected: stats.rejected,
            rows_deduplicated: stats.rows_deduplicated,
            rows_failed: stats.rows_failed,
            batches_split: stats.batches_split,
            texts: stats.texts,
            truncated_share: (stats.texts > 0).then(|| stats.texts_truncated as f64 / stats.texts as f64),
            texts_cached: stats.texts_cached,
            tokens,
            padded_tokens,
            padding_ratio: (tokens > 0).then(|| padded_tokens as f64 / tokens as f64),
            encoder_seconds,
            tokens_per_second: (encoder_seconds > 0.0).then(|| tokens as f64 / encoder_seconds),
            stage_seconds: stats.stage_seconds,
            limiting_stage: stats.stage_seconds.limiting().map(str::to_owned),
            encoder,
            peak_rss_bytes: peak_rss_bytes(),
            inputs,
            this_run,
        }
    }
}

impl RunReport {
    /// The `run.json` of a finished stage.
    ///
    /// # Errors
    /// Where it is not there or not whole; names the file.
    pub(crate) fn read(dir: &Path) -> cache::Result<RunReport> {
        let path = dir.join("run.json");
        let text = fs_err::read(&path)?;
        serde_json::from_slice(&text).map_err(|source| cache::Error::Damaged { path, line: source.line(), source })
    }
}
