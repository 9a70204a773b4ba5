//! The texts that this run has claimed, so that each distinct text is encoded once, by the first unit that holds it.
//!
//! Units run concurrently, but claim strictly in their order: which unit owns a text depends on the input alone, never
//! on timing, and a unit only ever refers to texts of earlier units. As units also commit in order, no committed row
//! names a key that is not yet on disk.

use std::sync::Mutex;

use hashbrown::HashSet;
use tokio::sync::watch;

use super::{Error, Key, Result};

/// The set of claimed keys, and whose turn it is.
pub struct Claims {
    keys: Mutex<HashSet<Key>>,
    turn: watch::Sender<Turn>,
}

/// Whose turn it is, and the earliest unit that failed before it claimed.
#[derive(Clone, Copy)]
struct Turn {
    next: u64,
    failed: Option<u64>,
}

impl Turn {
    fn is_lost_to(self, sequence: u64) -> bool {
        self.failed.is_some_and(|failed| failed < sequence)
    }
}

/// One unit's place in the order; dropping it unused means that the unit failed.
pub struct Ticket<'a> {
    claims: &'a Claims,
    sequence: u64,
    used: bool,
}

impl Claims {
    /// Starts from the keys that committed units hold already.
    pub fn new(committed: HashSet<Key>) -> Claims {
        Claims { keys: Mutex::new(committed), turn: watch::Sender::new(Turn { next: 0, failed: None }) }
    }

    /// Takes the place of the unit that is `sequence`-th in this run.
    pub fn ticket(&self, sequence: u64) -> Ticket<'_> {
        Ticket { claims: self, sequence, used: false }
    }
}

impl Ticket<'_> {
    /// Waits for its turn, then claims `keys`; returns for each whether it was free, hence is this unit's to encode.
    pub async fn claim(mut self, keys: &[Key]) -> Result<Vec<bool>> {
        let mut turn = self.claims.turn.subscribe();
        let reached = *turn
            .wait_for(|turn| turn.next == self.sequence || turn.is_lost_to(self.sequence))
            .await
            .map_err(|_| Error::OwnerFailed)?;
        if reached.is_lost_to(self.sequence) {
            return Err(Error::OwnerFailed);
        }
        let mine = {
            let mut set = self.claims.keys.lock().map_err(|_| Error::OwnerFailed)?;
            keys.iter().map(|key| set.insert(*key)).collect()
        };
        self.used = true;
        self.claims.turn.send_modify(|turn| turn.next = self.sequence + 1);
        Ok(mine)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.used {
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
        let (second, first) = tokio::join!(claims.ticket(1).claim(&keys), claims.ticket(0).claim(&keys));
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
}
