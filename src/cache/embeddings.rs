//! The vectors of `embed` outputs, in memory where they fit, else read part by part whenever they are wanted.
//!
//! Each read holds the part's digest against the manifest, so that a part that changes during a long training ends it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};
use fs_err as fs;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::features::read_part;
use super::{Error, Manifest, Part, Result};
use crate::schema::Dataset;

/// Vectors by their index over all parts, in the order of the outputs and their parts.
#[derive(Debug)]
pub struct Embeddings {
    width: usize,
    parts: Vec<PartVectors>,
    /// All of them, row-major, where they are in memory.
    kept: Option<Vec<f32>>,
}

#[derive(Debug)]
struct PartVectors {
    dir: PathBuf,
    part: Part,
    /// The index of its first vector.
    first: usize,
}

impl Embeddings {
    /// The vectors of finished embed outputs; they stay in memory where they take at most `most_bytes`.
    pub(super) fn of(outputs: &[(PathBuf, Manifest)], most_bytes: u64) -> Result<Embeddings> {
        let mut parts: Vec<PartVectors> = Vec::new();
        let mut count = 0;
        for (dir, manifest) in outputs {
            for part in manifest.parts(Dataset::Features.name()) {
                parts.push(PartVectors { dir: dir.clone(), part: part.clone(), first: count });
                count += part.rows as usize;
            }
        }
        let width = parts.first().map_or(Ok(0), |part| width_of(&part.dir.join(&part.part.path)))?;
        let mut found = Embeddings { width, parts, kept: None };
        if (count * width * size_of::<f32>()) as u64 <= most_bytes {
            let mut all = Vec::with_capacity(count * width);
            found.parts.iter().try_for_each(|part| part.read_into(&mut all))?;
            found.kept = Some(all);
        }
        Ok(found)
    }

    /// The values of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether all are in memory.
    pub fn in_memory(&self) -> bool {
        self.kept.is_some()
    }

    /// How many parts are read one by one; one where all are in memory.
    pub fn parts(&self) -> usize {
        if self.in_memory() { 1 } else { self.parts.len() }
    }

    /// The part that a vector is in, and its place there.
    pub fn place(&self, vector: usize) -> (usize, usize) {
        if self.in_memory() {
            return (0, vector);
        }
        let part = self.parts.partition_point(|part| part.first <= vector) - 1;
        (part, vector - self.parts[part].first)
    }

    /// The vectors of a part, row-major [vectors, width].
    ///
    /// # Errors
    /// Where the part cannot be read, or is not what was committed.
    pub fn read(&self, part: usize) -> Result<Cow<'_, [f32]>> {
        if let Some(all) = &self.kept {
            return Ok(Cow::Borrowed(all));
        }
        let mut vectors = Vec::new();
        self.parts[part].read_into(&mut vectors)?;
        Ok(Cow::Owned(vectors))
    }
}

impl PartVectors {
    fn read_into(&self, vectors: &mut Vec<f32>) -> Result<()> {
        read_part(&self.dir, &self.part, &["embedding"], &mut |batch| {
            vectors.extend_from_slice(values(batch));
            Ok(())
        })
    }
}

/// The values of a batch's vectors.
fn values(batch: &RecordBatch) -> &[f32] {
    let vectors = batch["embedding"].as_fixed_size_list();
    let (start, width) = (vectors.value_offset(0) as usize, vectors.value_length() as usize);
    &vectors.values().as_primitive::<Float32Type>().values()[start..start + batch.num_rows() * width]
}

/// The length of a part's vectors, by its schema.
fn width_of(path: &Path) -> Result<usize> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path)?.into_file())
        .map_err(|source| Error::Parquet { path: path.to_owned(), source })?;
    Dataset::Features.contract().check(builder.schema(), &path.to_string_lossy())?;
    match builder.schema().field_with_name("embedding").map(|field| field.data_type()) {
        Ok(DataType::FixedSizeList(_, width)) => Ok(*width as usize),
        // A schema that keeps the contract has the column as such a list.
        _ => Ok(0),
    }
}
