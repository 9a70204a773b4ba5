//! The sum of what the threads of one training have, handed to each of them: an all-reduce.
//!
//! It happens once a step, a few thousand times a second, so that a thread that waits must not sleep: waking it takes as
//! long as half a step.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How often a thread looks before it lets others have the core, as where there are fewer cores than threads.
const LOOKS: usize = 2_000;

/// What the members of one all-reduce share.
pub(super) struct AllReduce {
    /// What each member brought: one place for this round, one for the next, which a fast member may be in already.
    brought: Vec<[Mutex<Vec<f32>>; 2]>,
    /// How often a member has come, over all rounds.
    arrivals: AtomicUsize,
    /// A member has left: who waits for more arrivals waits in vain.
    left: AtomicBool,
}

/// One thread's part in an all-reduce. Dropped, it lets go whoever waits for it.
pub(super) struct Member<'a> {
    all: &'a AllReduce,
    pub rank: usize,
    round: usize,
}

impl AllReduce {
    pub(super) fn new(members: usize) -> Self {
        let brought = (0..members).map(|_| Default::default()).collect();
        Self { brought, arrivals: AtomicUsize::new(0), left: AtomicBool::new(false) }
    }

    /// The members, each for a thread of its own.
    pub(super) fn members(&self) -> impl Iterator<Item = Member<'_>> {
        (0..self.brought.len()).map(|rank| Member { all: self, rank, round: 0 })
    }

    /// Waits until so many have come; `false` where one left before.
    fn wait_for(&self, arrivals: usize) -> bool {
        let mut looks = 0;
        loop {
            let left = self.left.load(Ordering::Acquire);
            // Looked at second: a member leaves after it came for the last time.
            if self.arrivals.load(Ordering::Acquire) >= arrivals {
                return true;
            }
            if left {
                return false;
            }
            looks += 1;
            if looks < LOOKS { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl Member<'_> {
    /// Makes `values` the sum of every member's, added in the order of their ranks so that all have the same bits; `false`
    /// where another has left.
    pub(super) fn sum(&mut self, values: &mut [f32]) -> bool {
        let members = self.all.brought.len();
        if members == 1 {
            return true;
        }
        let place = self.round % 2;
        let brought = |rank: usize| self.all.brought[rank][place].lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut mine = brought(self.rank);
            mine.clear();
            mine.extend_from_slice(values);
        }
        self.all.arrivals.fetch_add(1, Ordering::AcqRel);
        self.round += 1;
        if !self.all.wait_for(self.round * members) {
            return false;
        }
        values.copy_from_slice(&brought(0));
        for rank in 1..members {
            values.iter_mut().zip(brought(rank).iter()).for_each(|(sum, value)| *sum += value);
        }
        true
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.all.left.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of some threads makes of its part.
    fn each(members: usize, work: impl Fn(&mut Member<'_>) + Sync) {
        let all = AllReduce::new(members);
        thread::scope(|scope| {
            for mut member in all.members() {
                let work = &work;
                scope.spawn(move || work(&mut member));
            }
        });
    }

    #[test]
    fn every_member_gets_the_sum_of_every_round() {
        for members in 1..=5 {
            each(members, |member| {
                for round in 0..2000 {
                    // Some are late in turn.
                    if (round + member.rank).is_multiple_of(97) {
                        thread::yield_now();
                    }
                    let mut values = [round as f32, (member.rank + 1) as f32];
                    assert!(member.sum(&mut values));
                    assert_eq!(values, [(round * members) as f32, (members * (members + 1) / 2) as f32]);
                }
            });
        }
    }

    #[test]
    fn one_that_leaves_after_its_last_round_lets_nobody_down() {
        let rounds: Vec<AllReduce> = (0..50_000).map(|_| AllReduce::new(2)).collect();
        let work = |rank: usize| {
            // Both must go through all of them, or one would wait for ever.
            rounds.iter().filter(|all| !Member { all, rank, round: 0 }.sum(&mut [1.0])).count()
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| work(1));
            assert_eq!(work(0) + other.join().unwrap(), 0, "let down");
        });
    }

    #[test]
    fn who_waits_for_one_that_left_is_let_go() {
        each(3, |member| {
            for round in 0..10 {
                if (member.rank, round) == (1, 7) {
                    return;
                }
                // The rounds before are whole, whenever it left.
                assert_eq!(member.sum(&mut [1.0]), round < 7, "{round}");
                if round == 7 {
                    return;
                }
            }
        });
    }
}
