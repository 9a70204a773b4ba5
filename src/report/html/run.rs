//! The section on how a run went: what went in and out, how fast, on what, and what was rejected.

use maud::{Markup, html};

use super::plot::{Frame, Line, lines, up_to};
use super::{card, count, percent, table};
use crate::cache::UnitRecord;
use crate::report::{Input, RunReport};

/// Points of the curve of throughput.
const POINTS: usize = 60;

pub(super) fn section(run: &RunReport, units: &[UnitRecord]) -> Markup {
    html! {
        section {
            h2 { "How the run went" }
            div.cards {
                (card(&count(run.rows_in), "rows in"))
                (card(&count(run.rows_out), "rows out"))
                (card(&count(run.rows_rejected), "rejected"))
                (card(&format!("{:.1} s", run.seconds), "wall time"))
                @if let Some(rate) = run.tokens_per_second { (card(&count(rate as u64), "tokens/s")) }
                @if let Some(ratio) = run.padding_ratio { (card(&format!("{ratio:.3}"), "padded / real tokens")) }
                @if let Some(bytes) = run.peak_rss_bytes { (card(&format!("{} MiB", bytes >> 20), "peak memory")) }
                @if let Some(share) = run.truncated_share { (card(&percent(share), "texts truncated")) }
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

fn times(run: &RunReport) -> Markup {
    let took = run.stage_seconds;
    let kinds = [
        ("reading (units overlap)", took.read),
        ("tokenizing", took.tokenize),
        ("encoder at work", took.encode),
        ("writing", took.write),
    ];
    let took = kinds.into_iter().filter(|(_, seconds)| *seconds > 0.0);
    let mut rows: Vec<Vec<String>> =
        took.map(|(name, seconds)| vec![name.to_owned(), format!("{seconds:.2} s")]).collect();
    let encoder = &run.encoder;
    let known = [
        ("model", &encoder.model),
        ("encoder id", &encoder.encoder_id),
        ("numerics", &encoder.numerics),
        ("device", &encoder.device),
    ];
    rows.extend(known.into_iter().filter_map(|(name, text)| Some(vec![name.to_owned(), text.clone()?])));
    html! {
        @if !rows.is_empty() {
            h3 { "Time and machine" }
            (table(&["what", ""], &rows))
        }
    }
}

fn rejects(run: &RunReport) -> Markup {
    let rows: Vec<Vec<String>> =
        run.rejected.iter().map(|(reason, rows)| vec![reason.to_string(), count(rows)]).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "Rejected rows" }
            (table(&["reason", "rows"], &rows))
        }
    }
}

fn inputs(run: &RunReport) -> Markup {
    let row = |input: &Input| vec![input.path.clone(), count(input.files), count(input.bytes), input.digest.clone()];
    let rows: Vec<Vec<String>> = run.inputs.iter().map(row).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "Inputs" }
            (table(&["path", "files", "bytes", "digest"], &rows))
        }
    }
}
