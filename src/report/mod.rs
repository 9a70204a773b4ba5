//! What ran, and what did it cost: the run as it was asked for, `run.json`, and the page that people read.
//!
//! Useful for: what determines an output ([`Run`]), a figure of `run.json` ([`RunReport`], [`StageReport`]), `report.html`
//! ([`html`]). Not for: how a figure comes about (`engine`, `evaluate`, `head`).

pub(crate) mod html;
mod run;
mod run_report;
mod stage_report;

pub(crate) use run::{
    EmbedRun, EncoderRun, EvaluateRun, InputRun, OUTPUT_FORMAT, Repetitions, Run, ScoreRun, Snapshot, TrainInput,
    TrainRun, TypedReading,
};
pub(crate) use run_report::{EncoderReport, Input, RunReport, Start, ThisRun};
pub(crate) use stage_report::{
    Abstained, CrossValidation, EvaluateReport, EvaluationReport, HeadReport, InputReport, Judgement, LeftOut,
    RowMetrics, ScoreReport, SkippedFiles, Spread, StageReport, TextHygiene, TrainReport, ValidationRun,
};
