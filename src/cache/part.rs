//! Writes one Parquet part so that it appears whole or not at all.
//!
//! A part is written under a name that starts with `_` (readers of Parquet folders pass such names over), fsynced,
//! renamed, and its folder fsynced. It still counts for nothing until the manifest names it.

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
use crate::files::failpoint::{self, Point};
use crate::schema::Dataset;

/// Key-value metadata of every part of a run (dataset, schema version, encoder id, numerics).
pub type PartMetadata = HashMap<String, String>;

/// A part that is being written.
pub struct PartWriter {
    dataset: Dataset,
    name: String,
    temporary: PathBuf,
    target: PathBuf,
    writer: ArrowWriter<fs::File>,
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
        fs::create_dir_all(&folder)?;
        let (temporary, target) = (folder.join(format!("_{name}")), folder.join(name));
        let writer = ArrowWriter::try_new(fs::File::create(&temporary)?, schema, Some(properties(dataset, metadata)))
            .map_err(|source| Error::Parquet { path: temporary.clone(), source })?;
        Ok(PartWriter { dataset, name: name.to_owned(), temporary, target, writer, rows: 0 })
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
        let PartWriter { dataset, name, temporary, target, writer, rows } = self;
        let file = writer.into_inner().map_err(|source| Error::Parquet { path: temporary.clone(), source })?;
        failpoint::reached(Point::PartWritten);
        file.sync_all()?;
        failpoint::reached(Point::PartSynced);
        let bytes = file.metadata()?.len();
        drop(file);
        let digest = digest(&temporary)?;
        fs::rename(&temporary, &target)?;
        failpoint::reached(Point::PartRenamed);
        sync_folder(&target)?;
        Ok(Part { dataset: dataset.name().to_owned(), path: format!("{}/{name}", dataset.name()), rows, bytes, digest })
    }
}

/// Flushes the folder that holds `path`, so that a rename into it survives a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// BLAKE3-128 of a file.
pub(super) fn digest(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex()[..32].to_owned())
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
