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
//! | `cli` | what can be typed, what is said at the end, and which exit code comes back? |
//! | `pipeline` | what is a stage made of, and what does a pipeline file say? |
//! | - `options` | which flags does each command have? (pipeline files have the same) |
//! | - `inputs` | what do the stages read, which columns, in which units? |
//! | - `encoder` | which encoder does a stage open, and which vectors need it not compute? |
//! | - `rows` | which rows have a label, as trained on and as judged? |
//! | - `stages` | options -> plan -> explained or run: ingest, embed, train, score, evaluate, export |
//! | - `commands` | what answers at once or measures: predict, show, tokenize, tune, verify |
//! | `schema` | which columns does a dataset have, and for which reasons is a record rejected? |
//! | `ingest` | what is in this folder, and which records can be read? (`find`, `open`, `parse`) |
//! | `tokenize` | which token ids does a text become? |
//! | `encode` | which vector does the frozen encoder give for them? (`model` is read, `graph` lowered, `int8` calibrated) |
//! | `engine` | how does a unit of work run, from scan to parts on disk? |
//! | `cache` | which parts count, what did each unit do and cost, which texts are encoded already? |
//! | `evaluate` | how good are answers whose truth is known? |
//! | `head` | what is a classifier on cached vectors, how is it kept, and applied? |
//! | `report` | what ran, and what did it cost: the resolved run, `run.json`, `report.html`? |
//! | `telemetry` | what are people told while it runs? |
//! | `model` | where do encoder models come from? |
//! | `files` | how does a file come to lie on disk whole, and what says that it is still the same? |
//! | `native` | where are ONNX Runtime and libtorch? |
//! | `onnx` | what of an ONNX file is written and read? |
//! | `bin/bertline-train` | how is a head trained, on libtorch? (a crate of its own) |
//!
//! # A run, followed once
//! `cli` parses flags into a `pipeline` stage, and the stage is planned: it finds its inputs (`ingest`), resolves model,
//! precision and device, and settles the run, everything that determines the output (`report`). The plan is explained, or
//! it is run: it takes its output folder (`cache`), whose `manifest.jsonl` begins with the run, so that the same command
//! goes on where it stopped and any other is refused. Input is cut into units, which are data; for each, `engine` opens
//! the unit and builds one small DataFusion physical plan: scan, projection, `EmbedExec`, sink. A few units run at a time,
//! on tokio; the encoder's session runs on a thread of its own behind a bounded channel. Each unit gives a receipt, its
//! parts and its figures; units commit strictly in order: parts are written, fsynced and renamed (`files`), then one
//! manifest line makes them count.
//!
//! # Where a change begins
//! | change | begins in | and goes on in |
//! |---|---|---|
//! | a flag | `pipeline/options/`; of the input: `ingest/options.rs` | the stage that reads it; what determines the output is in `report/run.rs` |
//! | a stage | `pipeline/stages/mod.rs` | `pipeline/options/`, `report/{run,stage_report}.rs`, `cli/summary.rs`, `cache/output/folder.rs` |
//! | an input format | `ingest/options.rs`, `ingest/find/`, `ingest/parse/` | |
//! | where inputs lie | `ingest/find/walk.rs`, `ingest/open/stream.rs`; Parquet: `engine/{scan,parquet}.rs` | `files/{stored,state}.rs`, `pipeline/inputs/mod.rs` |
//! | a reject reason | `schema/reject.rs`, `schemas/rejects.toml` | arises in `ingest/parse/`, `engine/{salvage,output_rows}.rs` |
//! | a column of an output | `schemas/*.toml` | predictions and embeddings: `engine/output_rows.rs`; reviews and rejects: `ingest/parse/unit.rs`, `engine/sink.rs` |
//! | how vectors are stored | `schemas/features.toml`, `schema/contract.rs` | written by `engine/output_rows.rs` and `cache/{part,known}.rs`, read by `cache/features_part.rs` |
//! | a figure of a unit | `cache/stats.rs` | filled in one place of `engine`; shown by `report/run_report.rs` |
//! | what a run tells, to people or machines | `telemetry/`, fed by `pipeline/stages/units.rs` | `train`: `pipeline/stages/train/` |
//! | a tokenizer | `tokenize/tokenizer.rs`, and the features of the crate `tokenizers` in `Cargo.toml` | |
//! | a model family | `encode/model/{architecture,names,description}.rs` | `encode/graph/`; what a vector means: `encode/identity.rs` |
//! | training a head | `bin/bertline-train/head/{network,run,sweep}.rs` | `head/recipe.rs`, `pipeline/stages/train/mod.rs` |
//! | training the encoder | `head/mod.rs` (what a trainer is handed), `pipeline/stages/train/`, `bin/bertline-train/` | `encode/model/`, `encode/identity.rs`, `head/bundle.rs` |
//! | who runs a unit | `engine/run.rs` hands units out; `engine/opener.rs` opens a spec in any process | `engine/{planner,ledger,context}.rs`, `cache/claims.rs` |
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
