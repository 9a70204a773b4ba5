//! Texts to measure with: the first ones of the inputs, or some that are built in.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use datafusion_physical_plan::{ExecutionPlan, collect};
use futures::StreamExt;

use super::{Inputs, Labels, UNIT_BYTES};
use crate::engine::{UnitSpec, WorkUnit, task_context};
use crate::ingest::Clean;
use crate::pipeline::{Error, ReadOptions, Result, SampleOptions};

/// Short reviews, of which texts of real length are put together.
const REVIEWS: &str = include_str!("../../../tests/demo/reviews.jsonl");

impl Inputs {
    /// Up to `count` texts, spread over the first unit, then over the ones behind it as far as they are needed.
    pub(crate) fn sample(self: &Arc<Self>, count: usize) -> Result<Vec<String>> {
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

/// Up to `count` texts of units that were made before, as they come.
pub(crate) fn first_texts(inputs: &Inputs, units: &[UnitSpec], count: usize) -> Result<Vec<String>> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let mut opener = inputs.opener();
    let mut texts = Vec::new();
    for spec in units {
        if texts.len() >= count {
            break;
        }
        let unit = opener.open(spec.clone())?;
        texts.extend(threads.block_on(texts_of(&unit))?);
    }
    texts.truncate(count);
    Ok(texts)
}

/// The texts of a unit that are there and not empty.
async fn texts_of(unit: &WorkUnit) -> Result<Vec<String>> {
    let plan: Arc<dyn ExecutionPlan> = unit.scan()?;
    let batches: Vec<RecordBatch> = collect(plan, task_context(None))
        .await
        .map_err(|error| crate::engine::Error::unit(unit.spec.source(), error))?;
    let columns = batches.iter().map(|batch| batch["text"].as_string::<i32>());
    Ok(columns.flat_map(|texts| texts.iter().flatten()).filter(|text| !text.is_empty()).map(str::to_owned).collect())
}

/// Up to `count` texts of those that `asked` names, else texts that are built in.
/// They are cleaned as an encoder's texts are.
pub(crate) fn texts(asked: &SampleOptions, clean: Clean, count: usize) -> Result<Vec<String>> {
    if asked.texts.is_empty() {
        return Ok(built_in(count));
    }
    let (inputs, text_column) = (asked.texts.clone(), asked.text_column.clone());
    let read = ReadOptions { inputs, text_column, clean, ..ReadOptions::default() };
    let texts = Arc::new(Inputs::find(&read, "none", Labels::OnDemand, UNIT_BYTES)?).sample(count)?;
    match texts.is_empty() {
        true => Err(Error::NoRows { inputs: asked.texts.join(", "), stage: "the sample" }),
        false => Ok(texts),
    }
}

/// Reviews of the lengths of IMDB's, half of them longer than 250 tokens, out of the demo's.
fn built_in(count: usize) -> Vec<String> {
    let lines = REVIEWS.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let reviews: Vec<String> = lines.filter_map(|line| line["text"].as_str().map(str::to_owned)).collect();
    let review = |index: usize| reviews[index % reviews.len()].as_str();
    let text =
        |index: usize| (0..2 + index * 7 % 19).map(|part| review(index * 13 + part)).collect::<Vec<_>>().join(" ");
    (0..count).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_texts_differ_and_have_many_lengths() {
        let texts = built_in(64);
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(distinct.len(), 64);
        let words = |text: &String| text.split(' ').count();
        assert!(texts.iter().map(words).min().unwrap() < 60 && texts.iter().map(words).max().unwrap() > 200);
    }
}
