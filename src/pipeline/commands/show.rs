//! The command `show`: the first rows of any input, or of any stage's output.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_physical_plan::collect;
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::cache::Manifest;
use crate::engine::{self, task_context};
use crate::files::{Stored, list};
use crate::head::Bundle;
use crate::pipeline::inputs::{Inputs, Labels, UNIT_BYTES};
use crate::pipeline::{Error, ReadOptions, Result};
use crate::schema::Dataset;

/// Characters of a cell in a table.
const CELL: usize = 60;

/// A dataset's first rows.
pub(crate) struct Shown {
    /// What it is: a path and its rows.
    pub title: String,
    /// The rows.
    pub batch: RecordBatch,
}

impl Shown {
    /// The rows as text, long cells cut.
    pub(crate) fn table(&self) -> Result<RecordBatch> {
        let options = FormatOptions::default().with_null("");
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (field, column) in self.batch.schema().fields().iter().zip(self.batch.columns()) {
            let formatter = ArrayFormatter::try_new(column, &options).map_err(|error| self.fail(&error.to_string()))?;
            let cells = (0..column.len()).map(|row| cut(&formatter.value(row).to_string()));
            columns.push(Arc::new(StringArray::from_iter_values(cells)));
            fields.push(Field::new(field.name(), DataType::Utf8, false));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| self.fail(&error.to_string()))
    }

    fn fail(&self, why: &str) -> Error {
        Error::NotShown { path: self.title.clone().into(), why: why.to_owned() }
    }
}

fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CELL + 1).collect();
    if line.chars().count() > CELL { line.chars().take(CELL - 3).collect::<String>() + "..." } else { line }
}

/// The first `rows` rows of what is at `path`: each dataset of a stage's output, or the reviews of an input.
pub(crate) fn show(path: &str, rows: usize) -> Result<Vec<Shown>> {
    let dir = Path::new(path);
    let manifest = if dir.is_dir() { Manifest::read(dir)? } else { None };
    let Some(manifest) = manifest else {
        return match parquet_files(dir) {
            files if files.is_empty() => Ok(vec![reviews(path, rows)?]),
            files => Ok(vec![parquet(&files, path, rows)?]),
        };
    };
    let mut shown = Vec::new();
    for dataset in Dataset::ALL {
        let total: u64 = manifest.parts(dataset.name()).map(|part| part.rows).sum();
        let title = format!("{path}/{}: {total} rows", dataset.name());
        let parts: Vec<PathBuf> = manifest.parts(dataset.name()).map(|part| dir.join(&part.path)).collect();
        if !parts.is_empty() {
            shown.push(parquet(&parts, &title, rows)?);
        }
    }
    if shown.is_empty() && dir.join("bundle.json").is_file() {
        return head(dir);
    }
    if shown.is_empty() {
        let why = "no part of it is committed yet".to_owned();
        return Err(Error::NotShown { path: dir.to_owned(), why });
    }
    Ok(shown)
}

