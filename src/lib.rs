//! bertline: piles of reviews in, scored data out, by a frozen BERT encoder and a small trained head.

pub mod cache;
pub mod cli;
pub mod encode;
pub mod engine;
pub mod head;
pub mod ingest;
pub mod model;
pub mod native;
pub mod pipeline;
pub mod report;
pub mod schema;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tokenize;
