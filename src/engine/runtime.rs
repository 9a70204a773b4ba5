//! What the operators of every unit share: the encoder, the tokenizer pool, the claimed texts, the head.
//!
//! It travels as a DataFusion session extension, not inside the plan: plans stay plain descriptions that can be
//! printed and shipped, and each process has one encoder however many plans it runs.

use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::cache::{Claims, Known};
use crate::encode::{Encoder, Usage};
use crate::tokenize::Pool;

/// A trained head, with the labels of its classes in order.
pub struct Head {
    /// The layers.
    pub head: crate::head::Head,
    /// The label of each class.
    pub labels: Vec<String>,
    /// The probability below which it abstains, if it ever does.
    pub least_confidence: Option<f64>,
}

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

/// Shared by all units of a run.
pub struct EmbedRuntime {
    /// The frozen encoder.
    pub encoder: OnDemand,
    /// Texts whose vectors are on disk already; `None` where none are looked for.
    pub known: Option<Known>,
    /// Texts already encoded by this run; `None` where a text is encoded once a unit (score without a store).
    pub claims: Option<Claims>,
    /// Applied right behind the encoder.
    pub head: Option<Head>,
    /// Which units are at the encoder.
    pub turns: Turns,
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

/// The context in which every unit's plan runs.
pub fn task_context(runtime: Option<Arc<EmbedRuntime>>) -> Arc<TaskContext> {
    let config = SessionConfig::new();
    let config = match runtime {
        Some(runtime) => config.with_extension(runtime),
        None => config,
    };
    Arc::new(TaskContext::default().with_session_config(config))
}

#[cfg(test)]
mod tests {
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
}
