//! Labelled vectors as a trainer takes them, wherever the vectors are.
//!
//! Labels are few bytes a row and stay in memory. Vectors need not: a trainer asks for one part after another, and no
//! more of them at a time than it may hold.

use std::borrow::Cow;

use super::{Error, Result};

/// Where the vectors of examples are: in memory, or in parts that are read whenever they are wanted.
pub trait Vectors: Sync {
    /// How many parts there are; one where all vectors are in memory.
    fn parts(&self) -> usize;

    /// The part that a row's vector is in, and its place there.
    fn place(&self, row: usize) -> (usize, usize);

    /// The vectors of a part, row-major `[places, width]`.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn read(&self, part: usize) -> Result<Cow<'_, [f32]>>;

    /// How many vectors, copied out of the parts, may be in memory at a time.
    fn window(&self) -> usize {
        usize::MAX
    }
}

/// Vectors in memory, row-major `[rows, width]`.
#[derive(Debug, Clone, Copy)]
pub struct InMemory<'a>(pub &'a [f32]);

impl Vectors for InMemory<'_> {
    fn parts(&self) -> usize {
        1
    }

    fn place(&self, row: usize) -> (usize, usize) {
        (0, row)
    }

    fn read(&self, _: usize) -> Result<Cow<'_, [f32]>> {
        Ok(Cow::Borrowed(self.0))
    }
}

/// Labelled feature rows, as `train` takes them.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    /// The vectors.
    pub features: &'a dyn Vectors,
    /// The length of one vector.
    pub width: usize,
    /// The class index of each row, below `classes`.
    pub labels: &'a [u32],
    /// How many classes there are, whether or not all of them occur here.
    pub classes: usize,
    /// Which text each row holds: rows of one number hold the same.
    pub texts: &'a [u32],
}

impl Examples<'_> {
    /// Checks that labels and texts fit together; vectors are looked at when they are read.
    ///
    /// # Errors
    /// Where the lengths disagree or a label is not a class.
    pub fn check(&self) -> Result<()> {
        if self.width == 0 || self.texts.len() != self.labels.len() {
            return Err(Error::FeatureShape { values: self.texts.len(), rows: self.labels.len(), width: self.width });
        }
        match self.labels.iter().enumerate().find(|(_, label)| **label as usize >= self.classes) {
            Some((row, &label)) => Err(Error::LabelRange { row, label, classes: self.classes }),
            None => Ok(()),
        }
    }

    /// Hands the vectors of some rows of a part to `each`, row by row.
    ///
    /// # Errors
    /// Where the part cannot be read or lacks a row, or a vector holds NaN or an infinity.
    pub fn gather(&self, part: usize, rows: &[usize], each: &mut dyn FnMut(&[f32])) -> Result<()> {
        let values = self.features.read(part)?;
        for &row in rows {
            let (_, place) = self.features.place(row);
            let vector = values.get(place * self.width..(place + 1) * self.width).ok_or(Error::FeatureShape {
                values: values.len(),
                rows: place + 1,
                width: self.width,
            })?;
            if let Some(column) = vector.iter().position(|value| !value.is_finite()) {
                return Err(Error::NotFinite { row, column });
            }
            each(vector);
        }
        Ok(())
    }
}
