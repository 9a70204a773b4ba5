//! `bertline run` and `bertline explain`: the stages of a pipeline file, one after another.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use super::args::{Cli, Command, General};
use super::{summary, train};
use crate::pipeline::{self, Explained, NamedStage, Stage};
use crate::telemetry::Terminal;

/// Runs every stage; the first that fails ends the run.
pub(super) fn run(file: &Path, set: &[String], terminal: Terminal) -> Result<ExitCode> {
    let stages = pipeline::load(file, set)?;
    let total = stages.len();
    for (index, NamedStage { name, stage }) in stages.into_iter().enumerate() {
        terminal.say(&format!("[{}/{total}] {name}", index + 1));
        let (command, out, outcome) = match stage {
            Stage::Ingest(options) => ("ingest", options.out.out.clone(), pipeline::ingest(&options, terminal)?),
            Stage::Embed(options) => ("embed", options.out.out.clone(), pipeline::embed(&options, terminal)?),
            Stage::Score(options) => ("score", options.out.out.clone(), pipeline::score(&options, terminal)?),
            Stage::Train(options, arguments) => {
                let flags = [(terminal.quiet, "--quiet"), (terminal.json, "--json")];
                let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned());
                let arguments: Vec<OsString> = flags.chain(arguments).map(OsString::from).collect();
                let code = train::start(&options, &arguments)?;
                if code != ExitCode::SUCCESS {
                    return Ok(code);
                }
                continue;
            }
        };
        summary::stage(terminal, command, &out, &outcome);
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains the stages of a pipeline file, or one stage given as it would be typed; flags behind either count.
pub(super) fn explain(what: &[String], terminal: Terminal) -> Result<()> {
    let is_stage = ["ingest", "embed", "train", "score"].contains(&what[0].as_str());
    let is_file = !is_stage && what.iter().any(|word| word.ends_with(".toml"));
    let command = is_file.then(|| "run".to_owned());
    // Parsed as `run FILE` or the stage itself would be; wrong flags end the process with clap's own words.
    let cli = Cli::parse_from(std::iter::once("bertline".to_owned()).chain(command).chain(what.iter().cloned()));
    let General { quiet, json, .. } = cli.general;
    let terminal = Terminal { quiet: terminal.quiet || quiet, json: terminal.json || json };
    let stage = match cli.command {
        Command::Run { file, set } => return explain_file(&file, &set, terminal),
        Command::Ingest(options) => Stage::Ingest(options),
        Command::Embed(options) => Stage::Embed(options),
        Command::Train(options) => Stage::Train(options, Vec::new()),
        Command::Score(options) => Stage::Score(options),
        _ => {
            let words = "a pipeline file, or one of ingest, embed, train and score with its flags, can be explained\n";
            clap::Error::raw(clap::error::ErrorKind::InvalidValue, words).exit()
        }
    };
    print(&pipeline::explain(&stage, terminal)?, terminal)
}

/// A later stage often waits for the output of an earlier one that has not run: that is said, and no error.
fn explain_file(file: &Path, set: &[String], terminal: Terminal) -> Result<()> {
    for NamedStage { name, stage } in pipeline::load(file, set)? {
        match pipeline::explain(&stage, terminal) {
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
