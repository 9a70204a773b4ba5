//! `bertline cache`: ls, verify, gc and compact of a store of vectors.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::args::CacheAction;
use crate::cache::{self, Limits, Listed};
use crate::pipeline::Error;
use crate::telemetry::Terminal;

/// Looks after a store; exit code 1 where `verify` finds damage.
pub(super) fn cache(action: &CacheAction, terminal: Terminal) -> Result<ExitCode> {
    match action {
        CacheAction::Ls { dir } => ls(dir, terminal)?,
        CacheAction::Verify { dir } => return verify(dir, terminal),
        CacheAction::Gc { dir, older_than, max_bytes } => {
            let limits = Limits { older_than: *older_than, max_bytes: *max_bytes };
            let done = cache::gc(dir, limits).map_err(Error::from)?;
            let line = format!(
                "removed {} leftovers, {} damaged parts, {} by age, {} by size: {:.1} MB; {} parts of {:.1} MB stay",
                done.leftovers,
                done.damaged,
                done.old,
                done.over_size,
                done.bytes_freed as f64 / 1e6,
                done.parts_left,
                done.bytes_left as f64 / 1e6
            );
            answer(&line, &json!(done), terminal);
        }
        CacheAction::Compact { dir } => {
            let done = cache::compact(dir).map_err(Error::from)?;
            let line = format!(
                "{} parts are {} now, {} duplicates dropped",
                done.parts_before, done.parts_after, done.duplicates
            );
            answer(&line, &json!(done), terminal);
            if done.damaged > 0 {
                terminal
                    .warn(&format!("{} damaged parts were left alone; `bertline cache gc` removes them", done.damaged));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ls(dir: &Path, terminal: Terminal) -> Result<()> {
    for listed in cache::list(dir).map_err(Error::from)? {
        let Listed { model, encoder_id, numerics, parts, rows, bytes, .. } = &listed;
        let megabytes = *bytes as f64 / 1e6;
        let line = format!("{model}\t{encoder_id}\t{numerics}\t{parts} parts\t{rows} rows\t{megabytes:.1} MB");
        terminal.print(&if terminal.json { json!(listed).to_string() } else { line });
        if listed.unreadable > 0 {
            let (folder, number) = (listed.folder.display(), listed.unreadable);
            terminal.warn(&format!("{number} parts of `{folder}` cannot be read; `bertline cache gc` removes them"));
        }
    }
    Ok(())
}

fn verify(dir: &Path, terminal: Terminal) -> Result<ExitCode> {
    let verified = cache::verify(dir).map_err(Error::from)?;
    if terminal.json {
        terminal.print(&json!(verified).to_string());
    } else {
        verified.damaged.iter().for_each(|path| terminal.print(&path.display().to_string()));
    }
    if verified.damaged.is_empty() {
        terminal.say(&format!("all {} parts are whole ({:.1} MB)", verified.parts, verified.bytes as f64 / 1e6));
        return Ok(ExitCode::SUCCESS);
    }
    terminal.error(&format!("{} of {} parts are damaged", verified.damaged.len(), verified.parts));
    Ok(ExitCode::from(1))
}

fn answer(line: &str, json: &serde_json::Value, terminal: Terminal) {
    if terminal.json {
        terminal.print(&json.to_string());
    } else {
        terminal.say(line);
    }
}
