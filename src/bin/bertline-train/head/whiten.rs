//! Whitening: bringing features to mean 0, unit variance and no correlation, and undoing it in the head.
//!
//! CLS vectors vary a thousand times more along some directions than along others, and what tells classes apart lies in
//! both, so that gradient descent on vectors as they come learns the strong directions and little else. Folding the
//! whitening into the first layer keeps it out of the bundle: a head takes vectors as the encoder makes them.

use tch::{Device, Kind, Tensor};

use super::libtorch::{Torch, copy, torch};
use super::{Error, Head, Result};

/// How many rows a position of the vector the even covariance counts for. Of 1, 3 and 10, 10 did best or as well as any
/// on 300 to 12,000 rows of three data sets.
const EVEN_ROWS: f64 = 10.0;
/// What fails, for messages.
const ACTION: &str = "whiten the features";

/// What the covariance is computed from, in 64-bit floats. Sums of squares lose digits far from zero, so they are taken
/// around a point near the mean.
struct Sums {
    origin: Tensor,
    sum: Tensor,
    squares: Tensor,
}

impl Sums {
    fn around(values: &Tensor) -> Torch<Self> {
        let origin = values.f_mean_dim(0, false, Kind::Double)?;
        let width = origin.numel() as i64;
        let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Double, Device::Cpu));
        let mut sums = Sums { origin, sum: zeros(&[width])?, squares: zeros(&[width, width])? };
        sums.add(values)?;
        Ok(sums)
    }

    fn add(&mut self, values: &Tensor) -> Torch<()> {
        let values = values.f_sub(&self.origin)?;
        let _ = self.sum.f_add_(&values.f_sum_dim_intlist(0, false, Kind::Double)?)?;
        let _ = self.squares.f_add_(&values.f_tr()?.f_matmul(&values)?)?;
        Ok(())
    }
}

/// How vectors spread, measured as they come.
pub(super) struct Spread {
    width: usize,
    sums: Option<Sums>,
}

impl Spread {
    /// Of vectors of this width.
    pub(super) fn new(width: usize) -> Self {
        Self { width, sums: None }
    }

    /// Takes vectors in, row-major.
    pub(super) fn add(&mut self, values: &[f32]) -> Result<()> {
        let mut add = || {
            let values = Tensor::f_from_slice(values)?.f_reshape([-1, self.width as i64])?;
            let values = values.f_to_kind(Kind::Double)?;
            match &mut self.sums {
                Some(sums) => sums.add(&values),
                None => {
                    self.sums = Some(Sums::around(&values)?);
                    Ok(())
                }
            }
        };
        add().map_err(torch(ACTION))
    }

    /// What whitens them, so many rows in all.
    pub(super) fn whitener(self, rows: usize) -> Result<Whitener> {
        let sums = self.sums.ok_or(Error::TooFewClasses { rows: 0, found: 0 })?;
        Whitener::from_sums(&sums, rows).map_err(torch(ACTION))
    }
}

/// The affine map `(x - mean) * matrix`, in 64-bit floats.
pub(super) struct Whitener {
    /// `[width]`.
    mean: Tensor,
    /// `[width, width]`.
    matrix: Tensor,
}

impl Whitener {
    /// Of few rows the weak directions are known badly, and blowing them up would drown the rest: the covariance is
    /// drawn towards an even one as if that had been seen in `EVEN_ROWS` rows a position.
    fn from_sums(Sums { origin, sum, squares }: &Sums, rows: usize) -> Torch<Self> {
        let (width, count) = (origin.numel(), rows as f64);
        let offset = sum.f_div_scalar(count)?;
        let covariance = squares.f_div_scalar(count)?.f_sub(&offset.f_outer(&offset)?)?;
        let (variances, directions) = covariance.f_linalg_eigh("L")?;
        let variances = variances.f_clamp_min(0.0)?;
        let share = EVEN_ROWS * width as f64 / (EVEN_ROWS * width as f64 + count);
        let even = variances.f_mean(Kind::Double)?.f_mul_scalar(share)?;
        // Vectors that are all alike have no variance at all, and stay at zero.
        let drawn = variances.f_mul_scalar(1.0 - share)?.f_add(&even)?.f_clamp_min(1e-12)?;
        Ok(Self { mean: origin.f_add(&offset)?, matrix: directions.f_mul(&drawn.f_rsqrt()?)? })
    }

