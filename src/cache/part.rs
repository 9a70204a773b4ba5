//! Writes one Parquet part so that it appears whole or not at all.
//!
//! When it has its name it still counts for nothing until the manifest names it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{Error, Part, Result};
use crate::files::failpoint::{self, Gaps, Point};
use crate::files::{Staged, sync_folder_of};
use crate::schema::Dataset;

/// Key-value metadata of every part of a run (dataset, schema version, encoder id, numerics).
pub type PartMetadata = HashMap<String, String>;

/// A part that is being written.
pub struct PartWriter {
    dataset: Dataset,
    name: String,
    temporary: PathBuf,
    writer: ArrowWriter<Staged>,
    rows: u64,
}

impl PartWriter {
    /// Begins the part `name` of `dataset` under the output folder `out`.
    pub fn create(
        out: &Path,
        dataset: Dataset,
        name: &str,
        schema: SchemaRef,
        metadata: &PartMetadata,
    ) -> Result<PartWriter> {
        let folder = out.join(dataset.name());
        let made = !folder.is_dir();
        fs::create_dir_all(&folder)?;
        if made {
            // A part is no more durable than the folder that it is in.
            sync_folder_of(&folder)?;
        }
        let file = Staged::create(&folder.join(name))?.with_gaps(Gaps::PART);
        let temporary = file.path().to_owned();
        let writer = ArrowWriter::try_new(file, schema, Some(properties(dataset, metadata)))
            .map_err(|source| Error::Parquet { path: temporary.clone(), source })?;
        Ok(PartWriter { dataset, name: name.to_owned(), temporary, writer, rows: 0 })
    }

    /// Appends a batch.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let written = self.writer.write(batch);
        failpoint::reached(Point::PartBegun);
        written.map_err(|source| Error::Parquet { path: self.temporary.clone(), source })
    }

    /// Makes the part durable under its final name and says what was written.
    pub fn finish(self) -> Result<Part> {
        let PartWriter { dataset, name, temporary, writer, rows } = self;
        let file = writer.into_inner().map_err(|source| Error::Parquet { path: temporary, source })?.seal()?;
        let (bytes, digest) = (file.bytes()?, file.digest()?);
        file.commit()?;
        Ok(Part { dataset: dataset.name().to_owned(), path: format!("{}/{name}", dataset.name()), rows, bytes, digest })
    }
}

pub(super) fn properties(dataset: Dataset, metadata: &PartMetadata) -> WriterProperties {
    let mut pairs: Vec<KeyValue> = vec![
        KeyValue::new("bertline.dataset".to_owned(), dataset.name().to_owned()),
        KeyValue::new("bertline.schema_version".to_owned(), dataset.contract().version.to_string()),
    ];
    pairs.extend(metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    pairs.sort_by(|a, b| a.key.cmp(&b.key));
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(pairs))
        .set_created_by(concat!("bertline ", env!("CARGO_PKG_VERSION")).to_owned());
    // Floats of an embedding neither repeat nor compress: a dictionary or zstd would cost time and save nothing.
    for column in ["embedding.list.item", "probabilities.list.item"] {
        let path = ColumnPath::from(column.split('.').map(str::to_owned).collect::<Vec<_>>());
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    let key = ColumnPath::from("key");
    builder
        .set_column_dictionary_enabled(key.clone(), false)
        .set_column_compression(key, Compression::UNCOMPRESSED)
        .build()
}
