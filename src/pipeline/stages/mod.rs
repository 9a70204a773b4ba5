//! The stages: each takes its inputs into an output folder, and goes on where an earlier run stopped.

pub(crate) mod embed;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod page;
pub(crate) mod rejects;
pub(crate) mod score;
pub(crate) mod train;
pub(crate) mod units;
