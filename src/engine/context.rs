//! What the operators of a run's units share: known and claimed texts, the head, and the encoder.
//!
//! It travels as a DataFusion session extension, not inside the plan: plans stay plain descriptions that can be
//! printed and shipped, and each process has one encoder however many plans it runs.

use std::sync::Arc;

use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;

use super::executor::{OnDemand, Turns};
use crate::cache::{Claims, Known};

/// A trained head, with the labels of its classes in order.
pub struct Head {
    /// The layers.
    pub head: crate::head::Head,
    /// The label of each class.
    pub labels: Vec<String>,
    /// The probability below which it abstains, if it ever does.
    pub least_confidence: Option<f64>,
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

/// The context in which every unit's plan runs.
pub fn task_context(runtime: Option<Arc<EmbedRuntime>>) -> Arc<TaskContext> {
    let config = SessionConfig::new();
    let config = match runtime {
        Some(runtime) => config.with_extension(runtime),
        None => config,
    };
    Arc::new(TaskContext::default().with_session_config(config))
}
