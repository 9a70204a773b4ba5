//! The encoder, opened when the first unit needs it.

use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use tokio::sync::OnceCell;

use crate::encode::{Encoder, Usage};
use crate::tokenize::Pool;

/// An encoder with the threads of its tokenizer.
pub(crate) struct Opened {
    /// The frozen encoder.
    pub encoder: Encoder,
    /// Tokenizer threads.
    pub pool: Pool,
}

/// Opens an encoder, which takes a good part of a second.
pub(crate) type Open =
    Box<dyn Fn() -> std::result::Result<Opened, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// The one encoder of a process; where every text may be known already, it is opened by the first that is not.
pub(crate) struct OnDemand {
    cell: OnceCell<Arc<Opened>>,
    open: Arc<Open>,
}

impl OnDemand {
    /// An encoder that `open` will open, if it is ever needed.
    pub(crate) fn new(open: Open) -> OnDemand {
        OnDemand { cell: OnceCell::new(), open: Arc::new(open) }
    }

    /// Takes one that is open already.
    pub(crate) fn set(&self, opened: Opened) {
        // One that is there already serves as well: both were opened in the same way.
        self.cell.set(Arc::new(opened)).ok();
    }

    /// What the encoder has done so far; nothing where it was not needed.
    pub(crate) fn usage(&self) -> Usage {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_encoder_is_opened_by_whoever_needs_it_and_one_that_fails_is_tried_again() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let encoder = OnDemand::new(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Err("no model".into())
        }));
        assert_eq!((encoder.usage(), tries.load(Ordering::Relaxed)), (Usage::default(), 0));
        for tried in 1..=2 {
            let told = encoder.get().await.err().map(|error| error.to_string());
            assert!(told.as_ref().is_some_and(|told| told.contains("no model")), "{told:?}");
            assert_eq!(tries.load(Ordering::Relaxed), tried);
        }
    }
}
