//! What the operators of a run's units share: known and claimed texts, and the head; and where they are executed.
//!
//! It travels as a DataFusion session extension, not inside the plan: plans stay plain descriptions that can be
//! printed and shipped.

use std::sync::Arc;

use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;

use super::executor::Executor;
use crate::cache::{Claims, Known};

/// A trained head, with the labels of its classes in order.
pub(crate) struct Head {
    /// The layers.
    pub head: crate::head::Head,
    /// The label of each class.
    pub labels: Vec<String>,
    /// The probability below which it abstains, if it ever does.
    pub least_confidence: Option<f64>,
}

/// Shared by all units of a run in this process.
pub(crate) struct RunContext {
    /// Where they are executed.
    pub executor: Arc<Executor>,
    /// Texts whose vectors are on disk already; `None` where none are looked for.
    pub known: Option<Known>,
    /// Texts already encoded by this run; `None` where a text is encoded once a unit (score without a store).
    pub claims: Option<Claims>,
    /// Applied right behind the encoder.
    pub head: Option<Head>,
}

/// The context in which every unit's plan runs.
pub(crate) fn task_context(run: Option<Arc<RunContext>>) -> Arc<TaskContext> {
    let config = SessionConfig::new();
    let config = match run {
        Some(run) => config.with_extension(run),
        None => config,
    };
    Arc::new(TaskContext::default().with_session_config(config))
}
