//! bertline turns piles of reviews into scored data with a frozen BERT encoder.
//!
//! ```text
//!  any folder            Parquet            Parquet               bundle            Parquet
//!  of reviews  --ingest--> reviews --embed--> features --train--> head  --score--> predictions
//!  csv jsonl parquet     + rejects         (CLS cache)          + report          + run report
//!  text trees, gz/zst                                                 (score = embed fused with the head)
//! ```
//! Every arrow is a stage, every box a dataset with a contract in `schemas/`. A stage knows its input contract and its
//! output contract and nothing about its neighbours.
//!
//! # Rooms, in the order of the data
//! | room | the question that it answers |
//! |---|---|
//! | [`cli`] | what can be typed, and which exit code comes back? |
//! | [`pipeline`] | what is a stage made of, and what does a pipeline file say? |
//! | [`schema`] | which columns does a dataset have? |
//! | [`ingest`] | what is in this folder, and which records can be read? |
//! | [`tokenize`] | which token ids does a text become? |
//! | [`encode`] | which vector does the frozen encoder give for them? |
//! | [`engine`] | how does a unit of work run, from scan to parts on disk? |
//! | [`cache`] | which parts count, which texts are encoded already? |
//! | [`evaluate`] | how good are answers whose truth is known? |
//! | [`head`] | how is a classifier trained on cached vectors, kept, and applied? |
//! | [`report`] | what ran, and what did it cost? |
//! | [`telemetry`] | what are people told while it runs? |
//! | [`model`] | where do encoder models come from? |
//! | [`files`] | how does a file come to lie on disk whole, and what says that it is still the same? |
//! | [`native`] | where are ONNX Runtime and libtorch? |
//!
//! # A run, followed once
//! `cli` parses flags into [`pipeline`]'s options. A stage finds its inputs ([`ingest`]), resolves model, precision and
//! device, and takes its output folder ([`cache`]): the resolved run is the first line of `manifest.jsonl`, so that the
//! same command goes on where it stopped and any other is refused. Input is cut into units; for each, [`engine`] builds
//! one small DataFusion physical plan: scan, projection, `EmbedExec`, sink. A few units run at a time, on tokio; the
//! encoder's session runs on a thread of its own behind a bounded channel. Units commit strictly in order: parts are
//! written, fsynced and renamed, then one manifest line makes them count.
//!
//! # Invariants (each is a test)
//! - Only `encode` names `ort`; only the trainer (`src/bin/bertline-train/`) names `tch`; only `engine` implements physical
//!   plans.
//! - Only `files` puts files in place; it imports no other room.
//! - The library is never linked to libtorch: it knows heads as plain data.
//! - Every input row ends as one output row or one reject; a unit that cannot say so fails before it counts.
//! - A part is visible only once the manifest names it.
//! - One review alone gives the vector that it gives in a batch.

pub mod cache;
pub mod cli;
pub mod encode;
mod engine;
mod evaluate;
pub mod files;
pub mod head;
pub mod ingest;
mod model;
mod native;
mod onnx;
mod pipeline;
mod report;
pub mod schema;
mod telemetry;
#[cfg(test)]
mod testing;
pub mod tokenize;
