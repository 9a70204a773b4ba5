//! The command line: flags in, a command run, an exit code out.
//!
//! Useful for: what can be typed, exit codes (0 done, 1 data or environment, 2 usage, 130 interrupted).
//! Not for: what a stage does with its options (`pipeline`).

mod age;
mod args;
mod cache;
mod doctor;
mod models;
mod predict;
mod run;
mod summary;
mod tokenize;
mod train;
mod tune;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use arrow::util::pretty::pretty_format_batches;
use clap::Parser;

use crate::head::OnDevice;
use crate::pipeline::{self, TrainPlan};
use crate::telemetry::Terminal;
use args::{Cli, Command, TrainCli};

/// The exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// Runs `bertline`.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::telemetry::print_only_uncaught_panics();
    crate::engine::handle_interrupts();
    let terminal = cli.general.terminal();
    exit(terminal, command(cli.command, terminal))
}

/// Runs `bertline-train`, whose own part is the trainer.
pub fn train_main(on_device: OnDevice) -> ExitCode {
    let cli = TrainCli::parse();
    let terminal = cli.general.terminal();
    let out = cli.options.out.out.clone();
    let done = TrainPlan::of(&cli.options).and_then(|plan| plan.run(on_device, terminal)).map_err(anyhow::Error::from);
    exit(terminal, done.map(|outcome| summary::outcome(terminal, &out, &outcome)).map(|()| ExitCode::SUCCESS))
}

fn command(command: Command, terminal: Terminal) -> Result<ExitCode> {
    match command {
        Command::Stage(stage) => return run::stage(&stage, &train::typed(), terminal),
        Command::Predict(options) => predict::predict(&options, terminal)?,
        Command::Tokenize(options) => tokenize::tokenize(&options, terminal)?,
        Command::Run { file, set } => return run::run(&file, &set, terminal),
        Command::Explain { what } => run::explain(&what, terminal)?,
        Command::Show { path, rows } => show(&path, rows, terminal)?,
        Command::Models { action } => models::models(&action, terminal)?,
        Command::Tune(options) => tune::tune(&options, terminal)?,
        Command::Verify(options) => return verify::verify(&options, terminal),
        Command::Cache { action } => return cache::cache(&action, terminal),
        Command::Doctor => return doctor::doctor(terminal),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(path: &str, rows: usize, terminal: Terminal) -> Result<()> {
    for shown in pipeline::show(path, rows)? {
        if terminal.json {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            writer.write(&shown.batch).and_then(|()| writer.finish())?;
            terminal.print(String::from_utf8_lossy(&writer.into_inner()).trim_end());
        } else {
            terminal.say(&shown.title);
            terminal.print(&pretty_format_batches(&[shown.table()?])?.to_string());
        }
    }
    Ok(())
}

fn exit(terminal: Terminal, done: Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            terminal.error(&chain(&error));
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<pipeline::Error>() {
        Some(pipeline::Error::Engine(crate::engine::Error::Interrupted { .. })) => ExitCode::from(INTERRUPTED),
        Some(error) if error.is_usage() => ExitCode::from(2),
        _ => ExitCode::from(1),
    }
}

/// The error and its causes on one line; a cause that the line has already said (some libraries repeat it) is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    // Providers write paragraphs.
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
