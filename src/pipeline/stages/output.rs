//! What every stage does with its output folder: take it, or find it finished; at the end write the page and the report,
//! and only then mark the run as done.

use std::path::PathBuf;

use super::Outcome;
use super::page::Sections;
use crate::cache::{Claim, ClaimedOutput, Found, Output, RecordedRun};
use crate::pipeline::{OutOptions, Result};
use crate::report::{Run, RunReport};
use crate::telemetry::Terminal;

/// A run's folder, or how it ended before.
pub(super) enum Taken {
    Open(Box<ClaimedOutput>),
    Finished(Outcome),
}

/// Takes the folder for a run that reads `inputs`.
pub(super) fn take(run: &Run, out: &OutOptions, inputs: &[PathBuf], terminal: Terminal) -> Result<Taken> {
    match Claim::of(&out.out, &run.record(), out.overwrite, inputs)? {
        Claim::Open(claimed) => Ok(Taken::Open(claimed)),
        Claim::Finished(_) => {
            let report = RunReport::read(&out.out)?;
            terminal.say(&format!(
                "{}: `{}` is finished already; nothing to do (--overwrite starts over)",
                report.stage.command(),
                out.out.display()
            ));
            Ok(Taken::Finished(Outcome::AlreadyDone(Box::new(report))))
        }
    }
}

/// Says that a run goes on.
pub(super) fn say_found(claimed: &ClaimedOutput, terminal: Terminal) {
    let done = claimed.manifest().units.len();
    match claimed.found() {
        Found::Nothing => {}
        Found::SameInput => terminal.say(&format!("resuming: {done} units are done already")),
        Found::OtherInput => terminal.say(&format!(
            "resuming: {done} units are done already; the input has changed, and what is new in it follows"
        )),
    }
}

/// Takes the folder for a run that is done in one go: what it committed before is given up, for half of it is none.
pub(super) fn in_one_go(claimed: Box<ClaimedOutput>, run: &RecordedRun) -> Box<ClaimedOutput> {
    match claimed.found() {
        Found::Nothing => claimed,
        Found::SameInput | Found::OtherInput => Box::new(claimed.start_over(run)),
    }
}

/// Leaves the page and the report; the run is finished.
pub(super) fn finish(output: Output, report: RunReport, sections: Option<Sections<'_>>) -> Result<Outcome> {
    if let Some(sections) = sections {
        super::page::write(output.dir(), &report, output.manifest(), sections)?;
    }
    output.complete(&report)?;
    Ok(Outcome::Done(Box::new(report)))
}
