//! `bertline models`: list, pull, path.

use anyhow::Result;

use super::args::ModelsAction;
use crate::model;
use crate::pipeline::{Error, say_event};
use crate::telemetry::Terminal;

pub(super) fn models(action: &ModelsAction, terminal: Terminal) -> Result<()> {
    match action {
        ModelsAction::List => {
            for listed in model::list().map_err(Error::from)? {
                if terminal.json {
                    let dir = listed.dir.as_ref().map(|dir| dir.display().to_string());
                    let line = serde_json::json!({
                        "name": listed.name, "revision": listed.revision, "dir": dir,
                        "bytes": listed.bytes, "complete": listed.complete,
                    });
                    terminal.print(&line.to_string());
                } else {
                    let state = if listed.complete {
                        format!("{:.1} MB", listed.bytes as f64 / 1e6)
                    } else {
                        "not here".to_owned()
                    };
                    let dir = listed.dir.as_ref().map_or_else(String::new, |dir| format!("\t{}", dir.display()));
                    terminal.print(&format!("{}\t{state}{dir}", listed.id()));
                }
            }
        }
        ModelsAction::Pull { name } => {
            let pulled = model::pull(name, &mut |event| say_event(terminal, &event)).map_err(Error::from)?;
            terminal.say(&format!("model `{}` is in {}", pulled.name, pulled.dir.display()));
        }
        ModelsAction::Path { name } => terminal.print(&model::path(name).map_err(Error::from)?.display().to_string()),
    }
    Ok(())
}
