//! The rows on one side of a split, as tensors: all at once where they fit, else window by window.
//!
//! A window is a few parts of the features, in an order that is drawn anew for every epoch; the rows of a window are
//! shuffled among themselves. Where all features are in memory there is one window, which is made once.

use bertline::head::{Examples, Result};
use tch::{Device, Kind, Tensor};

use super::device::{device, there};
use super::libtorch::{Torch, torch};
use super::whiten::{Spread, Whitener};

/// Rows that are copied at a time.
const STEP: usize = 8192;

/// Rows as tensors: features `[rows, width]`, whitened where the recipe says so, and labels `[rows]`.
pub(super) struct Rows {
    pub features: Tensor,
    pub labels: Tensor,
}

impl Rows {
    pub(super) fn len(&self) -> i64 {
        self.labels.numel() as i64
    }

    /// The same tensors, for another thread.
    pub(super) fn shallow_clone(&self) -> Self {
        Self { features: self.features.shallow_clone(), labels: self.labels.shallow_clone() }
    }
}

/// Some rows of examples, by the parts that their vectors are in.
pub(super) struct Side<'a> {
    pub examples: &'a Examples<'a>,
    /// Parts with the rows in them; none is empty.
    parts: Vec<(usize, Vec<usize>)>,
    /// The one window, where there is but one.
    kept: Option<Rows>,
}

impl<'a> Side<'a> {
    pub(super) fn of(examples: &'a Examples<'a>, rows: &[usize]) -> Side<'a> {
        let mut parts: Vec<(usize, Vec<usize>)> =
            (0..examples.features.parts()).map(|part| (part, Vec::new())).collect();
        rows.iter().for_each(|&row| parts[examples.features.place(row).0].1.push(row));
        parts.retain(|(_, rows)| !rows.is_empty());
        Side { examples, parts, kept: None }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// All rows, part by part.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().flat_map(|(_, rows)| rows).copied()
    }

    /// Hands the vectors of up to [`STEP`] rows at a time to `each`, row-major, part by part.
    pub(super) fn each_step(&self, each: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.parts.iter().try_for_each(|part| self.steps_of(part, each))
    }

    fn steps_of(&self, (part, rows): &(usize, Vec<usize>), each: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let mut values = Vec::new();
        for rows in rows.chunks(STEP) {
            values.clear();
            self.examples.gather(*part, rows, &mut |vector| values.extend_from_slice(vector))?;
            each(&values)?;
        }
        Ok(())
    }

    /// What whitens these rows.
    pub(super) fn whitener(&self) -> Result<Whitener> {
        let mut spread = Spread::new(self.examples.width);
        self.each_step(&mut |values| spread.add(values))?;
        spread.whitener(self.len())
    }

    /// All rows in one window, part by part.
    pub(super) fn whole(&self, whitener: Option<&Whitener>) -> Result<Rows> {
        self.window(&(0..self.parts.len()).collect::<Vec<_>>(), whitener)
    }

    /// Makes the tensors that stay for the whole run, where they may.
    pub(super) fn prepare(&mut self, whitener: Option<&Whitener>) -> Result<()> {
        if let [window] = self.windows(false)?.as_slice() {
            self.kept = Some(self.window(window, whitener)?);
        }
        Ok(())
    }

    /// Hands one window after the other to `each`, in a drawn order where it is wanted.
    pub(super) fn each_window(
        &self,
        drawn: bool,
        whitener: Option<&Whitener>,
        each: &mut dyn FnMut(&Rows) -> Result<()>,
    ) -> Result<()> {
        if let Some(rows) = &self.kept {
            return each(rows);
        }
        for window in self.windows(drawn)? {
            each(&self.window(&window, whitener)?)?;
        }
        Ok(())
    }

    /// Places in `parts`, put together as long as their rows may be in memory at a time.
    fn windows(&self, drawn: bool) -> Result<Vec<Vec<usize>>> {
        let count = self.parts.len();
        let mut order: Vec<i64> = (0..count as i64).collect();
        if drawn && count > 1 {
            let drawn = Tensor::f_randperm(count as i64, (Kind::Int64, Device::Cpu));
            drawn.and_then(|drawn| drawn.f_copy_data(&mut order, count)).map_err(torch("draw an order of parts"))?;
        }
        let (most, mut rows) = (self.examples.features.window(), 0);
        let mut windows: Vec<Vec<usize>> = Vec::new();
        for place in order.into_iter().map(|place| place as usize) {
            rows += self.parts[place].1.len();
            match windows.last_mut().filter(|_| rows <= most) {
                Some(window) => window.push(place),
                None => {
                    rows = self.parts[place].1.len();
                    windows.push(vec![place]);
                }
            }
        }
        Ok(windows)
    }

    fn window(&self, window: &[usize], whitener: Option<&Whitener>) -> Result<Rows> {
        let rows: usize = window.iter().map(|place| self.parts[*place].1.len()).sum();
        let width = self.examples.width as i64;
        let failed = "take features over";
        let features = Tensor::f_empty([rows as i64, width], (Kind::Float, device())).map_err(torch(failed))?;
        let (mut labels, mut done): (Vec<i64>, i64) = (Vec::with_capacity(rows), 0);
        for place in window {
            labels.extend(self.parts[*place].1.iter().map(|row| i64::from(self.examples.labels[*row])));
            self.steps_of(&self.parts[*place], &mut |values| {
                let count = values.len() as i64 / width;
                fill(&features.f_narrow(0, done, count).map_err(torch(failed))?, values, whitener)
                    .map_err(torch(failed))?;
                done += count;
                Ok(())
            })?;
        }
        let labels = Tensor::f_from_slice(&labels).and_then(there).map_err(torch(failed))?;
        Ok(Rows { features, labels })
    }
}

/// Puts vectors into rows of a tensor.
fn fill(into: &Tensor, values: &[f32], whitener: Option<&Whitener>) -> Torch<()> {
    let mut vectors = Tensor::f_from_slice(values)?.f_reshape(into.size())?;
    if let Some(whitener) = whitener {
        vectors = whitener.apply(&vectors)?;
    }
    into.shallow_clone().f_copy_(&vectors)
}
