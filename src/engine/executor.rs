//! What a process has one of, whatever runs it takes part in: the encoder with its tokenizer pool, and memory.
//!
//! Nothing here names a run: in a cluster an executor process holds one encoder and executes units of any run. What
//! belongs to a run is in its [`RunContext`](super::RunContext).

use std::sync::Arc;

use datafusion_common::{DataFusionError, Result, internal_err};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::Error;
use super::on_demand::{OnDemand, Opened};
use crate::encode::Usage;

/// Where units are executed.
pub(crate) struct Executor {
    /// `None` where reviews are only normalised.
    encoder: Option<OnDemand>,
    turns: Turns,
    memory: Memory,
}

impl Executor {
    /// One that reads and writes alone; units in flight may take `memory` bytes, and one alone may take more.
    pub(crate) fn without_encoder(memory: u64) -> Executor {
        Executor { encoder: None, turns: Turns::of(0), memory: Memory::of(memory) }
    }

    /// One that encodes as well, on the CPU or on so many GPUs.
    pub(crate) fn with_encoder(encoder: OnDemand, gpus: usize, memory: u64) -> Executor {
        Executor { encoder: Some(encoder), turns: Turns::of(gpus), memory: Memory::of(memory) }
    }

    /// What the encoder has done so far.
    pub(crate) fn usage(&self) -> Usage {
        self.encoder.as_ref().map(OnDemand::usage).unwrap_or_default()
    }

    /// How many units are in flight.
    pub(super) fn units_in_flight(&self) -> usize {
        UNITS_IN_FLIGHT * self.turns.at_encoder
    }

    /// Held by a unit in flight that takes `bytes`.
    pub(super) async fn room_for(&self, bytes: u64) -> super::Result<OwnedSemaphorePermit> {
        self.memory.take(bytes).await
    }

    /// The encoder, opened if it is not yet.
    pub(super) async fn encoder(&self) -> Result<Arc<Opened>> {
        match &self.encoder {
            Some(encoder) => encoder.get().await,
            None => internal_err!("this process has no encoder"),
        }
    }

    /// Held by a unit that is at the encoder.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.turns.take().await
    }
}

/// Units in flight for each that is at the encoder: the next is read and tokenized, and the one before is written.
const UNITS_IN_FLIGHT: usize = 3;

/// How many units are at the encoder at a time, and how many on their way to it or from it.
///
/// Units that took turns there, micro-batch by micro-batch, would all finish late, and a kill would lose all of them: on a
/// CPU one is there at a time. A GPU is through with one in the time that another takes to be read, and several GPUs are
/// not kept busy by the few large micro-batches of one.
struct Turns {
    at_encoder: usize,
    free: Semaphore,
}

impl Turns {
    /// For the CPU, or for so many GPUs.
    fn of(gpus: usize) -> Turns {
        let at_encoder = 1 + gpus;
        Turns { at_encoder, free: Semaphore::new(at_encoder) }
    }

    async fn take(&self) -> Result<SemaphorePermit<'_>> {
        self.free.acquire().await.map_err(|closed| DataFusionError::External(Box::new(closed)))
    }
}

/// The memory that units in flight share.
struct Memory {
    kibibytes: u32,
    free: Arc<Semaphore>,
}

impl Memory {
    fn of(bytes: u64) -> Memory {
        let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Memory { kibibytes, free: Arc::new(Semaphore::new(kibibytes as usize)) }
    }

    /// Waits until there is room for `bytes`, or for one that takes more than all of it, until no other is there.
    async fn take(&self, bytes: u64) -> super::Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(self.kibibytes);
        Arc::clone(&self.free).acquire_many_owned(wanted).await.map_err(|_| Error::WorkerLost)
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
            let executor = Executor::with_encoder(OnDemand::new(Box::new(|| Err("not needed".into()))), gpus, 1 << 20);
            assert_eq!(executor.units_in_flight(), UNITS_IN_FLIGHT * units);
        }
        assert_eq!(Executor::without_encoder(1 << 20).units_in_flight(), UNITS_IN_FLIGHT);
    }

    #[tokio::test]
    async fn units_wait_for_room_and_one_that_is_too_large_goes_alone() {
        let memory = Memory::of(100 << 10);
        let first = memory.take(60 << 10).await.unwrap();
        let second = memory.take(40 << 10).await.unwrap();
        let mut large = std::pin::pin!(memory.take(500 << 10));
        assert!(large.as_mut().now_or_never().is_none());
        drop(first);
        // Behind a large one even a small one waits: units start in their order.
        let mut small = std::pin::pin!(memory.take(1 << 10));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(second);
        let large = large.await.unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.await.unwrap());
    }
}
