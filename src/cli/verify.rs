//! `bertline verify`: the table of fidelities, and an exit code that says whether all bounds hold.

use std::process::ExitCode;

use anyhow::Result;

use crate::pipeline::{Verified, VerifyOptions, verify as compare};
use crate::telemetry::Terminal;

pub(super) fn verify(options: &VerifyOptions, terminal: Terminal) -> Result<ExitCode> {
    let verification = compare(options, terminal)?;
    if terminal.json {
        terminal.print(&serde_json::to_string_pretty(&verification)?);
    } else {
        terminal.say(&format!("{} texts against {}", verification.texts, verification.reference));
        terminal.print(
            "precision  provider       micro-batch  threads  worst cosine  mean cosine  max difference  to alone  label flips  bounds",
        );
        verification.rows.iter().for_each(|row| terminal.print(&line(row)));
    }
    let broken = verification.rows.iter().filter(|row| !row.holds).count();
    if broken > 0 {
        terminal.error(&format!("{broken} of {} combinations break their bounds", verification.rows.len()));
    }
    Ok(if verification.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn line(row: &Verified) -> String {
    let batch = row.token_budget.map_or_else(|| "alone".to_owned(), |budget| format!("{budget} tokens"));
    let to_alone = row.worst_cosine_to_alone.map_or_else(|| "-".to_owned(), |cosine| format!("{cosine:.6}"));
    let flips = row.label_flips.map_or_else(|| "-".to_owned(), |flips| flips.to_string());
    let bounds =
        format!("{} (worst {}, mean {})", if row.holds { "hold" } else { "BROKEN" }, row.bound_worst, row.bound_mean);
    format!(
        "{:<9}  {:<13}  {batch:<11}  {:>7}  {:>12.6}  {:>11.6}  {:>14.6}  {to_alone:>8}  {flips:>11}  {bounds}",
        row.precision,
        row.provider,
        row.threads,
        row.fidelity.worst_cosine,
        row.fidelity.mean_cosine,
        row.fidelity.max_difference
    )
}
