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

/// What the peers of one all-reduce share.
pub(super) struct AllReduce {
    /// What each peer brought: one place for this round, one for the next, which a fast peer may be in already.
    brought: Vec<[Mutex<Vec<f32>>; 2]>,
    /// How often a peer has come, over all rounds.
    arrivals: AtomicUsize,
    /// A peer has left: who waits for more arrivals waits in vain.
    left: AtomicBool,
}

/// One thread's part in an all-reduce. Dropped, it lets go whoever waits for it.
pub(super) struct Peer<'a> {
    all: &'a AllReduce,
    pub rank: usize,
    round: usize,
}

impl AllReduce {
    pub(super) fn new(peers: usize) -> Self {
        let brought = (0..peers).map(|_| Default::default()).collect();
        Self { brought, arrivals: AtomicUsize::new(0), left: AtomicBool::new(false) }
    }

    /// The peers, each for a thread of its own.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer<'_>> {
        (0..self.brought.len()).map(|rank| Peer { all: self, rank, round: 0 })
    }

    /// Waits until so many have come; `false` where one left before.
    fn wait_for(&self, arrivals: usize) -> bool {
        let mut looks = 0;
        loop {
            let left = self.left.load(Ordering::Acquire);
            // Looked at second: a peer leaves after it came for the last time.
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

impl Peer<'_> {
    /// Makes `values` the sum of every peer's, added in the order of their ranks so that all have the same bits; `false`
    /// where another has left.
    pub(super) fn sum(&mut self, values: &mut [f32]) -> bool {
        let peers = self.all.brought.len();
        if peers == 1 {
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
        if !self.all.wait_for(self.round * peers) {
            return false;
        }
        values.copy_from_slice(&brought(0));
        for rank in 1..peers {
            values.iter_mut().zip(brought(rank).iter()).for_each(|(sum, value)| *sum += value);
        }
        true
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.all.left.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of some threads makes of its part.
    fn each(peers: usize, work: impl Fn(&mut Peer<'_>) + Sync) {
        let all = AllReduce::new(peers);
        thread::scope(|scope| {
            for mut peer in all.peers() {
                let work = &work;
                scope.spawn(move || work(&mut peer));
            }
        });
    }

    #[test]
    fn every_member_gets_the_sum_of_every_round() {
        for peers in 1..=5 {
            each(peers, |peer| {
                for round in 0..2000 {
                    // Some are late in turn.
                    if (round + peer.rank).is_multiple_of(97) {
                        thread::yield_now();
                    }
                    let mut values = [round as f32, (peer.rank + 1) as f32];
                    assert!(peer.sum(&mut values));
                    assert_eq!(values, [(round * peers) as f32, (peers * (peers + 1) / 2) as f32]);
                }
            });
        }
    }

    #[test]
    fn one_that_leaves_after_its_last_round_lets_nobody_down() {
        let rounds: Vec<AllReduce> = (0..50_000).map(|_| AllReduce::new(2)).collect();
        let work = |rank: usize| {
            // Both must go through all of them, or one would wait for ever.
            rounds.iter().filter(|all| !Peer { all, rank, round: 0 }.sum(&mut [1.0])).count()
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| work(1));
            assert_eq!(work(0) + other.join().unwrap(), 0, "let down");
        });
    }

    #[test]
    fn who_waits_for_one_that_left_is_let_go() {
        each(3, |peer| {
            for round in 0..10 {
                if (peer.rank, round) == (1, 7) {
                    return;
                }
                // The rounds before are whole, whenever it left.
                assert_eq!(peer.sum(&mut [1.0]), round < 7, "{round}");
                if round == 7 {
                    return;
                }
            }
        });
    }
}
