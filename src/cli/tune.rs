//! `bertline tune`: the measurements as a table, fastest first.

use anyhow::Result;

use crate::pipeline::{TuneOptions, tune as measure};
use crate::telemetry::Terminal;

pub(super) fn tune(options: &TuneOptions, terminal: Terminal) -> Result<()> {
    let tuning = measure(options, terminal)?;
    if terminal.json {
        terminal.print(&serde_json::to_string_pretty(&tuning)?);
        return Ok(());
    }
    terminal.print("precision  provider       sessions x threads  token budget  tokens/s  worst cosine");
    for row in &tuning.tuned.measured {
        terminal.print(&format!(
            "{:<9}  {:<13}  {:>8} x {:<7}  {:>12}  {:>8.0}  {:>12.5}",
            row.precision,
            row.provider,
            row.plan.sessions,
            row.plan.threads,
            row.plan.token_budget,
            row.tokens_per_second,
            row.worst_cosine
        ));
    }
    terminal.say(&format!(
        "kept in {}; runs of this model at this --max-length and --threads now take {}",
        tuning.kept.display(),
        tuning.auto
    ));
    Ok(())
}
