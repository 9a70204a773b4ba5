//! `bertline train` in a binary of its own: the only one that is linked to libtorch, started by `bertline`.

#[path = "../head/fit/mod.rs"]
mod fit;

use std::process::ExitCode;

fn main() -> ExitCode {
    bertline::cli::train_main(fit::on)
}
