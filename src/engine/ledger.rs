//! What a unit's plan hands out beside its rows: the parts that it wrote, and what its operators did and cost.
//!
//! A ledger is made for each plan, never for a process, and the plan's operators share it. Each adds its share once,
//! when it is through. A unit that fails or is cancelled takes its ledger with it: nothing of it is counted anywhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion_physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use serde_json::Value;

use crate::cache::{Part, UnitStats};

/// What a finished unit made, did and cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Receipt {
    /// The files that it wrote.
    pub parts: Vec<Part>,
    /// The sums over its operators.
    pub stats: UnitStats,
}

/// The receipt of a unit whose plan still runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    receipt: Arc<Mutex<Receipt>>,
}

impl Ledger {
    /// Adds an operator's share, and shows its figures where DataFusion looks for an operator's metrics.
    pub(super) fn add(&self, share: Receipt, metrics: &ExecutionPlanMetricsSet) {
        show(&share.stats, metrics);
        let mut receipt = self.receipt.lock().unwrap_or_else(PoisonError::into_inner);
        receipt.stats.add(&share.stats);
        receipt.parts.extend(share.parts);
    }

    /// What was added so far; nothing of it is left.
    pub(super) fn take(&self) -> Receipt {
        std::mem::take(&mut self.receipt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts figures that are not zero among an operator's metrics, by the names that they have in the manifest. People read
/// them there (`EXPLAIN ANALYZE`); nothing here does.
fn show(stats: &UnitStats, metrics: &ExecutionPlanMetricsSet) {
    let Ok(Value::Object(figures)) = serde_json::to_value(stats) else { return };
    let counts = figures.iter().filter_map(|(name, figure)| Some((name, usize::try_from(figure.as_u64()?).ok()?)));
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        MetricBuilder::new(metrics).counter(name.clone(), 0).add(count);
    }
    let kinds = figures.get("stage_seconds").and_then(Value::as_object).into_iter().flatten();
    let seconds = kinds.filter_map(|(kind, seconds)| Some((kind, seconds.as_f64()?)));
    for (kind, seconds) in seconds.filter(|(_, seconds)| *seconds > 0.0) {
        MetricBuilder::new(metrics)
            .subset_time(format!("{kind}_time"), 0)
            .add_duration(Duration::from_secs_f64(seconds));
    }
}
