//! What a finished stage says: a line or two for people, its report with `--json`.

use std::path::Path;

use crate::evaluate::{Interval, NAMES, Threshold};
use crate::pipeline::{self, Exported, Outcome};
use crate::report::{Abstained, EvaluationReport, Judgement, RowMetrics, RunReport, StageReport, TrainReport};
use crate::telemetry::Terminal;

/// Says how a stage ended.
pub(super) fn outcome(terminal: Terminal, out: &Path, outcome: &Outcome) {
    match outcome {
        Outcome::Done(report) => {
            if !matches!(report.stage, StageReport::Evaluate(_)) {
                terminal.say(&format!("{}: {} -> {}", report.stage.command(), figures(report), out.display()));
            }
            stage(terminal, out, report);
        }
        Outcome::AlreadyDone(report) => stage(terminal, out, report),
        Outcome::Judged(report) => {
            if let StageReport::Score(score) = &report.stage
                && let Some(judgement) = &score.judgement
            {
                evaluation(terminal, out, judgement);
            }
        }
        Outcome::Exported(exported) => self::exported(terminal, exported),
    }
    if terminal.json {
        terminal.print(&outcome.json().to_string());
    }
}

/// What else there is to say of a report.
fn stage(terminal: Terminal, out: &Path, report: &RunReport) {
    let command = report.stage.command();
    if let StageReport::Evaluate(evaluated) = &report.stage {
        return evaluation(terminal, out, &evaluated.judgement);
    }
    if report.rows_rejected > 0 {
        terminal.say(&format!("{command}: what was rejected, and why: bertline show {}", out.display()));
    }
    if report.rows_failed > 0 {
        let fate = if command == "score" { "have no label" } else { "are rejects (encoder_failed)" };
        let rows = report.rows_failed;
        terminal.warn(&format!("the encoder failed on the text of {rows} rows, which {fate}"));
    }
    if report.batches_split > 0 {
        let split = report.batches_split;
        terminal.warn(&format!("the encoder failed on {split} micro-batches, which were split and tried again"));
    }
    match &report.stage {
        StageReport::Score(score) => {
            score.metrics.iter().for_each(|metrics| row_metrics(terminal, metrics));
            score.abstained.iter().for_each(|found| abstained(terminal, found, report.rows_out));
        }
        StageReport::Train(train) => trained(terminal, train),
        StageReport::Ingest(_) | StageReport::Embed(_) | StageReport::Evaluate(_) => {}
    }
}

fn row_metrics(terminal: Terminal, metrics: &RowMetrics) {
    if metrics.rows_with_unknown_label > 0 {
        terminal.warn(&format!(
            "{} rows have a true label that the head does not know; accuracy is over the others",
            metrics.rows_with_unknown_label
        ));
    }
    if let (Some(accuracy), Some(log_loss)) = (metrics.accuracy, metrics.log_loss) {
        terminal.say(&format!(
            "score: on rows with a true label: accuracy {accuracy:.4}, log loss {log_loss:.4} on {} rows",
            metrics.rows
        ));
    }
}

fn abstained(terminal: Terminal, found: &Abstained, rows_out: u64) {
    let least = found.threshold.confidence;
    let least = least.map_or_else(|| "any that the head ever gave".to_owned(), |least| format!("{least:.4}"));
    terminal.say(&format!(
        "score: abstained on {} of {rows_out} rows, less sure than {least}: the head is to be right for {} of its answers",
        found.rows, found.threshold.target_precision
    ));
}

fn trained(terminal: Terminal, train: &TrainReport) {
    let (training, found) = (&train.metrics, &train.metrics.validation);
    terminal.say(&format!(
        "train: best epoch {}, validation: accuracy {:.4}, log loss {:.4} on {} rows",
        training.best_epoch, found.accuracy, found.log_loss, found.rows
    ));
    train.evaluation.threshold.iter().for_each(|found| threshold(terminal, found));
}

/// Says how good a head is.
fn evaluation(terminal: Terminal, out: &Path, judgement: &Judgement) {
    let EvaluationReport { rows, metrics, threshold: wanted, .. } = &judgement.evaluation;
    for (name, figure) in NAMES.into_iter().filter_map(|name| Some((name, metrics.get(name)?))) {
        terminal.say(&format!("{:<27} {}", name.replace('_', " "), interval(figure)));
    }
    for (why, rows) in judgement.left_out.reasons().into_iter().filter(|(_, rows)| *rows > 0) {
        terminal.warn(&format!("{rows} {why} are left out"));
    }
    wanted.iter().for_each(|found| threshold(terminal, found));
    terminal.say(&format!("evaluate: {rows} rows -> {}", out.display()));
}

fn interval(figure: &Interval) -> String {
    match (figure.value, figure.low, figure.high) {
        (Some(value), Some(low), Some(high)) => format!("{value:.4}  (95 %: {low:.4} to {high:.4})"),
        _ => "cannot be told: the rows are of one class".to_owned(),
    }
}

fn threshold(terminal: Terminal, found: &Threshold) {
    let Threshold { target_precision, confidence, coverage, precision } = *found;
    match (confidence, precision) {
        (Some(confidence), Some(precision)) => terminal.say(&format!(
            "precision {target_precision}: answer where the probability is at least {confidence:.4}; that covers {:.1} % of the rows, and {:.1} % of these answers are right",
            100.0 * coverage,
            100.0 * precision
        )),
        _ => {
            terminal.warn(&format!("no confidence is high enough for a precision of {target_precision} on these rows"));
        }
    }
}

fn figures(report: &RunReport) -> String {
    let RunReport { rows_in, rows_out, rows_rejected, seconds, .. } = report;
    let mut text = format!("{rows_in} rows in, {rows_out} out, {rows_rejected} rejected");
    if !report.rejected.is_empty() {
        text.push_str(&format!(" ({})", pipeline::summary_of_rejects(&report.rejected)));
    }
    text.push_str(&format!(" in {seconds:.1} s"));
    if report.rows_deduplicated > 0 {
        text.push_str(&format!(", {} duplicates", report.rows_deduplicated));
    }
    if report.texts_cached > 0 {
        text.push_str(&format!(", {} texts from the cache", report.texts_cached));
    }
    if report.tokens > 0 {
        text.push_str(&format!(
            "; {} tokens at {:.0} tokens/s, padding {:.3}",
            report.tokens,
            report.tokens_per_second.unwrap_or(0.0),
            report.padding_ratio.unwrap_or(0.0)
        ));
        if let Some(share) = report.truncated_share.filter(|share| *share > 0.0) {
            text.push_str(&format!(", {:.1} % of the texts truncated", 100.0 * share));
        }
    }
    text
}

/// Says what was written, and how another program uses it.
fn exported(terminal: Terminal, exported: &Exported) {
    if terminal.json {
        return;
    }
    terminal.say(&format!(
        "{}: input_ids and attention_mask (int64, [rows, width], at most {} wide, padded at the end) -> logits and \
         probabilities (float, [rows, {}]: {}); {:.0} MB",
        exported.model.display(),
        exported.max_length,
        exported.labels.len(),
        exported.labels.join(", "),
        exported.bytes as f64 / 1e6,
    ));
    terminal.say(&format!("{}: truncates and pads as the model wants it", exported.tokenizer.display()));
}
