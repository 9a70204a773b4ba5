//! `bertline run` and `bertline explain`: the stages of a pipeline file, one after another.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use super::args::{Cli, Command};
use super::{summary, train};
use crate::pipeline::{self, NamedStage, Stage};
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
            Stage::Train(_, arguments) => {
                let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
                let code = train::start(terminal, &arguments)?;
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

/// Explains the stages of a pipeline file, or one stage given as it would be typed.
pub(super) fn explain(stage: &[String], set: &[String], terminal: Terminal) -> Result<()> {
    let file = Path::new(&stage[0]);
    let stages = if file.extension().is_some_and(|extension| extension == "toml") {
        pipeline::load(file, set)?
    } else {
        vec![typed(stage)]
    };
    for NamedStage { name, stage } in stages {
        match pipeline::explain(&stage, terminal) {
            Ok(explained) if terminal.json => terminal.print(&serde_json::to_string(&explained)?),
            Ok(explained) => terminal.print(&explained.to_string()),
            Err(error) => {
                terminal.warn(&format!("stage `{name}` cannot be explained yet: {}", super::chain(&error.into())))
            }
        }
    }
    Ok(())
}

/// Parses `embed FOLDER --out DIR` as the command line would; wrong flags end the process with clap's own words.
fn typed(stage: &[String]) -> NamedStage {
    let cli = Cli::parse_from(std::iter::once("bertline".to_owned()).chain(stage.iter().cloned()));
    let stage = match cli.command {
        Command::Ingest(options) => Stage::Ingest(options),
        Command::Embed(options) => Stage::Embed(options),
        Command::Train(options) => Stage::Train(options, Vec::new()),
        Command::Score(options) => Stage::Score(options),
        _ => clap::Error::raw(
            clap::error::ErrorKind::InvalidValue,
            "only ingest, embed, train and score can be explained\n",
        )
        .exit(),
    };
    let name = match stage {
        Stage::Ingest(_) => "ingest",
        Stage::Embed(_) => "embed",
        Stage::Train(..) => "train",
        Stage::Score(_) => "score",
    };
    NamedStage { name: name.to_owned(), stage }
}
