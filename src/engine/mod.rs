//! One small DataFusion physical plan per unit of work: parquet scan, projection, `EmbedExec`, sink.
//!
//! Useful for: what runs for a unit, in which order units claim texts and commit, what `explain` shows.
//! Not for: what a stage is made of (`pipeline`), or how a micro-batch is encoded (`encode`).
//!
//! ```text
//! DataSourceExec (row range of one parquet file, or the reviews just parsed; order kept)
//!   -> ProjectionExec (source_file, row, text, label, kept columns; cast to the contract's types)
//!     -> SalvageExec (parquet only: rows of damaged pages become rejects)
//!       -> EmbedExec (key, skip what is claimed, tokenize, micro-batches to the one encoder, head)
//!         -> PartSinkExec (parquet parts: temp, fsync, rename; the count of rows comes out)
//! ```
//! Each operator keeps the order of its input. Units run a few at a time and commit strictly in their order.
//!
//! What a unit made, did and cost comes out beside the rows, as its [`Receipt`]. What a process has one of is an
//! [`Executor`]; what the units of a run share is its [`RunContext`].

mod arrow_fields;
mod clean;
mod context;
mod embed;
mod error;
mod executor;
mod interrupt;
mod kept;
mod ledger;
mod mode;
mod on_demand;
mod opener;
mod output_rows;
mod pages;
mod parquet;
mod pieces;
mod planner;
mod run;
mod salvage;
mod scan;
mod sink;
mod spec;
mod texts;
mod unit;

pub(crate) use context::{Head, RunContext, task_context};
pub(crate) use error::{Error, Result};
pub(crate) use executor::Executor;
pub(crate) use interrupt::{handle_interrupts, unless_interrupted};
pub(crate) use mode::Mode;
pub(crate) use on_demand::{OnDemand, Opened};
pub(crate) use opener::UnitOpener;
pub(crate) use parquet::{ParquetSource, carries_lineage, plan_units};
pub(crate) use planner::Planner;
pub(crate) use run::{RunTotals, Runner};
pub(crate) use scan::{Scan, ScanColumns, open_parquet};
pub(crate) use spec::{UnitRows, UnitSpec};
pub(crate) use unit::{UnitInput, WorkUnit};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod scan_tests;
