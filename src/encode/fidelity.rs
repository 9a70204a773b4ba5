//! How close vectors are to others that should be the same.

use serde::Serialize;

/// Over the rows of two matrices of the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Fidelity {
    /// The least cosine of a row to its counterpart.
    pub worst_cosine: f64,
    /// Their mean.
    pub mean_cosine: f64,
    /// The largest absolute difference of two values.
    pub max_difference: f32,
}

impl Fidelity {
    /// Compares `found` with `due`, both row-major with rows of `hidden` values.
    pub(crate) fn of(found: &[f32], due: &[f32], hidden: usize) -> Fidelity {
        let rows = || found.chunks_exact(hidden).zip(due.chunks_exact(hidden));
        let cosines: Vec<f64> = rows().map(|(found, due)| cosine(found, due)).collect();
        let differences = found.iter().zip(due).map(|(found, due)| (found - due).abs());
        Fidelity {
            worst_cosine: cosines.iter().copied().fold(1.0, f64::min),
            mean_cosine: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
            max_difference: differences.fold(0.0, f32::max),
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    match lengths > 0.0 {
        true => dot(a, b) / lengths,
        // A vector without direction, or one that is no number, is like nothing but its equal.
        false => f64::from(u8::from(a == b)) * 2.0 - 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_row_and_the_mean_are_told() {
        let fidelity = Fidelity::of(&[1.0, 0.0, 0.0, 2.0], &[1.0, 0.0, 2.0, 0.0], 2);
        assert_eq!((fidelity.worst_cosine, fidelity.mean_cosine, fidelity.max_difference), (0.0, 0.5, 2.0));
        assert_eq!(Fidelity::of(&[0.0, 0.0], &[1.0, 0.0], 2).worst_cosine, -1.0);
        assert_eq!(Fidelity::of(&[f32::NAN, 0.0], &[1.0, 0.0], 2).worst_cosine, -1.0);
    }
}
