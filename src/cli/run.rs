//! Stages, one or those of a pipeline file one after another: run, or explained.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use super::args::{Cli, Command, General};
use super::{summary, train};
use crate::pipeline::{self, Explained, NamedStage, Purpose, Stage};
use crate::telemetry::Terminal;

/// Runs a stage; `arguments` are its own as typed, for the binary that trains parses them again.
pub(super) fn stage(stage: &Stage, arguments: &[OsString], terminal: Terminal) -> Result<ExitCode> {
    if let Stage::Train(options) = stage {
        return train::start(options, arguments);
    }
    let outcome = stage.plan(Purpose::Run, terminal)?.run(terminal)?;
    summary::outcome(terminal, stage.out(), &outcome);
    Ok(ExitCode::SUCCESS)
}

/// Runs every stage; the first that fails ends the run.
pub(super) fn run(file: &Path, set: &[String], terminal: Terminal) -> Result<ExitCode> {
    let stages = pipeline::load(file, set)?;
    let flags = [(terminal.quiet, "--quiet"), (terminal.json, "--json")];
    let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned());
    let total = stages.len();
    for (index, NamedStage { name, stage, arguments }) in stages.into_iter().enumerate() {
        terminal.say(&format!("[{}/{total}] {name}", index + 1));
        let arguments: Vec<OsString> = flags.clone().chain(arguments).map(OsString::from).collect();
        let code = self::stage(&stage, &arguments, terminal)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains the stages of a pipeline file, or one stage given as it would be typed; flags behind either count.
pub(super) fn explain(what: &[String], terminal: Terminal) -> Result<()> {
    let is_stage = Stage::has_subcommand(&what[0]);
    let is_file = !is_stage && what.iter().any(|word| word.ends_with(".toml"));
    let command = is_file.then(|| "run".to_owned());
    // Parsed as `run FILE` or the stage itself would be; wrong flags end the process with clap's own words.
    let cli = Cli::parse_from(std::iter::once("bertline".to_owned()).chain(command).chain(what.iter().cloned()));
    let General { quiet, json, .. } = cli.general;
    let terminal = Terminal { quiet: terminal.quiet || quiet, json: terminal.json || json };
    match cli.command {
        Command::Run { file, set } => explain_file(&file, &set, terminal),
        Command::Stage(stage) => print(&stage.plan(Purpose::Explain, terminal)?.explain()?, terminal),
        _ => {
            let stages = Stage::augment_subcommands(clap::Command::new("stage"));
            let names: Vec<&str> = stages.get_subcommands().map(clap::Command::get_name).collect();
            let words =
                format!("a pipeline file, or a stage ({}) with its flags, can be explained\n", names.join(", "));
            clap::Error::raw(clap::error::ErrorKind::InvalidValue, words).exit()
        }
    }
}

/// A later stage often waits for the output of an earlier one that has not run: that is said, and no error.
fn explain_file(file: &Path, set: &[String], terminal: Terminal) -> Result<()> {
    for NamedStage { name, stage, .. } in pipeline::load(file, set)? {
        match stage.plan(Purpose::Explain, terminal).and_then(|plan| plan.explain()) {
            Ok(explained) => print(&explained, terminal)?,
            Err(error) => {
                terminal.warn(&format!("stage `{name}` cannot be explained yet: {}", super::chain(&error.into())));
            }
        }
    }
    Ok(())
}

fn print(explained: &Explained, terminal: Terminal) -> Result<()> {
    let text = if terminal.json { serde_json::to_string(explained)? } else { explained.to_string() };
    terminal.print(&text);
    Ok(())
}
