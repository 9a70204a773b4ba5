//! Texts to measure with: the first ones of the inputs.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use datafusion_physical_plan::{ExecutionPlan, collect};
use futures::StreamExt;

use super::inputs::Inputs;
use super::{Error, Result};
use crate::engine::{WorkUnit, task_context};

impl Inputs {
    /// Up to `count` texts, spread over the first unit, then over the ones behind it as far as they are needed.
    pub(super) fn sample(self: &Arc<Self>, count: usize) -> Result<Vec<String>> {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
        threads.block_on(async {
            let mut units = std::pin::pin!(self.units());
            let mut texts = Vec::new();
            while texts.len() < count
                && let Some(unit) = units.next().await
            {
                let found = texts_of(&unit?).await?;
                let step = (found.len() / (count - texts.len())).max(1);
                texts.extend(found.into_iter().step_by(step).take(count - texts.len()));
            }
            Ok(texts)
        })
    }
}

/// The texts of a unit that are there and not empty.
async fn texts_of(unit: &WorkUnit) -> Result<Vec<String>> {
    let plan: Arc<dyn ExecutionPlan> = unit.scan()?;
    let batches: Vec<RecordBatch> =
        collect(plan, task_context(None)).await.map_err(|error| crate::engine::Error::unit(&unit.source, error))?;
    let columns = batches.iter().map(|batch| batch["text"].as_string::<i32>());
    Ok(columns.flat_map(|texts| texts.iter().flatten()).filter(|text| !text.is_empty()).map(str::to_owned).collect())
}
