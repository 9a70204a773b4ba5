//! The texts that this run has claimed, so that each distinct text is encoded once, by the first unit that holds it.
//!
//! Units run concurrently, but claim strictly in their order: which unit owns a text depends on the input alone, never
//! on timing, and a unit only ever refers to texts of earlier units. As units also commit in order, no committed row
//! names a key that is not yet on disk.
//!
//! A text that cannot be encoded has no vector that later rows could refer to. So units also settle in their order:
//! each learns from the earlier ones which of its texts have failed there before it writes a row. The reasons are kept
//! for this run only; the next one claims these texts again, and tries them again.

use std::sync::{Arc, Mutex};

use hashbrown::{HashMap, HashSet};
use tokio::sync::watch;

use super::{Error, Key, Result};

/// Why a text could not be encoded, for people; `None` where it could.
pub(crate) type Failure = Option<Arc<str>>;

/// The set of claimed keys, those that failed, and whose turn it is.
pub(crate) struct Claims {
    keys: Mutex<HashSet<Key>>,
    failures: Mutex<HashMap<Key, Arc<str>>>,
    turn: watch::Sender<Turn>,
}

/// Which unit claims next, which one settles next, and the earliest one that failed before it settled.
#[derive(Clone, Copy)]
struct Turn {
    claims: u64,
    settles: u64,
    failed: Option<u64>,
}

impl Turn {
    fn is_lost_to(self, sequence: u64) -> bool {
        self.failed.is_some_and(|failed| failed < sequence)
    }
}

/// One unit's place in the order; dropping it before it has settled means that the unit failed.
pub(crate) struct Ticket<'a> {
    claims: &'a Claims,
    sequence: u64,
    settled: bool,
}

impl Claims {
    /// Starts from the keys that committed units hold already.
    pub(crate) fn new(committed: HashSet<Key>) -> Claims {
        let turn = Turn { claims: 0, settles: 0, failed: None };
        Claims { keys: Mutex::new(committed), failures: Mutex::default(), turn: watch::Sender::new(turn) }
    }

    /// Takes the place of the unit that is `sequence`-th in this run.
    pub(crate) fn ticket(&self, sequence: u64) -> Ticket<'_> {
        Ticket { claims: self, sequence, settled: false }
    }
}

impl Ticket<'_> {
    /// Waits for its turn, then claims `keys`; returns for each whether it was free, hence is this unit's to encode.
    pub(crate) async fn claim(&self, keys: &[Key]) -> Result<Vec<bool>> {
        self.wait_for(|turn| turn.claims).await?;
        let mine = {
            let mut set = self.claims.keys.lock().map_err(|_| Error::OwnerFailed)?;
            keys.iter().map(|key| set.insert(*key)).collect()
        };
        self.claims.turn.send_modify(|turn| turn.claims = self.sequence + 1);
        Ok(mine)
    }

    /// Says what became of `keys` here, waits until every earlier unit has said so, and returns what became of them
    /// anywhere. No row may name one that failed.
    pub(crate) async fn settle(mut self, keys: &[Key], here: &[Failure]) -> Result<Vec<Failure>> {
        self.wait_for(|turn| turn.settles).await?;
        let anywhere = {
            let mut failures = self.claims.failures.lock().map_err(|_| Error::OwnerFailed)?;
            failures.extend(keys.iter().zip(here).filter_map(|(key, here)| Some((*key, Arc::clone(here.as_ref()?)))));
            keys.iter().map(|key| failures.get(key).cloned()).collect()
        };
        self.settled = true;
        self.claims.turn.send_modify(|turn| turn.settles = self.sequence + 1);
        Ok(anywhere)
    }

    async fn wait_for(&self, next: fn(&Turn) -> u64) -> Result<()> {
        let mut turn = self.claims.turn.subscribe();
        let reached = *turn
            .wait_for(|turn| next(turn) == self.sequence || turn.is_lost_to(self.sequence))
            .await
            .map_err(|_| Error::OwnerFailed)?;
        if reached.is_lost_to(self.sequence) { Err(Error::OwnerFailed) } else { Ok(()) }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let failed = self.sequence;
            self.claims
                .turn
                .send_modify(|turn| turn.failed = Some(turn.failed.map_or(failed, |other| other.min(failed))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earlier_unit_owns_a_text_even_if_the_later_one_asks_first() {
        let claims = Claims::new(HashSet::from([Key::of("cached")]));
        let keys = [Key::of("cached"), Key::of("new")];
        let (late, early) = (claims.ticket(1), claims.ticket(0));
        let (second, first) = tokio::join!(late.claim(&keys), early.claim(&keys));
        assert_eq!(first.unwrap(), [false, true]);
        assert_eq!(second.unwrap(), [false, false]);
    }

    #[tokio::test]
    async fn a_unit_that_fails_stops_no_earlier_one() {
        let claims = Claims::new(HashSet::new());
        let first = claims.ticket(0);
        drop(claims.ticket(1));
        assert_eq!(first.claim(&[Key::of("x")]).await.unwrap(), [true]);
        assert!(matches!(claims.ticket(2).claim(&[Key::of("y")]).await, Err(Error::OwnerFailed)));
    }

    #[tokio::test]
    async fn a_unit_that_fails_before_its_turn_stops_those_that_wait() {
        let claims = Claims::new(HashSet::new());
        let waiting = claims.ticket(1);
        drop(claims.ticket(0));
        assert!(matches!(waiting.claim(&[Key::of("x")]).await, Err(Error::OwnerFailed)));
    }

    #[tokio::test]
    async fn a_text_that_failed_is_known_to_every_later_unit_and_to_no_other() {
        let claims = Claims::new(HashSet::new());
        let keys = [Key::of("poison"), Key::of("good")];
        let (first, second, third) = (claims.ticket(0), claims.ticket(1), claims.ticket(2));
        for ticket in [&first, &second, &third] {
            ticket.claim(&keys).await.unwrap();
        }
        let why: Failure = Some(Arc::from("why"));
        let here = [why.clone(), None];
        // The later ones ask first and have to wait.
        let (third, second, first) = tokio::join!(
            third.settle(&keys, &[None, None]),
            second.settle(&keys, &[None, None]),
            first.settle(&keys, &here),
        );
        for settled in [first, second, third] {
            assert_eq!(settled.unwrap(), [why.clone(), None]);
        }
    }

    #[tokio::test]
    async fn a_unit_that_fails_after_it_claimed_stops_those_that_wait_to_settle() {
        let claims = Claims::new(HashSet::new());
        let keys = [Key::of("x")];
        let (first, second) = (claims.ticket(0), claims.ticket(1));
        first.claim(&keys).await.unwrap();
        second.claim(&keys).await.unwrap();
        drop(first);
        assert!(matches!(second.settle(&keys, &[None]).await, Err(Error::OwnerFailed)));
    }
}