/// What a head is and how good: its figures, and its confusion matrix on the validation rows.
fn head(dir: &Path) -> Result<Vec<Shown>> {
    let (bundle, _) = Bundle::load(dir)?;
    let (training, found) = (&bundle.training, &bundle.training.validation);
    let figures = [
        ("encoder", bundle.encoder.model.clone()),
        ("numerics", bundle.encoder.numerics.to_string()),
        ("max_length", bundle.encoder.identity.max_length.to_string()),
        ("labels", bundle.labels.join(", ")),
        ("recipe", training.recipe.name.to_string()),
        ("rows trained on, validated on", format!("{}, {}", training.train_rows, training.validation_rows)),
        ("best epoch", format!("{} of {}", training.best_epoch, training.epochs.len())),
        ("validation accuracy", format!("{:.4}", found.accuracy)),
        ("validation log loss", format!("{:.4}", found.log_loss)),
        ("validation balanced accuracy", format!("{:.4}", found.balanced_accuracy)),
        ("validation macro F1", format!("{:.4}", found.macro_f1)),
    ];
    let text = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let names = figures.iter().map(|(name, _)| (*name).to_owned()).collect();
    let values = figures.into_iter().map(|(_, value)| value).collect();
    let mut columns = vec![("true \\ predicted".to_owned(), text(bundle.labels.clone()))];
    for (class, label) in bundle.labels.iter().enumerate() {
        columns.push((label.clone(), text(found.confusion.iter().map(|row| row[class].to_string()).collect())));
    }
    let title = |what: &str| format!("{}: {what}", dir.display());
    let shown = |title: String, columns: Vec<(String, ArrayRef)>| match RecordBatch::try_from_iter(columns) {
        Ok(batch) => Ok(Shown { title, batch }),
        Err(error) => Err(Error::NotShown { path: dir.to_owned(), why: error.to_string() }),
    };
    Ok(vec![
        shown(title("a head"), vec![("figure".to_owned(), text(names)), ("value".to_owned(), text(values))])?,
        shown(title("confusion on the validation rows"), columns)?,
    ])
}

/// The Parquet file that `path` is, or those right inside it.
fn parquet_files(path: &Path) -> Vec<PathBuf> {
    let is_parquet =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet" || extension == "pq");
    if !path.is_dir() {
        return [path.to_owned()].into_iter().filter(is_parquet).collect();
    }
    list(path).unwrap_or_default().into_iter().filter(is_parquet).collect()
}

/// The first rows of several files of one schema.
fn parquet(files: &[PathBuf], title: &str, rows: usize) -> Result<Shown> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut left = rows;
    for path in files {
        let open = |source| engine::Error::Open { path: path.clone(), source };
        let file = Stored::open(path).map_err(engine::Error::from)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(open)?;
        let schema = Arc::clone(builder.schema());
        if batches.first().is_some_and(|first| first.schema() != schema) {
            break;
        }
        let reader = builder.with_batch_size(left.max(1)).with_limit(left).build().map_err(open)?;
        let read: Vec<RecordBatch> =
            reader.collect::<std::result::Result<_, _>>().map_err(|error| open(error.into()))?;
        left -= read.iter().map(RecordBatch::num_rows).sum::<usize>().min(left);
        batches.push(RecordBatch::new_empty(schema));
        batches.extend(read);
        if left == 0 {
            break;
        }
    }
    let none = || Error::NotShown { path: title.into(), why: "there is no parquet file".to_owned() };
    let schema = batches.first().ok_or_else(none)?.schema();
    let batch = arrow::compute::concat_batches(&schema, &batches)
        .map_err(|error| Error::NotShown { path: title.into(), why: error.to_string() })?;
    Ok(Shown { title: title.to_owned(), batch })
}

fn reviews(path: &str, rows: usize) -> Result<Shown> {
    let read = ReadOptions { inputs: vec![path.to_owned()], limit: Some(rows as u64), ..ReadOptions::default() };
    let inputs = Arc::new(Inputs::find(&read, "none", Labels::Found, UNIT_BYTES)?);
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    threads.block_on(async {
        let mut units = std::pin::pin!(inputs.units());
        let Some(unit) = units.next().await else {
            return Err(Error::NoRows { inputs: path.to_owned(), stage: "show" });
        };
        let unit = unit?;
        let failed = |error| engine::Error::unit(unit.spec.source(), error);
        let batches = collect(unit.scan()?, task_context(None)).await.map_err(failed)?;
        let schema = batches.first().map_or_else(|| crate::schema::reviews(&[]), |batch| batch.schema());
        let batch = arrow::compute::concat_batches(&schema, &batches).map_err(|error| failed(error.into()))?;
        Ok(Shown { title: format!("{path}: as reviews"), batch: batch.slice(0, rows.min(batch.num_rows())) })
    })
}
