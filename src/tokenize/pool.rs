//! The threads that tokenize.
//!
//! A pool of our own rather than rayon's global one: its size follows `--threads`, and its threads carry a name that
//! tells them from the encoder's in a profile.

use super::{Error, Result};

/// A pool of threads named `tokenize-0`, `tokenize-1`, ...
#[derive(Debug)]
pub struct Pool {
    threads: rayon::ThreadPool,
}

impl Pool {
    /// A pool of `threads` threads, at least one.
    ///
    /// # Errors
    /// Where the operating system refuses the threads.
    pub fn new(threads: usize) -> Result<Pool> {
        let threads = threads.max(1);
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("tokenize-{index}"))
            .build()
            .map(|threads| Pool { threads })
            .map_err(|source| Error::Threads { threads, source })
    }

    /// How many threads the pool has.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Runs `work` inside the pool and waits for it, so that rayon's iterators in it use these threads.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }
}
