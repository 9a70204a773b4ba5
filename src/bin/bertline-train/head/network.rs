//! A head while it is trained: its weights in libtorch, and the gradient of the loss by them.
//!
//! Layers are set up by hand because tch's `nn::linear` initialises otherwise than PyTorch does, which shows in every
//! figure of a recipe that trains for a few small steps only. The gradient is written out, too: a step on a batch of 32
//! is a quarter of a millisecond of arithmetic, and recording it for autograd cost twice that.

use tch::{Device, Kind, Tensor};

use super::device::{device, there};
use super::libtorch::{Torch, copy, torch};
use super::{Dense, Head, Recipe, Result};

/// Dense layers with ReLU and dropout between them.
pub(super) struct Network {
    /// Everything that is trained, one value after the other, and the gradient by each.
    pub parameters: Tensor,
    pub gradients: Tensor,
    /// Views of those.
    layers: Vec<Layer>,
    /// The last bias is trained here, not with another part of the network.
    has_bias: bool,
    dropout: f64,
    random: fastrand::Rng,
}

/// A weight `[outputs, inputs]` and a bias `[outputs]`, and the gradients by them.
struct Layer {
    weight: Tensor,
    bias: Tensor,
    weight_gradient: Tensor,
    bias_gradient: Tensor,
}

