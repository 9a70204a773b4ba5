//! What units share whatever run they are of: the encoder with its tokenizer pool, and memory.

use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::encode::{Encoder, Usage};
use crate::tokenize::Pool;

/// An encoder with the threads of its tokenizer.
pub struct Opened {
    /// The frozen encoder.
    pub encoder: Encoder,
    /// Tokenizer threads.
    pub pool: Pool,
}

/// Opens an encoder, which takes a good part of a second.
pub type Open = Box<dyn Fn() -> std::result::Result<Opened, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// The one encoder of a run; where every text may be known already, it is opened by the first that is not.
pub struct OnDemand {
    cell: OnceCell<Arc<Opened>>,
    open: Arc<Open>,
}

impl OnDemand {
    /// An encoder that `open` will open, if it is ever needed.
    pub fn new(open: Open) -> OnDemand {
        OnDemand { cell: OnceCell::new(), open: Arc::new(open) }
    }

    /// Takes one that is open already.
    pub fn set(&self, opened: Opened) {
        // One that is there already serves as well: both were opened in the same way.
        self.cell.set(Arc::new(opened)).ok();
    }

    /// What the encoder has done so far; nothing where it was not needed.
    pub fn usage(&self) -> Usage {
        self.cell.get().map(|opened| opened.encoder.usage()).unwrap_or_default()
    }

    pub(super) async fn get(&self) -> Result<Arc<Opened>> {
        let open = || async {
            let open = Arc::clone(&self.open);
            let opened = tokio::task::spawn_blocking(move || open()).await;
            let opened = opened.map_err(|error| DataFusionError::External(Box::new(error)))?;
            opened.map(Arc::new).map_err(DataFusionError::External)
        };
        self.cell.get_or_try_init(open).await.map(Arc::clone)
    }
}

/// Units in flight for each that is at the encoder: the next is read and tokenized, and the one before is written.
pub(super) const UNITS_IN_FLIGHT: usize = 3;

/// How many units are at the encoder at a time, and how many on their way to it or from it.
///
/// Units that took turns there, micro-batch by micro-batch, would all finish late, and a kill would lose all of them: on a
/// CPU one is there at a time. A GPU is through with one in the time that another takes to be read, and several GPUs are
/// not kept busy by the few large micro-batches of one.
#[derive(Debug)]
pub struct Turns {
    at_encoder: usize,
    free: Semaphore,
}

impl Turns {
    /// For the CPU, or for so many GPUs.
    pub fn of(gpus: usize) -> Turns {
        let at_encoder = 1 + gpus;
        Turns { at_encoder, free: Semaphore::new(at_encoder) }
    }

    /// How many units are in flight.
    pub(super) fn units_in_flight(&self) -> usize {
        UNITS_IN_FLIGHT * self.at_encoder
    }

    /// Held by a unit that is at the encoder.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>> {
        self.free.acquire().await.map_err(|closed| DataFusionError::External(Box::new(closed)))
    }
}

/// The memory that units in flight share.
#[derive(Clone)]
pub(super) struct Room {
    kibibytes: u32,
    free: Arc<Semaphore>,
}

impl Room {
    pub(super) fn of(bytes: u64) -> Room {
        let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Room { kibibytes, free: Arc::new(Semaphore::new(kibibytes as usize)) }
    }

    /// Waits until there is room for `bytes`, or for one that takes more than all of it, until no other is there.
    pub(super) async fn take(self, bytes: u64) -> super::Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(self.kibibytes);
        self.free.acquire_many_owned(wanted).await.map_err(|_| super::Error::WorkerLost)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_unit_is_at_the_encoder_and_one_more_for_each_gpu() {
        for (gpus, units) in [(0, 1), (1, 2), (4, 5)] {
            let turns = Turns::of(gpus);
            let mut held = Vec::new();
            for _ in 0..units {
                held.push(turns.take().await.unwrap());
            }
            assert!(turns.free.try_acquire().is_err());
            held.pop();
            assert!(turns.free.try_acquire().is_ok());
            assert_eq!(turns.units_in_flight(), UNITS_IN_FLIGHT * units);
        }
    }

    #[tokio::test]
    async fn units_wait_for_room_and_one_that_is_too_large_goes_alone() {
        let room = Room::of(100 << 10);
        let first = room.clone().take(60 << 10).await.unwrap();
        let second = room.clone().take(40 << 10).await.unwrap();
        let mut large = std::pin::pin!(room.clone().take(500 << 10));
        assert!(large.as_mut().now_or_never().is_none());
        drop(first);
        // Behind a large one even a small one waits: units start in their order.
        let mut small = std::pin::pin!(room.clone().take(1 << 10));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(second);
        let large = large.await.unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.await.unwrap());
    }
}
