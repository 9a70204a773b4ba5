//! The bottom of a unit's plan: a row range of one Parquet file, projected to the columns that a stage works on.
//!
//! The scan itself supplies `source_file` (a partition value) and `row` (Parquet's row number, a virtual column), so
//! that lineage needs no counting and survives any row selection. Work stealing and repartitioning are off: one file
//! group, one partition, rows in file order.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_datasource::PartitionedFile;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use datafusion_datasource::source::DataSourceExec;
use datafusion_datasource::table_schema::TableSchema;
use datafusion_datasource_parquet::ParquetAccessPlan;
use datafusion_datasource_parquet::source::ParquetSource;
use datafusion_execution::object_store::ObjectStoreUrl;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{CastExpr, Column, lit};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::projection::{ProjectionExec, ProjectionExpr};
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector};
use serde::{Deserialize, Serialize};

use super::pages::Pages;
use super::{arrow_fields, clean, kept};
use crate::files::Stored;
use crate::ingest::Clean;

/// Names that cannot collide with a user's columns.
const SOURCE_FILE: &str = "__bertline_source_file";
const ROW: &str = "__bertline_row";
/// The first bytes of texts that are no UTF-8, where the text column is binary and may thus hold such.
pub(super) const BROKEN: &str = "__bertline_broken";

/// What the scan reads of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScanColumns {
    /// The text column, cast to Utf8.
    pub text: String,
    /// The label column, cast to Utf8.
    pub label: Option<String>,
    /// Further columns and the types that they have in the output; null where the file lacks one.
    #[serde(with = "arrow_fields")]
    pub keep: Vec<Field>,
    /// What is done to the texts.
    pub clean: Clean,
}

impl ScanColumns {
    /// The names of the file's columns that are read, those of the lineage of a `reviews` dataset included.
    pub(super) fn names(&self, carries_lineage: bool) -> Vec<&str> {
        let lineage = ["source_file", "row"].into_iter().filter(|_| carries_lineage);
        let kept = self.keep.iter().map(|field| field.name().as_str());
        [self.text.as_str()].into_iter().chain(self.label.as_deref()).chain(kept).chain(lineage).collect()
    }
}

/// A row range of one Parquet file.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its Arrow schema.
    pub schema: SchemaRef,
    /// Rows of each row group.
    pub row_groups: Arc<[u64]>,
    /// What is wrong with each row group, where that is known; such a one must not be decoded.
    pub damaged: Arc<[Option<String>]>,
    /// The rows to read, counted over the file.
    pub range: Range<u64>,
    /// The file's name for `source_file`; `None` where the file is a `reviews` dataset, which carries its own lineage.
    pub source_file: Option<String>,
    /// The columns to read.
    pub columns: ScanColumns,
}

/// Reads the footer of a Parquet file.
pub(crate) fn open_parquet(path: &Path) -> super::Result<ArrowReaderMetadata> {
    ArrowReaderMetadata::load(&Stored::open(path)?, ArrowReaderOptions::new())
        .map_err(|source| super::Error::Open { path: path.to_owned(), source })
}

