//! The vectors of `embed` outputs, in memory where they fit, else read part by part whenever they are wanted.
//!
//! A part's digest is held against the manifest before its first read, and a part that changes during a long training ends
//! it.

use std::borrow::Cow;
use std::path::PathBuf;

use super::features_part::FeaturesPart;
use super::{Error, Manifest, Result};
use crate::schema::Dataset;

/// Vectors by their index over all parts, in the order of the outputs and their parts.
#[derive(Debug)]
pub(crate) struct Embeddings {
    width: usize,
    parts: Vec<PartVectors>,
    /// All of them, row-major, where they are in memory.
    kept: Option<Vec<f32>>,
}

#[derive(Debug)]
struct PartVectors {
    part: FeaturesPart,
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
                let path = dir.join(&part.path);
                let opened = FeaturesPart::open_whole(&path, &part.digest, &mut Vec::new())?;
                if opened.rows() != part.rows {
                    return Err(Error::PartRows { path, found: opened.rows(), expected: part.rows });
                }
                parts.push(PartVectors { part: opened, first: count });
                count += part.rows as usize;
            }
        }
        let width = parts.first().map_or(0, |part| part.part.width());
        let mut found = Embeddings { width, parts, kept: None };
        if (count * width * size_of::<f32>()) as u64 <= most_bytes {
            let mut all = Vec::with_capacity(count * width);
            found.parts.iter().try_for_each(|part| part.read_into(&mut all))?;
            found.kept = Some(all);
        }
        Ok(found)
    }

    /// The values of a vector.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether all are in memory.
    pub(crate) fn in_memory(&self) -> bool {
        self.kept.is_some()
    }

    /// How many parts are read one by one; one where all are in memory.
    pub(crate) fn parts(&self) -> usize {
        if self.in_memory() { 1 } else { self.parts.len() }
    }

    /// The part that a vector is in, and its place there.
    pub(crate) fn place(&self, vector: usize) -> (usize, usize) {
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
    pub(crate) fn read(&self, part: usize) -> Result<Cow<'_, [f32]>> {
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
        let rows: Vec<u32> = (0..self.part.rows() as u32).collect();
        self.part.fetch(&rows, vectors)
    }
}
