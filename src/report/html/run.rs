//! The section on how a run went: what went in and out, how fast, on what, and what was rejected.

use maud::{Markup, html};
use serde_json::Value;

use super::plot::{Frame, Line, lines, up_to};
use super::{card, count, percent, table};
use crate::cache::UnitRecord;

/// Points of the curve of throughput.
const POINTS: usize = 60;

pub(super) fn section(run: &Value, units: &[UnitRecord]) -> Markup {
    let number = |key: &str| run[key].as_u64().unwrap_or(0);
    let seconds = run["seconds"].as_f64().unwrap_or(0.0);
    html! {
        section {
            h2 { "How the run went" }
            div.cards {
                (card(&count(number("rows_in")), "rows in"))
                (card(&count(number("rows_out")), "rows out"))
                (card(&count(number("rows_rejected")), "rejected"))
                (card(&format!("{seconds:.1} s"), "wall time"))
                @if let Some(rate) = run["tokens_per_second"].as_f64() { (card(&count(rate as u64), "tokens/s")) }
                @if let Some(ratio) = run["padding_ratio"].as_f64() { (card(&format!("{ratio:.3}"), "padded / real tokens")) }
                @if let Some(bytes) = run["peak_rss_bytes"].as_u64() { (card(&format!("{} MiB", bytes >> 20), "peak memory")) }
                @if let Some(share) = run["truncated_share"].as_f64() { (card(&percent(share), "texts truncated")) }
            }
            div.plots { (throughput(units)) }
            (times(run))
            (rejects(run))
            (inputs(run))
        }
    }
}

/// Rows a second over the units, in time.
fn throughput(units: &[UnitRecord]) -> Markup {
    if units.len() < 3 {
        return html! {};
    }
    let mut points = Vec::new();
    let mut clock = 0.0;
    for group in units.chunks(units.len().div_ceil(POINTS)) {
        let seconds: f64 = group.iter().map(|unit| unit.stats.seconds).sum();
        let rows: u64 = group.iter().map(|unit| unit.rows_in).sum();
        clock += seconds;
        if seconds > 0.0 {
            points.push((clock, rows as f64 / seconds));
        }
    }
    let rates = || points.iter().map(|(_, rate)| *rate);
    let frame = Frame {
        caption: "Throughput over time",
        alt: format!(
            "rows a second between {:.0} and {:.0}",
            rates().fold(f64::INFINITY, f64::min),
            rates().fold(0.0, f64::max)
        ),
        x: "seconds",
        y: "rows/s",
        x_range: up_to([clock].into_iter()),
        y_range: up_to(rates()),
    };
    lines(&frame, &[Line { name: "rows/s".to_owned(), points: points.clone() }], false)
}

fn times(run: &Value) -> Markup {
    let text = |key: &str| run[key].as_str().map(str::to_owned);
    let kinds = [
        ("read", "reading (units overlap)"),
        ("tokenize", "tokenizing"),
        ("encode", "encoder at work"),
        ("write", "writing"),
    ];
    let took = |key: &str| run["stage_seconds"][key].as_f64().filter(|seconds| *seconds > 0.0);
    let mut rows: Vec<Vec<String>> =
        kinds.iter().filter_map(|(key, name)| Some(vec![(*name).to_owned(), format!("{:.2} s", took(key)?)])).collect();
    let known = [("model", "model"), ("encoder_id", "encoder id"), ("numerics", "numerics"), ("device", "device")];
    rows.extend(known.iter().filter_map(|(key, name)| Some(vec![(*name).to_owned(), text(key)?])));
    html! {
        @if !rows.is_empty() {
            h3 { "Time and machine" }
            (table(&["what", ""], &rows))
        }
    }
}

fn rejects(run: &Value) -> Markup {
    let rejected = run["rejected"].as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        rejected.map(|(reason, rows)| vec![reason.clone(), count(rows.as_u64().unwrap_or(0))]).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "Rejected rows" }
            (table(&["reason", "rows"], &rows))
        }
    }
}

fn inputs(run: &Value) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let row = |input: &Value| {
        let number = |key: &str| count(input[key].as_u64().unwrap_or(0));
        vec![text(&input["path"]), number("files"), number("bytes"), text(&input["digest"])]
    };
    let rows: Vec<Vec<String>> = run["inputs"].as_array().into_iter().flatten().map(row).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "Inputs" }
            (table(&["path", "files", "bytes", "digest"], &rows))
        }
    }
}
