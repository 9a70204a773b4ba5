//! `bertline train` in a binary of its own: the only one that is linked to libtorch, started by `bertline`.
//!
//! This folder is no part of the library: whatever names `tch` is linked to libtorch, and scoring must run where libtorch
//! is not. The library hands it plain data and takes plain data back.

mod head;
#[cfg(test)]
mod noise;

use std::process::ExitCode;

fn main() -> ExitCode {
    bertline::cli::train_main(head::on)
}
