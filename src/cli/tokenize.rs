//! `bertline tokenize`: ids as JSON lines on standard output, the rate on standard error.

use anyhow::Result;

use crate::pipeline::{self, TokenizeOptions, TokenizeTotals};
use crate::telemetry::Terminal;

/// JSON lines are the only format, with or without `--json`.
pub(super) fn tokenize(options: &TokenizeOptions, terminal: Terminal) -> Result<()> {
    let totals = pipeline::tokenize(options, terminal, |lines| terminal.print(lines))?;
    if totals.rejected > 0 {
        terminal.warn(&format!("{} records could not be read; `bertline ingest` tells which and why", totals.rejected));
    }
    terminal.say(&format!("tokenize: {}", figures(&totals)));
    Ok(())
}

fn figures(totals: &TokenizeTotals) -> String {
    let TokenizeTotals { texts, bytes, tokens, threads, .. } = totals;
    let seconds = totals.time.as_secs_f64();
    let megabytes = *bytes as f64 / 1e6;
    let rate = |amount: f64| amount / seconds.max(1e-9);
    let s = if *threads == 1 { "" } else { "s" };
    format!(
        "{texts} texts, {megabytes:.2} MB, {tokens} tokens in {seconds:.4} s on {threads} thread{s}: \
         {:.0} texts/s, {:.2} MB/s",
        rate(*texts as f64),
        rate(megabytes)
    )
}
