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
//!         -> PartSinkExec (parquet parts: temp, fsync, rename; one row a part comes out)
//! ```
//! Each operator keeps the order of its input. Units run a few at a time and commit strictly in their order.

mod arrow_fields;
mod assemble;
mod clean;
mod embed;
mod error;
mod interrupt;
mod kept;
mod opener;
mod pages;
mod parquet;
mod pieces;
mod run;
mod runtime;
mod salvage;
mod scan;
mod sink;
mod spec;
mod texts;
mod unit;

pub use embed::{EmbedExec, Mode};
pub use error::{Error, Result};
pub use interrupt::handle_interrupts;
pub use opener::UnitOpener;
pub use parquet::{ParquetSource, carries_lineage, plan_units};
pub use run::{Planner, Progress, RunTotals, Runner, unless_interrupted};
pub use runtime::{EmbedRuntime, Head, OnDemand, Open, Opened, Turns, task_context};
pub use scan::{Scan, ScanColumns, open_parquet};
pub use sink::{PartSinkExec, SinkSpec};
pub use spec::{ParquetRows, UnitRows, UnitSpec};
pub use unit::{UnitInput, WorkUnit};

#[cfg(test)]
mod scan_tests;
