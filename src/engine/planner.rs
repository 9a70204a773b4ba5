//! Makes each unit's plan: scan, then what the stage does with it, then the sink.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion_physical_plan::ExecutionPlan;

use super::Result;
use super::embed::EmbedExec;
use super::ledger::Ledger;
use super::mode::Mode;
use super::sink::{PartSinkExec, SinkSpec};
use super::unit::WorkUnit;
use crate::cache::PartMetadata;

/// Makes the plan of each unit of a run.
#[derive(Clone, Debug)]
pub(crate) struct Planner {
    /// The output folder.
    pub out: PathBuf,
    /// What `EmbedExec` makes; `None` where reviews are only normalised.
    pub mode: Option<Mode>,
    /// The model's name, for the plan's display.
    pub model: String,
    /// Key-value metadata of the parts.
    pub metadata: PartMetadata,
    /// How often the input was found to have changed: part of a part's name, so that none replaces an older one.
    pub generation: u64,
}

impl Planner {
    /// The physical plan of a unit; `sequence` is its place among the units that this process runs.
    pub(crate) fn plan(&self, unit: &WorkUnit, sequence: u64) -> Result<Arc<PartSinkExec>> {
        let ledger = Ledger::default();
        let scan = unit.scan()?;
        let input: Arc<dyn ExecutionPlan> = match &self.mode {
            Some(mode) => Arc::new(EmbedExec::new(scan, mode.clone(), sequence, &self.model, ledger.clone())),
            None => scan,
        };
        let spec = SinkSpec {
            out: self.out.clone(),
            part_name: part_name(unit, self.generation),
            metadata: self.metadata.clone(),
            mode: self.mode.clone(),
            rejects: unit.rejects().cloned(),
        };
        Ok(Arc::new(PartSinkExec::new(input, Arc::new(spec), ledger)))
    }
}

fn part_name(unit: &WorkUnit, generation: u64) -> String {
    let generation = if generation == 0 { String::new() } else { format!("-{generation}") };
    format!("part-{:06}-{}{generation}.parquet", unit.spec.ordinal, &unit.spec.id[..8])
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::schema;

    #[test]
    fn a_part_is_named_by_its_unit_and_by_how_often_the_input_has_changed() {
        let none = RecordBatch::new_empty;
        let unit = WorkUnit::of_reviews("0123456789abcdef", 12, none(schema::reviews(&[])), none(schema::rejects()));
        assert_eq!(part_name(&unit, 0), "part-000012-01234567.parquet");
        assert_eq!(part_name(&unit, 3), "part-000012-01234567-3.parquet");
    }
}