impl Scan {
    /// The scan and projection as a physical plan with the columns `source_file`, `row`, `text`, `label` (null where
    /// there is no label column), for a binary text column [`BROKEN`], then the kept ones.
    pub(crate) fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.source()?;
        let input = scan.schema();
        let column =
            |name: &str| -> Result<Arc<dyn PhysicalExpr>> { Ok(Arc::new(Column::new_with_schema(name, &input)?)) };
        let cast = |name: &str, to: DataType| -> Result<Arc<dyn PhysicalExpr>> {
            let found = column(name)?;
            // Bytes that are no text become null, and not the end of the run.
            let options =
                is_binary(&found.data_type(&input)?).then(|| CastOptions { safe: true, ..CastOptions::default() });
            Ok(if found.data_type(&input)? == to { found } else { Arc::new(CastExpr::new(found, to, options)) })
        };
        let (file, row) = match self.source_file {
            Some(_) => (column(SOURCE_FILE)?, cast(ROW, DataType::UInt64)?),
            None => (column("source_file")?, column("row")?),
        };
        let mut output = vec![(file, "source_file".to_owned()), (row, "row".to_owned())];
        let text = clean::clean(cast(&self.columns.text, DataType::Utf8)?, self.columns.clean);
        output.push((text, "text".to_owned()));
        let label = match &self.columns.label {
            // A `reviews` dataset went through a parser's hands already.
            Some(label) if self.source_file.is_none() => cast(label, DataType::Utf8)?,
            Some(label) => clean::label(cast(label, DataType::Utf8)?),
            None => lit(ScalarValue::Utf8(None)),
        };
        output.push((label, "label".to_owned()));
        if is_binary(&column(&self.columns.text)?.data_type(&input)?) {
            output.push((clean::broken(cast(&self.columns.text, DataType::Binary)?), BROKEN.to_owned()));
        }
        for field in &self.columns.keep {
            let kept = match self.schema.column_with_name(field.name()) {
                Some(_) => cast(field.name(), field.data_type().clone())?,
                None => lit(ScalarValue::try_from(field.data_type())?),
            };
            output.push((kept, kept::inside(field.name())));
        }
        let output = output.into_iter().map(|(expr, alias)| ProjectionExpr { expr, alias });
        Ok(Arc::new(ProjectionExec::try_new(output, scan)?))
    }

    fn source(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let lineage = self.source_file.is_some();
        let partition = vec![Arc::new(Field::new(SOURCE_FILE, DataType::Utf8, false))];
        let number = Field::new(ROW, DataType::Int64, false).with_extension_type(RowNumber);
        let mut table = TableSchema::builder(Arc::clone(&self.schema));
        if lineage {
            table = table.with_table_partition_cols(partition).with_virtual_columns(vec![Arc::new(number)]);
        }
        let file = self.file()?;
        let source = Arc::new(ParquetSource::new(table.build()).with_enable_page_index(true));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_projection_indices(Some(self.projection(lineage)))?
            .with_preserve_order(true)
            .with_file(file)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// What is known to be wrong with a row group that the range reaches into.
    pub(super) fn damage(&self) -> Option<&str> {
        let damaged = self.groups().zip(self.damaged.iter());
        damaged.filter(|((_, rows), _)| !rows.is_empty()).find_map(|(_, damage)| damage.as_deref())
    }

    /// The rows of the range at which pages begin, the range's first row among them.
    pub(super) fn page_starts(&self) -> super::Result<Vec<u64>> {
        let file = Stored::open(&self.path)?;
        let columns = self.columns.names(self.source_file.is_none());
        Ok(Pages::new(file, open_parquet(&self.path)?, columns).starts(&self.range))
    }

    /// For each row group, its rows inside the range, both counted over the file.
    fn groups(&self) -> impl Iterator<Item = (Range<u64>, Range<u64>)> {
        let mut next = 0;
        self.row_groups.iter().map(move |rows| {
            let group = next..next + rows;
            next = group.end;
            let start = self.range.start.clamp(group.start, group.end);
            let end = self.range.end.clamp(start, group.end);
            (group, start..end)
        })
    }

    fn projection(&self, lineage: bool) -> Vec<usize> {
        let names = self.columns.names(!lineage);
        let mut indices: Vec<usize> = names.iter().filter_map(|name| self.schema.index_of(name).ok()).collect();
        indices.sort_unstable();
        indices.dedup();
        if lineage {
            let columns = self.schema.fields().len();
            indices.extend([columns, columns + 1]);
        }
        indices
    }

    fn file(&self) -> Result<PartitionedFile> {
        // An object store's path has no `..` and no links.
        let path = fs_err::canonicalize(&self.path)?;
        let location = object_store::path::Path::from_absolute_path(&path)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let meta = ObjectMeta {
            location,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: self.bytes,
            e_tag: None,
            version: None,
        };
        let mut file = PartitionedFile::new_from_meta(meta).with_extension(self.access_plan());
        if let Some(name) = &self.source_file {
            file = file.with_partition_values(vec![ScalarValue::Utf8(Some(name.clone()))]);
        }
        Ok(file)
    }

    fn access_plan(&self) -> ParquetAccessPlan {
        let mut plan = ParquetAccessPlan::new_none(self.row_groups.len());
        for (index, (group, rows)) in self.groups().enumerate().filter(|(_, (_, rows))| !rows.is_empty()) {
            plan.scan(index);
            if rows != group {
                let count = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
                let selectors = vec![
                    RowSelector::skip(count(group.start, rows.start)),
                    RowSelector::select(count(rows.start, rows.end)),
                    RowSelector::skip(count(rows.end, group.end)),
                ];
                plan.scan_selection(index, RowSelection::from(selectors));
            }
        }
        plan
    }
}

fn is_binary(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_binary(values),
        other => matches!(other, DataType::Binary | DataType::LargeBinary | DataType::BinaryView),
    }
}
