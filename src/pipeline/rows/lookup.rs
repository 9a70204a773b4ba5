//! Looks up texts where they came from, since neither features nor predictions hold any.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use datafusion_physical_plan::collect;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};

use crate::cache::{Key, RecordedRun};
use crate::engine::{self, UnitInput, WorkUnit, task_context};
use crate::evaluate::Mistake;
use crate::pipeline::inputs::{Inputs, Labels};
use crate::pipeline::{Error, ReadOptions, Result};
use crate::report::InputRun;

/// Puts the texts of mistakes in, as far as the inputs of the run that they are from are still what they were; returns
/// how many were found.
pub(crate) fn add_texts(mistakes: &mut [Mistake], run: &RecordedRun) -> Result<usize> {
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
fn unchanged_inputs(run: &RecordedRun) -> Option<Arc<Inputs>> {
    let run: InputRun = run.parse().ok()?;
    let reading = run.reading.reading;
    let read = ReadOptions { inputs: run.inputs, ..reading.options };
    let labels = if reading.find_label { Labels::Found } else { Labels::OnDemand };
    let inputs = Inputs::find(&read, "none", labels, reading.unit_bytes).ok()?;
    (run.snapshot == inputs.snapshot()).then(|| Arc::new(inputs))
}

/// How many labelled rows of a run's inputs have one of these texts; `None` where the inputs are no longer what they were.
pub(crate) fn labelled_among(run: &RecordedRun, known: &HashSet<Key>) -> Result<Option<u64>> {
    let Some(inputs) = unchanged_inputs(run) else { return Ok(None) };
    let mut count = 0;
    each_batch(&inputs, &|_| true, &mut |batch| {
        let (texts, labels) = (batch["text"].as_string::<i32>(), batch["label"].as_string::<i32>());
        let labelled = texts.iter().zip(labels).filter_map(|(text, label)| text.zip(label));
        count += labelled.filter(|(text, _)| known.contains(&Key::of(text))).count() as u64;
        true
    })?;
    Ok(Some(count))
}

fn look_up(inputs: &Arc<Inputs>, wanted: &HashSet<(String, u64)>) -> Result<HashMap<(String, u64), String>> {
    let mut rows: HashMap<&str, Vec<u64>> = HashMap::new();
    wanted.iter().for_each(|(file, row)| rows.entry(file).or_default().push(*row));
    let mut found = HashMap::new();
    each_batch(inputs, &|unit| may_hold(unit, &rows), &mut |batch| {
        collect_texts(batch, wanted, &mut found);
        found.len() < wanted.len()
    })?;
    Ok(found)
}

/// Reads the units that `wants` asks for, until `each` has enough.
fn each_batch(
    inputs: &Arc<Inputs>,
    wants: &dyn Fn(&WorkUnit) -> bool,
    each: &mut dyn FnMut(&RecordBatch) -> bool,
) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    threads.block_on(async {
        let mut units = std::pin::pin!(inputs.units());
        while let Some(unit) = units.next().await {
            let unit = unit?;
            if !wants(&unit) {
                continue;
            }
            let failed = |error| engine::Error::unit(unit.spec.source(), error);
            for batch in collect(unit.scan()?, task_context(None)).await.map_err(failed)? {
                if !each(&batch) {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

/// Whether a unit covers one of these rows of files. Rows of a `reviews` dataset say themselves which file they are of.
fn may_hold(unit: &WorkUnit, rows: &HashMap<&str, Vec<u64>>) -> bool {
    let says_itself = matches!(&unit.input, UnitInput::Parquet(scan) if scan.source_file.is_none());
    let holds = |(name, range): (&str, Range<u64>)| {
        rows.get(name).is_some_and(|rows| rows.iter().any(|row| range.contains(row)))
    };
    says_itself || unit.spec.ranges().any(holds)
}

fn collect_texts(batch: &RecordBatch, wanted: &HashSet<(String, u64)>, found: &mut HashMap<(String, u64), String>) {
    let (files, rows) = (batch["source_file"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
    let texts = batch["text"].as_string::<i32>();
    for row in (0..batch.num_rows()).filter(|row| texts.is_valid(*row)) {
        let place = (files.value(row).to_owned(), rows.value(row));
        if wanted.contains(&place) {
            found.insert(place, texts.value(row).to_owned());
        }
    }
}
