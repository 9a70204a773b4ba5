//! How large micro-batches may be on a device whose memory has turned out to be too small for larger ones.
//!
//! Without it every micro-batch of the budget would be tried, fail and be halved anew, a failed attempt each. What was
//! too large once may fit later (another process shares the device), so the limit grows again, slowly.

use std::sync::{Mutex, PoisonError};

/// Micro-batches near the limit that must succeed before it is raised.
const PATIENCE: usize = 32;

/// The learned limit; none at first.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    learned: Mutex<LearnedLimit>,
}

#[derive(Debug, Default, Clone, Copy)]
struct LearnedLimit {
    /// Tokens that a micro-batch pays for, at most: its cells where it is padded.
    limit: Option<usize>,
    /// Micro-batches of more than half the limit that have succeeded since it changed.
    good: usize,
}

impl Allowance {
    /// Whether a micro-batch is worth an attempt.
    pub(super) fn takes(&self, tokens: usize) -> bool {
        self.lock().limit.is_none_or(|limit| tokens <= limit)
    }

    /// The memory was too small for it.
    pub(super) fn too_large(&self, tokens: usize) {
        let mut learned = self.lock();
        let half = tokens / 2;
        // Micro-batches that were on their way with it fail as well, and say nothing new.
        if learned.limit.is_none_or(|limit| half < limit) {
            *learned = LearnedLimit { limit: Some(half), good: 0 };
        }
    }

    /// It was encoded.
    pub(super) fn fitted(&self, tokens: usize) {
        let mut learned = self.lock();
        let Some(limit) = learned.limit else { return };
        learned.good += usize::from(2 * tokens > limit);
        if learned.good >= PATIENCE {
            *learned = LearnedLimit { limit: Some(limit + limit / 4 + 1), good: 0 };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LearnedLimit> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_learned_at_once_and_raised_slowly() {
        let allowance = Allowance::default();
        assert!(allowance.takes(1000));
        allowance.fitted(1000);
        allowance.too_large(100);
        allowance.too_large(100);
        assert!(allowance.takes(50) && !allowance.takes(51));
        (1..PATIENCE).for_each(|_| allowance.fitted(50));
        // Small ones prove nothing.
        (0..1000).for_each(|_| allowance.fitted(25));
        assert!(!allowance.takes(51));
        allowance.fitted(50);
        assert!(allowance.takes(63) && !allowance.takes(64));
        // One that was on its way since before the limit does not lower it again.
        allowance.too_large(200);
        assert!(allowance.takes(62));
    }
}
