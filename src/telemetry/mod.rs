//! What a run tells people while it works: messages, a progress bar, and what the process itself uses.
//!
//! Useful for: anything on stderr, and figures about the process. Not for: results (stdout, `report`).

mod memory;
mod panics;
mod progress;
mod steps;
mod terminal;

pub(crate) use memory::peak_rss_bytes;
pub(crate) use panics::{catch_panic, catch_panic_in, print_only_uncaught_panics};
pub(crate) use progress::{Done, Probe, ProgressBar};
pub(crate) use steps::StepBar;
pub(crate) use terminal::Terminal;
