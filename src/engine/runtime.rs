//! What the operators of every unit share: the encoder, the tokenizer pool, the claimed texts, the head.
//!
//! It travels as a DataFusion session extension, not inside the plan: plans stay plain descriptions that can be
//! printed and shipped, and each process has one encoder however many plans it runs.

use std::sync::Arc;

use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;

use crate::cache::Claims;
use crate::encode::Encoder;
use crate::tokenize::Pool;

/// A trained head, with the labels of its classes in order.
pub struct Head {
    /// The layers.
    pub head: crate::head::Head,
    /// The label of each class.
    pub labels: Vec<String>,
}

/// Shared by all units of a run.
pub struct EmbedRuntime {
    /// The frozen encoder.
    pub encoder: Encoder,
    /// Tokenizer threads.
    pub pool: Pool,
    /// Texts already encoded by this run; `None` where a text is encoded once a unit (score).
    pub claims: Option<Claims>,
    /// Applied right behind the encoder.
    pub head: Option<Head>,
    /// Held by the unit that is at the encoder: units that took turns there would all finish late, and a kill would lose
    /// all of them.
    pub turn: tokio::sync::Mutex<()>,
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