    /// Whitens vectors `[rows, width]`.
    pub(super) fn apply(&self, features: &Tensor) -> Torch<Tensor> {
        features.f_sub(&self.mean.f_to_kind(Kind::Float)?)?.f_matmul(&self.matrix.f_to_kind(Kind::Float)?)
    }

    /// Changes a head for whitened vectors into the one that gives the same for vectors as they come.
    pub(super) fn fold_into(&self, head: &mut Head) -> Torch<()> {
        let Some(first) = head.layers.first_mut() else { return Ok(()) };
        let shape = [first.outputs as i64, first.inputs as i64];
        let weight = Tensor::f_from_slice(&first.weight)?.f_reshape(shape)?.f_to_kind(Kind::Double)?;
        let weight = weight.f_matmul(&self.matrix.f_tr()?)?;
        let bias = Tensor::f_from_slice(&first.bias)?.f_to_kind(Kind::Double)?.f_sub(&weight.f_mv(&self.mean)?)?;
        first.weight = copy(&weight.f_to_kind(Kind::Float)?)?;
        first.bias = copy(&bias.f_to_kind(Kind::Float)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{noise, random_head};

    const WIDTH: usize = 6;

    /// Vectors far from zero, of very different variances, two positions correlated and one constant.
    fn skewed(rows: usize) -> Vec<f32> {
        let mut features = noise(rows * WIDTH, 1);
        for row in features.chunks_exact_mut(WIDTH) {
            row[0] = row[0] * 30.0 + 100.0;
            row[1] += row[0] * 0.1;
            row[2] *= 0.05;
            row[3] = 7.5;
        }
        features
    }

    fn whitened(features: &[f32]) -> (Whitener, Tensor) {
        let rows = features.len() / WIDTH;
        let mut spread = Spread::new(WIDTH);
        // In two steps, as a side hands them over.
        features.chunks(rows.div_ceil(2) * WIDTH).for_each(|values| spread.add(values).unwrap());
        let whitener = spread.whitener(rows).unwrap();
        let tensor = Tensor::from_slice(features).view([rows as i64, WIDTH as i64]);
        let result = whitener.apply(&tensor).unwrap();
        (whitener, result)
    }

    #[test]
    fn many_rows_come_out_centred_and_uncorrelated() {
        let rows = 100_000;
        let (_, values) = whitened(&skewed(rows));
        let mean: Vec<f32> = copy(&values.mean_dim(0, false, Kind::Float)).unwrap();
        assert!(mean.iter().all(|value| value.abs() < 1e-2), "{mean:?}");
        let covariance = copy(&(values.tr().matmul(&values) / rows as f64)).unwrap();
        for (index, value) in covariance.iter().enumerate() {
            let (row, column) = (index / WIDTH, index % WIDTH);
            // The weakest directions are below what shrinking adds, hence below 1.
            let largest = if row == column { 1.01 } else { 0.01 };
            assert!(*value <= largest && (row != column || row < 3 || *value > 0.9), "{covariance:?}");
        }
    }

    #[test]
    fn a_folded_head_gives_the_same_for_vectors_as_they_come() {
        let features = skewed(50);
        let (whitener, values) = whitened(&features);
        let head = random_head(&[WIDTH, 5, 3]);
        let mut folded = head.clone();
        whitener.fold_into(&mut folded).unwrap();
        for (before, after) in head.logits(&copy(&values).unwrap()).iter().zip(folded.logits(&features)) {
            assert!((before - after).abs() < 1e-3, "{before} is not {after}");
        }
    }

    #[test]
    fn vectors_that_are_all_alike_stay_finite() {
        let (_, values) = whitened(&[2.5; 8 * WIDTH]);
        assert!(copy(&values).unwrap().iter().all(|value| value.abs() < 1e-3));
    }
}
