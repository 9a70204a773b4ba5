//! What the encoder has done so far, for progress displays and run reports.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::MicroBatch;

/// Totals since the encoder was opened. Failed micro-batches count nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Micro-batches encoded.
    pub batches: u64,
    /// Texts encoded.
    pub rows: u64,
    /// Their tokens, specials included.
    pub tokens: u64,
    /// The tokens paid for: the cells of all micro-batches.
    pub padded_tokens: u64,
    /// Seconds in which sessions ran, the mean over them.
    pub busy_seconds: f64,
    /// Seconds from the first micro-batch handed in to the last vector out.
    pub wall_seconds: f64,
    /// Seconds that micro-batches waited for a session, summed over them.
    pub queue_seconds: f64,
}

impl Usage {
    /// The tokens paid for by each real one, 1 being the best; 1 where nothing was encoded.
    pub fn padding_ratio(&self) -> f64 {
        if self.tokens == 0 { 1.0 } else { self.padded_tokens as f64 / self.tokens as f64 }
    }
}

/// The counters behind [`Usage`], shared by callers and the sessions' threads.
#[derive(Debug)]
pub(super) struct Meter {
    counters: Mutex<Counters>,
    sessions: usize,
}

#[derive(Debug, Default)]
struct Counters {
    usage: Usage,
    first: Option<Instant>,
}

impl Meter {
    /// Counters for so many sessions side by side.
    pub(super) fn new(sessions: usize) -> Meter {
        Meter { counters: Mutex::default(), sessions }
    }

    /// A micro-batch was handed in.
    pub(super) fn started(&self, now: Instant) {
        self.lock().first.get_or_insert(now);
    }

    /// A micro-batch came out; it had waited for `queued` and ran for `busy`.
    pub(super) fn finished(&self, batch: &MicroBatch, queued: Duration, busy: Duration) {
        let mut counters = self.lock();
        let wall = counters.first.map_or(busy, |first| first.elapsed());
        let usage = &mut counters.usage;
        usage.batches += 1;
        usage.rows += batch.rows() as u64;
        usage.tokens += batch.tokens();
        usage.padded_tokens += batch.padded_tokens();
        usage.busy_seconds += busy.as_secs_f64() / self.sessions as f64;
        usage.queue_seconds += queued.as_secs_f64();
        usage.wall_seconds = wall.as_secs_f64();
    }

    pub(super) fn usage(&self) -> Usage {
        self.lock().usage
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
