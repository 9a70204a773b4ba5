//! `bertline export`: what was written, and how another program uses it.

use anyhow::Result;

use crate::pipeline::{ExportOptions, export as write};
use crate::telemetry::Terminal;

pub(super) fn export(options: &ExportOptions, terminal: Terminal) -> Result<()> {
    let exported = write(options, terminal)?;
    if terminal.json {
        terminal.print(&serde_json::to_string_pretty(&exported)?);
        return Ok(());
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
    Ok(())
}
