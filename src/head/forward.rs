//! The head itself: dense layers with ReLU between them, and their forward pass in plain Rust.
//!
//! Scoring applies a head to every vector that the encoder makes and must not need libtorch for it. A row's result does
//! not depend on the rows beside it, to the bit: sums run in the same order whether a row is computed alone or in a
//! block.

/// How many partial sums a dot product keeps, so that the compiler can use vector registers.
const LANES: usize = 8;
/// How many rows share one pass over a weight row.
const BLOCK: usize = 4;

/// One dense layer, `y = x * weight^T + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Row-major `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// The length of an input vector.
    pub inputs: usize,
    /// The length of an output vector.
    pub outputs: usize,
}

/// A trained classifier head: at least one layer, ReLU between layers, any standardisation folded into the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The layers in the order in which they are applied.
    pub layers: Vec<Dense>,
}

impl Head {
    /// Why the layers do not make a head, or `None` where they do.
    pub(super) fn fault(&self) -> Option<String> {
        if self.layers.is_empty() {
            return Some("there are no layers".to_owned());
        }
        for (number, layer) in self.layers.iter().enumerate() {
            if layer.inputs == 0 || layer.outputs == 0 {
                return Some(format!("layer {number} is empty"));
            }
            if layer.weight.len() != layer.inputs * layer.outputs || layer.bias.len() != layer.outputs {
                return Some(format!("layer {number} has a weight or bias of the wrong length"));
            }
            if layer.weight.iter().chain(&layer.bias).any(|value| !value.is_finite()) {
                return Some(format!("layer {number} holds a value that is not finite"));
            }
        }
        let joint = self.layers.windows(2).position(|pair| pair[0].outputs != pair[1].inputs)?;
        Some(format!("layer {joint} puts out what layer {} does not take", joint + 1))
    }

    /// The length of the vectors that this head takes.
    pub fn width(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.inputs)
    }

    /// How many classes this head tells apart.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// The unnormalised scores, row-major `[rows, classes]`, of vectors `[rows, width]`.
    ///
    /// # Panics
    /// Where `features` is not a whole number of rows of [`Head::width`].
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        assert!(
            features.len().is_multiple_of(self.width()),
            "features of another width reached the head, this is a bug"
        );
        let rows = features.len() / self.width();
        let (first, rest) = self.layers.split_first().expect("a head has at least one layer, else this is a bug");
        let mut values = first.forward(features, rows);
        for layer in rest {
            for value in &mut values {
                *value = value.max(0.0);
            }
            values = layer.forward(&values, rows);
        }
        values
    }

    /// This head with its logits divided by `temperature`.
    #[must_use]
    pub fn cooled(mut self, temperature: f64) -> Head {
        if let Some(last) = self.layers.last_mut().filter(|_| temperature != 1.0) {
            let values = last.weight.iter_mut().chain(&mut last.bias);
            values.for_each(|value| *value = (f64::from(*value) / temperature) as f32);
        }
        self
    }

    /// The class probabilities, row-major `[rows, classes]`, of vectors `[rows, width]`; each row sums to one.
    ///
    /// # Panics
    /// Where `features` is not a whole number of rows of [`Head::width`].
    pub fn probabilities(&self, features: &[f32]) -> Vec<f32> {
        let mut values = self.logits(features);
        values.chunks_exact_mut(self.classes()).for_each(softmax);
        values
    }
}

impl Dense {
    fn forward(&self, inputs: &[f32], rows: usize) -> Vec<f32> {
        let mut outputs = vec![0.0; rows * self.outputs];
        let blocks = inputs.chunks(BLOCK * self.inputs).zip(outputs.chunks_mut(BLOCK * self.outputs));
        for (input, output) in blocks {
            if let Ok(rows) = <[&[f32]; BLOCK]>::try_from(input.chunks_exact(self.inputs).collect::<Vec<_>>()) {
                self.block(rows, output);
            } else {
                for (row, output) in input.chunks_exact(self.inputs).zip(output.chunks_exact_mut(self.outputs)) {
                    self.block([row], output);
                }
            }
        }
        outputs
    }

    fn block<const ROWS: usize>(&self, rows: [&[f32]; ROWS], outputs: &mut [f32]) {
        for (unit, weight) in self.weight.chunks_exact(self.inputs).enumerate() {
            let sums = dot(rows, weight);
            for (row, sum) in sums.into_iter().enumerate() {
                outputs[row * self.outputs + unit] = sum + self.bias[unit];
            }
        }
    }
}

/// The dot product of each row with one weight row.
fn dot<const ROWS: usize>(rows: [&[f32]; ROWS], weight: &[f32]) -> [f32; ROWS] {
    let mut lanes = [[0.0f32; LANES]; ROWS];
    let whole = weight.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let weights = &weight[start..start + LANES];
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            let values = &row[start..start + LANES];
            for lane in 0..LANES {
                lanes[lane] += values[lane] * weights[lane];
            }
        }
    }
    std::array::from_fn(|row| {
        let tail: f32 = rows[row][whole..].iter().zip(&weight[whole..]).map(|(value, weight)| value * weight).sum();
        lanes[row].iter().sum::<f32>() + tail
    })
}

/// Turns scores into probabilities in place; the largest score is taken off first, so that no size overflows.
fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
    }
    let total: f32 = scores.iter().sum();
    for score in scores {
        *score /= total;
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::{noise, random_head};
    use super::*;

    #[test]
    fn a_hand_computed_head() {
        let first = Dense { weight: vec![1.0, 2.0, -1.0, 0.5], bias: vec![0.5, 0.0], inputs: 2, outputs: 2 };
        let second = Dense { weight: vec![1.0, 1.0, 2.0, -1.0], bias: vec![0.0, 1.0], inputs: 2, outputs: 2 };
        let head = Head { layers: vec![first, second] };
        // (1, 1): hidden (3.5, -0.5) -> (3.5, 0); (-1, 0): hidden (-0.5, 1) -> (0, 1).
        assert_eq!(head.logits(&[1.0, 1.0, -1.0, 0.0]), [3.5, 8.0, 1.0, 0.0]);
    }

    #[test]
    fn a_row_alone_equals_the_row_in_a_batch_to_the_bit() {
        let head = random_head(&[37, 19, 5]);
        let features = noise(11 * 37, 9);
        let together = head.probabilities(&features);
        let alone: Vec<f32> = features.chunks(37).flat_map(|row| head.probabilities(row)).collect();
        assert_eq!(together, alone);
    }

    #[test]
    fn softmax_is_stable_for_large_scores() {
        let mut scores = [1000.0, 999.0, -1e30];
        softmax(&mut scores);
        assert!((scores[0] - 0.731_058_6).abs() < 1e-6 && (scores[1] - 0.268_941_4).abs() < 1e-6);
        assert_eq!(scores[2], 0.0);
        let mut huge = [-3e38f32, -3e38];
        softmax(&mut huge);
        assert_eq!(huge, [0.5, 0.5]);
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        let mut head = random_head(&[4, 3, 2]);
        assert_eq!(head.fault(), None);
        head.layers[1].inputs = 2;
        head.layers[1].outputs = 3;
        head.layers[1].bias.push(0.0);
        assert_eq!(head.fault().unwrap(), "layer 0 puts out what layer 1 does not take");
        head.layers[0].bias[0] = f32::NAN;
        assert_eq!(head.fault().unwrap(), "layer 0 holds a value that is not finite");
        assert!(Head { layers: Vec::new() }.fault().is_some());
    }
}
