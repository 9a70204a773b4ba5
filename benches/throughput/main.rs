//! Throughput of the parts that a review passes through: tokenizer, batcher, encoder, Parquet writing and reading.
//!
//! One binary for all of them, because every further one would link the whole library again. The data is made up from a
//! seed (`reviews.rs`), so that two runs, or two machines, measure the same work. An item is a review everywhere, a byte
//! one of text in the tokenizer and one of memory in the Parquet writer. `make bench` runs it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod batcher;
mod encoder;
mod features;
mod parquet;
mod reviews;
mod tokenizer;

use std::path::PathBuf;

fn main() {
    divan::main();
}

/// The model folder, or `None` after saying what is left out.
fn model(part: &str) -> Option<PathBuf> {
    let found = std::env::var_os("BERTLINE_TEST_MODEL").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: {part}: BERTLINE_TEST_MODEL names no model folder (`make bench` sets it)");
    }
    found
}
