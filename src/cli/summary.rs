//! What a finished stage says: a line or two for people, `run.json` with `--json`.

use std::path::Path;

use serde_json::Value;

use crate::evaluate::NAMES;
use crate::pipeline::{self, Outcome};
use crate::schema::RejectCounts;
use crate::telemetry::Terminal;

/// Says how a stage ended.
pub(super) fn stage(terminal: Terminal, command: &str, out: &Path, outcome: &Outcome) {
    let report = outcome.json();
    if let Outcome::Done(_) = outcome {
        terminal.say(&format!("{command}: {} -> {}", figures(&report), out.display()));
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    if number(&report["rows_rejected"]) > 0 {
        terminal.say(&format!("{command}: what was rejected, and why: bertline show {}", out.display()));
    }
    let (failed, split) = (number(&report["rows_failed"]), number(&report["batches_split"]));
    if failed > 0 {
        let fate = if command == "score" { "have no label" } else { "are rejects (encoder_failed)" };
        terminal.warn(&format!("the encoder failed on the text of {failed} rows, which {fate}"));
    }
    if split > 0 {
        terminal.warn(&format!("the encoder failed on {split} micro-batches, which were split and tried again"));
    }
    let unknown = number(&report["metrics"]["rows_with_unknown_label"]);
    if unknown > 0 {
        terminal.warn(&format!(
            "{unknown} rows have a true label that the head does not know; accuracy is over the others"
        ));
    }
    if let Some(line) = metrics(&report) {
        terminal.say(&format!("{command}: {line}"));
    }
    let abstained = &report["abstained"];
    if let (Some(rows), Some(target)) =
        (abstained["rows"].as_u64(), abstained["threshold"]["target_precision"].as_f64())
    {
        let least = abstained["threshold"]["confidence"].as_f64();
        let least = least.map_or_else(|| "any that the head ever gave".to_owned(), |least| format!("{least:.4}"));
        terminal.say(&format!(
            "{command}: abstained on {rows} of {} rows, less sure than {least}: the head is to be right for {target} of its answers",
            number(&report["rows_out"])
        ));
    }
    threshold(terminal, &report["evaluation"]["threshold"]);
    if terminal.json {
        terminal.print(&report.to_string());
    }
}

/// Says how good a head is.
pub(super) fn evaluation(terminal: Terminal, out: &Path, outcome: &Outcome) {
    let report = outcome.json();
    let found = &report["evaluation"];
    for name in NAMES.into_iter().filter(|name| found["metrics"].get(name).is_some()) {
        terminal.say(&format!("{:<27} {}", name.replace('_', " "), interval(&found["metrics"][name])));
    }
    let left_out = report["left_out"].as_object().into_iter().flatten();
    for (why, rows) in left_out.filter(|(_, rows)| rows.as_u64() != Some(0)) {
        terminal.warn(&format!("{rows} {} are left out", why.replace('_', " ")));
    }
    threshold(terminal, &found["threshold"]);
    terminal.say(&format!("evaluate: {} rows -> {}", found["rows"], out.display()));
    if terminal.json {
        terminal.print(&report.to_string());
    }
}

fn interval(figure: &Value) -> String {
    match (figure["value"].as_f64(), figure["low"].as_f64(), figure["high"].as_f64()) {
        (Some(value), Some(low), Some(high)) => format!("{value:.4}  (95 %: {low:.4} to {high:.4})"),
        _ => "cannot be told: the rows are of one class".to_owned(),
    }
}

fn threshold(terminal: Terminal, threshold: &Value) {
    let Some(target) = threshold["target_precision"].as_f64() else { return };
    match (threshold["confidence"].as_f64(), threshold["coverage"].as_f64(), threshold["precision"].as_f64()) {
        (Some(confidence), Some(coverage), Some(precision)) => terminal.say(&format!(
            "precision {target}: answer where the probability is at least {confidence:.4}; that covers {:.1} % of the rows, and {:.1} % of these answers are right",
            100.0 * coverage,
            100.0 * precision
        )),
        _ => terminal.warn(&format!("no confidence is high enough for a precision of {target} on these rows")),
    }
}

fn figures(report: &Value) -> String {
    let number = |key: &str| report[key].as_f64().unwrap_or(0.0);
    let mut text = format!(
        "{} rows in, {} out, {} rejected{} in {:.1} s",
        number("rows_in"),
        number("rows_out"),
        number("rows_rejected"),
        reasons(&report["rejected"]),
        number("seconds")
    );
    if number("rows_deduplicated") > 0.0 {
        text.push_str(&format!(", {} duplicates", number("rows_deduplicated")));
    }
    if number("texts_cached") > 0.0 {
        text.push_str(&format!(", {} texts from the cache", number("texts_cached")));
    }
    if number("tokens") > 0.0 {
        text.push_str(&format!(
            "; {} tokens at {:.0} tokens/s, padding {:.3}",
            number("tokens"),
            number("tokens_per_second"),
            number("padding_ratio")
        ));
        if number("truncated_share") > 0.0 {
            text.push_str(&format!(", {:.1} % of the texts truncated", 100.0 * number("truncated_share")));
        }
    }
    text
}

/// The reasons of rejects with their rows, in brackets.
fn reasons(rejected: &Value) -> String {
    let rejected: RejectCounts = serde_json::from_value(rejected.clone()).unwrap_or_default();
    if rejected.is_empty() { String::new() } else { format!(" ({})", pipeline::summary_of_rejects(&rejected)) }
}

fn metrics(report: &Value) -> Option<String> {
    let metrics = report.get("metrics")?;
    let (title, figures) = match metrics.get("validation") {
        Some(validation) => (format!("best epoch {}, validation", metrics["best_epoch"]), validation),
        None => ("on rows with a true label".to_owned(), metrics),
    };
    let accuracy = figures["accuracy"].as_f64()?;
    let log_loss = figures["log_loss"].as_f64()?;
    Some(format!("{title}: accuracy {accuracy:.4}, log loss {log_loss:.4} on {} rows", figures["rows"]))
}