impl Network {
    /// Fresh layers, each weight and bias uniform within 1 / sqrt(inputs): PyTorch's own start of `nn.Linear`. Where the
    /// recipe says so, the last one starts from the classes' `shares` (each above 0) whatever the vector.
    pub(super) fn new(width: usize, shares: &[f64], recipe: &Recipe) -> Result<Self> {
        let sizes = [&[width][..], &recipe.hidden, &[shares.len()]].concat();
        let build = || {
            let network = Self::zeros(&sizes, recipe)?;
            for Layer { weight, bias, .. } in &network.layers {
                let bound = 1.0 / (weight.size()[1] as f64).sqrt();
                for values in [weight, bias] {
                    // Drawn by the CPU's generator, wherever the network is.
                    let drawn =
                        Tensor::f_empty(values.size(), (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)?;
                    values.shallow_clone().f_copy_(&drawn)?;
                }
            }
            if recipe.zero_output
                && let Some(Layer { weight, bias, .. }) = network.layers.last()
            {
                let _ = weight.shallow_clone().f_zero_()?;
                let odds: Vec<f32> = shares.iter().map(|share| share.ln() as f32).collect();
                bias.shallow_clone().f_copy_(&Tensor::f_from_slice(&odds)?)?;
            }
            Ok(network)
        };
        build().map_err(torch("set up the head's layers"))
    }

    /// A part of a network, as a head of its own, which draws its dropout from `random`; only one of the parts has the last
    /// bias.
    pub(super) fn part(head: &Head, has_bias: bool, random: fastrand::Rng, recipe: &Recipe) -> Torch<Self> {
        let outputs = head.layers.iter().map(|layer| layer.outputs);
        let sizes: Vec<usize> = head.layers.iter().take(1).map(|layer| layer.inputs).chain(outputs).collect();
        let network = Self::zeros(&sizes, recipe)?;
        for (layer, values) in network.layers.iter().zip(&head.layers) {
            let weight = Tensor::f_from_slice(&values.weight)?.f_reshape(layer.weight.size())?;
            layer.weight.shallow_clone().f_copy_(&weight)?;
            layer.bias.shallow_clone().f_copy_(&Tensor::f_from_slice(&values.bias)?)?;
        }
        Ok(Self { has_bias, random, ..network })
    }

    fn zeros(sizes: &[usize], recipe: &Recipe) -> Torch<Self> {
        let pairs: Vec<(i64, i64)> = sizes.windows(2).map(|pair| (pair[0] as i64, pair[1] as i64)).collect();
        let count: i64 = pairs.iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum();
        let [parameters, gradients] =
            [Tensor::f_zeros([count], (Kind::Float, device()))?, Tensor::f_zeros([count], (Kind::Float, device()))?];
        let mut first = 0;
        let mut layers = Vec::with_capacity(pairs.len());
        for (inputs, outputs) in pairs {
            let weight = |all: &Tensor| all.f_narrow(0, first, inputs * outputs)?.f_view([outputs, inputs]);
            let bias = |all: &Tensor| all.f_narrow(0, first + inputs * outputs, outputs);
            layers.push(Layer {
                weight: weight(&parameters)?,
                bias: bias(&parameters)?,
                weight_gradient: weight(&gradients)?,
                bias_gradient: bias(&gradients)?,
            });
            first += (inputs + 1) * outputs;
        }
        let random = fastrand::Rng::with_seed(recipe.seed);
        Ok(Self { parameters, gradients, layers, has_bias: true, dropout: recipe.dropout, random })
    }

    /// Scores `[rows, classes]` of vectors `[rows, width]`.
    pub(super) fn forward(&self, features: &Tensor) -> Torch<Tensor> {
        let mut values = features.shallow_clone();
        let last = self.layers.len() - 1;
        for (number, Layer { weight, bias, .. }) in self.layers.iter().enumerate() {
            values = values.f_linear(weight, Some(bias))?;
            if number < last {
                values = values.f_relu_()?;
            }
        }
        Ok(values)
    }

    /// The mean cross-entropy of vectors `[rows, width]`, with dropout; leaves its gradient in `gradients`. `sum` makes the
    /// scores of this part of a network those of the whole; `None` where it cannot.
    pub(super) fn differentiate(
        &mut self,
        features: &Tensor,
        labels: &[i64],
        sum: &mut dyn FnMut(&mut [f32]) -> bool,
    ) -> Torch<Option<f64>> {
        let last = self.layers.len() - 1;
        // What each layer multiplies. A linear head has no hidden values to drop, so its inputs are dropped.
        let mut inputs =
            vec![if last == 0 { self.dropped(features.shallow_clone())? } else { features.shallow_clone() }];
        for number in 0..last {
            let Layer { weight, bias, .. } = &self.layers[number];
            let hidden = inputs[number].f_linear(weight, Some(bias))?.f_relu_()?;
            inputs.push(self.dropped(hidden)?);
        }
        let Layer { weight, bias, .. } = &self.layers[last];
        let mut scores = copy(&inputs[last].f_linear(weight, Some(bias))?)?;
        if !sum(&mut scores) {
            return Ok(None);
        }
        let loss = cross_entropy(&mut scores, labels);
        let mut delta = there(Tensor::f_from_slice(&scores)?)?.f_reshape([labels.len() as i64, -1])?;
        for number in (0..=last).rev() {
            let Layer { weight, weight_gradient, bias_gradient, .. } = &self.layers[number];
            let _ = delta.f_transpose(0, 1)?.f_mm_out(weight_gradient, &inputs[number])?;
            if number < last || self.has_bias {
                let _ = delta.f_sum_intlist_out(bias_gradient, 0, false, Kind::Float)?;
            }
            if number > 0 {
                // Nothing comes back where ReLU or dropout left nothing.
                let delta_of_kept = delta.f_mul_scalar_(1.0 / (1.0 - self.dropout))?;
                delta = inputs[number].f_threshold_backward(&delta_of_kept.f_mm(weight)?, 0.0)?;
            }
        }
        Ok(Some(loss))
    }

    /// Values with the recipe's share of them at zero, the others larger for it.
    pub(super) fn dropped(&mut self, mut values: Tensor) -> Torch<Tensor> {
        if self.dropout == 0.0 {
            return Ok(values);
        }
        let mask = Tensor::f_from_slice(&mask(&mut self.random, values.numel(), self.dropout))?;
        let mask = there(mask)?.f_reshape(values.size())?;
        // Features belong to the caller.
        if self.layers.len() == 1 { values.f_mul(&mask) } else { values.f_mul_(&mask) }
    }

    /// The weights as they are now, out of libtorch.
    pub(super) fn to_head(&self) -> Result<Head> {
        let layer = |Layer { weight, bias, .. }: &Layer| {
            let size = weight.size();
            let (outputs, inputs) = (size[0] as usize, size[1] as usize);
            Ok(Dense { weight: copy(weight)?, bias: copy(bias)?, inputs, outputs })
        };
        let layers = self.layers.iter().map(layer).collect::<std::result::Result<_, _>>();
        Ok(Head { layers: layers.map_err(torch("copy the head's weights"))? })
    }
}

/// The mean loss of scores `[rows, classes]`, which become its gradient by them: (softmax - the true class) / rows. So few
/// numbers are dealt with sooner out of libtorch.
fn cross_entropy(scores: &mut [f32], labels: &[i64]) -> f64 {
    let (mut loss, share) = (0.0, 1.0 / labels.len() as f32);
    let classes = scores.len() / labels.len();
    for (scores, label) in scores.chunks_exact_mut(classes).zip(labels) {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let score = scores[*label as usize];
        scores.iter_mut().for_each(|score| *score = (*score - highest).exp());
        let sum: f32 = scores.iter().sum();
        loss += f64::from(sum.ln() + highest - score);
        scores.iter_mut().for_each(|score| *score *= share / sum);
        scores[*label as usize] -= share;
    }
    loss / labels.len() as f64
}

/// 0 for a share of the values, and for the others what keeps the mean. libtorch's own draw takes ten times as long.
fn mask(random: &mut fastrand::Rng, count: usize, dropout: f64) -> Vec<f32> {
    let (threshold, kept) = ((dropout * f64::from(u32::MAX)) as u32, (1.0 / (1.0 - dropout)) as f32);
    let mut mask = vec![0.0; count];
    for pair in mask.chunks_mut(2) {
        let drawn = random.u64(..);
        for (value, half) in pair.iter_mut().zip([drawn as u32, (drawn >> 32) as u32]) {
            *value = if half < threshold { 0.0 } else { kept };
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{noise, random_head};

    fn network(sizes: &[usize], dropout: f64) -> Network {
        let hidden = sizes[1..sizes.len() - 1].to_vec();
        let recipe = Recipe { hidden, dropout, zero_output: false, ..Recipe::default_() };
        drawn(sizes[0], &vec![0.2; sizes[sizes.len() - 1]], &recipe)
    }

    /// First weights take from the generator that trainings in other tests draw their orders from.
    fn drawn(width: usize, shares: &[f64], recipe: &Recipe) -> Network {
        let _generator = super::super::GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Network::new(width, shares, recipe).unwrap()
    }

    #[test]
    fn the_gradient_is_autograds_with_and_without_dropout() {
        for (sizes, dropout) in [(&[7, 3][..], 0.0), (&[7, 3], 0.4), (&[7, 9, 3], 0.0), (&[7, 9, 11, 2], 0.3)] {
            let mut network = network(sizes, dropout);
            let (rows, last) = (6, sizes.len() - 2);
            let features = Tensor::from_slice(&noise(rows * sizes[0], 5)).view([rows as i64, sizes[0] as i64]);
            let labels = [0, 1, 1, 0, (sizes[last + 1] - 1) as i64, 1];

            let mut random = network.random.clone();
            let mut dropped = |values: Tensor| {
                let drawn = mask(&mut random, values.numel(), dropout);
                if dropout == 0.0 { values } else { &values * Tensor::from_slice(&drawn).view_as(&values) }
            };
            let leaf = |tensor: &Tensor| tensor.copy().set_requires_grad(true);
            let parameters: Vec<Tensor> =
                network.layers.iter().flat_map(|layer| [leaf(&layer.weight), leaf(&layer.bias)]).collect();
            let mut values = features.shallow_clone();
            for (number, layer) in parameters.chunks(2).enumerate() {
                if number > 0 || last == 0 {
                    values = dropped(values);
                }
                values = values.linear(&layer[0], Some(&layer[1]));
                values = if number < last { values.relu() } else { values };
            }
            let due = values.cross_entropy_for_logits(&Tensor::from_slice(&labels));
            due.backward();

            let loss = network.differentiate(&features, &labels, &mut |_| true).unwrap().unwrap();
            assert!((loss - due.double_value(&[])).abs() < 1e-6, "{sizes:?}: {loss}");
            let gradients = network.layers.iter().flat_map(|layer| [&layer.weight_gradient, &layer.bias_gradient]);
            for (ours, parameter) in gradients.zip(&parameters) {
                let furthest = (ours - parameter.grad()).abs().max().double_value(&[]);
                assert!(furthest < 1e-6 && ours.abs().max().double_value(&[]) > 1e-3, "{sizes:?}: {furthest}");
            }
        }
    }

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        for dropout in [0.1, 0.5, 0.9] {
            let mask = mask(&mut fastrand::Rng::with_seed(3), 200_001, dropout);
            let dropped = mask.iter().filter(|value| **value == 0.0).count() as f64 / mask.len() as f64;
            let mean = mask.iter().map(|value| f64::from(*value)).sum::<f64>() / mask.len() as f64;
            assert!((dropped - dropout).abs() < 0.004 && (mean - 1.0).abs() < 0.03, "{dropout}: {dropped} {mean}");
        }
    }

    #[test]
    fn layers_start_as_pytorchs_do() {
        let head = drawn(384, &[0.5, 0.5], &Recipe::article()).to_head().unwrap();
        assert_eq!(
            head.layers.iter().map(|layer| (layer.inputs, layer.outputs)).collect::<Vec<_>>(),
            [(384, 512), (512, 2)]
        );
        for layer in &head.layers {
            let bound = 1.0 / (layer.inputs as f64).sqrt();
            for values in [&layer.weight, &layer.bias] {
                // The bound itself is drawn once in some million times, rounded to 32 bits.
                assert!(values.iter().all(|value| value.abs() <= bound as f32));
            }
            // Of a uniform distribution within the bound: the edges are reached, the deviation is bound / sqrt(3).
            let largest = layer.weight.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert!(f64::from(largest) > 0.97 * bound);
            let squares: f64 = layer.weight.iter().map(|value| f64::from(*value).powi(2)).sum();
            let deviation = (squares / layer.weight.len() as f64).sqrt();
            assert!((deviation * 3f64.sqrt() / bound - 1.0).abs() < 0.06, "{deviation}");
        }
        let bias = &head.layers[0].bias;
        assert!(bias.iter().any(|value| f64::from(value.abs()) > 0.9 / 384f64.sqrt()), "biases start at random too");
    }

    #[test]
    fn the_forward_pass_in_rust_equals_libtorchs() {
        for sizes in [&[384, 2][..], &[384, 512, 2], &[7, 13, 5, 3]] {
            let head = random_head(sizes);
            let network = network(sizes, 0.5);
            for (layer, values) in network.layers.iter().zip(&head.layers) {
                layer.weight.shallow_clone().copy_(&Tensor::from_slice(&values.weight).view_as(&layer.weight));
                layer.bias.shallow_clone().copy_(&Tensor::from_slice(&values.bias));
            }
            let features = noise(9 * sizes[0], 5);
            let input = Tensor::from_slice(&features).view([9, sizes[0] as i64]);
            let scores = network.forward(&input).unwrap();
            for (ours, theirs) in [
                (head.logits(&features), copy(&scores).unwrap()),
                (head.probabilities(&features), copy(&scores.softmax(-1, Kind::Float)).unwrap()),
            ] {
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    assert!((ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0), "{ours} is not {theirs}");
                }
            }
            assert_eq!(network.to_head().unwrap(), head);
        }
    }
}
