//! Looks up the texts of a few rows where they came from, since neither features nor predictions hold any.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use datafusion_physical_plan::collect;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use serde_json::Value;

use super::inputs::{Inputs, Labels};
use super::{Error, ReadOptions, Result};
use crate::cache::{Resolved, SNAPSHOT};
use crate::engine::{self, UnitInput, WorkUnit, task_context};
use crate::evaluate::Mistake;
use crate::ingest;

/// Puts the texts of mistakes in, as far as the inputs of the run that they are from are still what they were; returns
/// how many were found.
pub(super) fn add_texts(mistakes: &mut [Mistake], run: &Resolved) -> Result<usize> {
    let wanted: HashSet<(String, u64)> =
        mistakes.iter().map(|mistake| (mistake.source_file.clone(), mistake.row)).collect();
    let Some(inputs) = unchanged_inputs(run) else { return Ok(0) };
    let texts = look_up(&inputs, &wanted)?;
    for mistake in mistakes.iter_mut() {
        mistake.text = texts.get(&(mistake.source_file.clone(), mistake.row)).cloned();
    }
    Ok(mistakes.iter().filter(|mistake| mistake.text.is_some()).count())
}

/// The inputs of a run, if they are there and what they were.
fn unchanged_inputs(run: &Resolved) -> Option<Arc<Inputs>> {
    let mut reading = run.get("reading")?.clone();
    reading.as_object_mut()?.remove("keep_types");
    let options: ingest::ReadOptions = serde_json::from_value(reading).ok()?;
    let given: Vec<String> = serde_json::from_value(run.get("inputs")?.clone()).ok()?;
    let read = ReadOptions {
        inputs: given,
        text_column: options.text_column,
        label_column: options.label_column,
        format: options.format,
        no_header: !options.header,
        encoding: options.encoding,
        clean: options.clean,
        limit: options.limit,
    };
    let labels = if options.find_label { Labels::Found } else { Labels::OnDemand };
    let inputs = Inputs::find(&read, "none", labels, options.unit_bytes).ok()?;
    let same = run.get(SNAPSHOT) == Some(&inputs.snapshot());
    same.then(|| Arc::new(inputs))
}

fn look_up(inputs: &Arc<Inputs>, wanted: &HashSet<(String, u64)>) -> Result<HashMap<(String, u64), String>> {
    let files: HashSet<&str> = wanted.iter().map(|(file, _)| file.as_str()).collect();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    threads.block_on(async {
        let mut units = std::pin::pin!(inputs.units());
        let mut found = HashMap::new();
        while found.len() < wanted.len()
            && let Some(unit) = units.next().await
        {
            let unit = unit?;
            if may_hold(&unit, &files) {
                collect_texts(&unit, wanted, &mut found).await?;
            }
        }
        Ok(found)
    })
}

/// Rows of a `reviews` dataset say themselves which file they are of.
fn may_hold(unit: &WorkUnit, files: &HashSet<&str>) -> bool {
    match &unit.input {
        UnitInput::Parquet(scan) => scan.source_file.as_deref().is_none_or(|name| files.contains(name)),
        UnitInput::Reviews(_) => unit.sources.iter().any(|name| files.contains(name.as_str())),
    }
}

async fn collect_texts(
    unit: &WorkUnit,
    wanted: &HashSet<(String, u64)>,
    found: &mut HashMap<(String, u64), String>,
) -> Result<()> {
    let failed = |error| engine::Error::unit(&unit.source, error);
    for batch in collect(unit.scan()?, task_context(None)).await.map_err(failed)? {
        let (files, rows) = (batch["source_file"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
        let texts = batch["text"].as_string::<i32>();
        for row in (0..batch.num_rows()).filter(|row| texts.is_valid(*row)) {
            let place = (files.value(row).to_owned(), rows.value(row));
            if wanted.contains(&place) {
                found.insert(place, texts.value(row).to_owned());
            }
        }
    }
    Ok(())
}

/// The command that made an output.
pub(super) fn command_of(run: &Resolved) -> Option<&str> {
    run.get("command").and_then(Value::as_str)
}
