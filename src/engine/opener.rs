//! Makes units out of their specs, in whatever process.

use std::path::Path;
use std::time::Instant;

use super::spec::{ParquetRows, UnitRows, UnitSpec};
use super::unit::{UnitInput, WorkUnit};
use super::{Error, ParquetSource, Result, ScanColumns};
use crate::ingest::{self, Digests, RowsReader};

/// Opens units; keeps what the next one of the same file needs too.
pub(crate) struct UnitOpener {
    digests: Digests,
    records: RowsReader,
    parquet: Option<ParquetSource>,
}

impl UnitOpener {
    /// `digests` are shared with whoever else reads the same files.
    pub(crate) fn new(digests: Digests) -> UnitOpener {
        UnitOpener { records: RowsReader::new(digests.clone()), digests, parquet: None }
    }

    /// A Parquet file as it is now, which is looked into once as long as it stays so.
    pub(crate) fn parquet(&mut self, path: &Path, name: &str, columns: &ScanColumns) -> Result<&ParquetSource> {
        let digest = self.digests.of(path)?;
        let known = self.parquet.take().filter(|known| known.is(path, name, &digest, columns));
        let source = match known {
            Some(source) => source,
            None => ParquetSource::open(path, name, digest, columns.clone())?,
        };
        Ok(self.parquet.insert(source))
    }

    /// The unit of a spec, whose rows are read where they have to be parsed.
    ///
    /// # Errors
    /// [`Error::InputChanged`] where a source is no longer what it was when the unit was cut.
    pub(crate) fn open(&mut self, spec: UnitSpec) -> Result<WorkUnit> {
        let reading = Instant::now();
        let input = match &spec.rows {
            UnitRows::Parquet(ParquetRows { path, name, digest, range, columns }) => {
                let source = self.parquet(path, name, columns)?;
                if source.digest != *digest {
                    return Err(Error::InputChanged { name: name.clone() });
                }
                UnitInput::Parquet(source.scan(range.clone()))
            }
            UnitRows::Parsed(rows) => {
                let unit = self.records.read(rows).map_err(|error| match error {
                    ingest::Error::Changed { name } => Error::InputChanged { name },
                    other => other.into(),
                })?;
                UnitInput::Parsed { reviews: unit.reviews, rejects: unit.rejects }
            }
        };
        Ok(WorkUnit { spec, read_seconds: reading.elapsed().as_secs_f64(), input })
    }
}
