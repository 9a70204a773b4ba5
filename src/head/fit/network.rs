//! A head while it is trained: libtorch tensors that carry gradients.
//!
//! Layers are set up by hand because tch's `nn::linear` initialises otherwise than PyTorch does, which shows in every
//! figure of a recipe that trains for a few small steps only.

use tch::{Device, Kind, TchError, Tensor};

use super::{Dense, Error, Head, Recipe, Result};

/// Names what libtorch was doing when a call failed.
pub(super) fn torch(action: &'static str) -> impl Fn(TchError) -> Error {
    move |source| Error::Torch { action, source: Box::new(source) }
}

/// Dense layers with ReLU and dropout between them.
pub(super) struct Network {
    layers: Vec<(Tensor, Tensor)>,
    dropout: f64,
}

impl Network {
    /// Fresh layers, each weight and bias uniform within 1 / sqrt(inputs): PyTorch's own start of `nn.Linear`. Where the
    /// recipe says so, the last one starts from the classes' `shares` (each above 0) whatever the vector.
    pub(super) fn new(width: usize, shares: &[f64], recipe: &Recipe) -> Result<Self> {
        let classes = shares.len();
        let sizes: Vec<i64> =
            [&[width][..], &recipe.hidden, &[classes]].concat().into_iter().map(|size| size as i64).collect();
        let uniform = |shape: &[i64], bound: f64| {
            Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)?.f_set_requires_grad(true)
        };
        let layer = |pair: &[i64]| {
            let bound = 1.0 / (pair[0] as f64).sqrt();
            Ok((uniform(&[pair[1], pair[0]], bound)?, uniform(&[pair[1]], bound)?))
        };
        let build = || {
            let layers: Vec<(Tensor, Tensor)> =
                sizes.windows(2).map(layer).collect::<std::result::Result<_, TchError>>()?;
            if recipe.zero_output
                && let Some((weight, bias)) = layers.last()
            {
                let _no_gradients = tch::no_grad_guard();
                let _ = weight.shallow_clone().f_zero_()?;
                let odds: Vec<f32> = shares.iter().map(|share| share.ln() as f32).collect();
                bias.shallow_clone().f_copy_(&Tensor::f_from_slice(&odds)?)?;
            }
            Ok(layers)
        };
        Ok(Self { layers: build().map_err(torch("set up the head's layers"))?, dropout: recipe.dropout })
    }

    /// Everything that is trained, in a fixed order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.layers.iter().flat_map(|(weight, bias)| [weight, bias])
    }

    /// Scores `[rows, classes]` of vectors `[rows, width]`; dropout is on where `training` is.
    pub(super) fn forward(&self, features: &Tensor, training: bool) -> std::result::Result<Tensor, TchError> {
        let mut values = features.shallow_clone();
        let last = self.layers.len() - 1;
        for (number, (weight, bias)) in self.layers.iter().enumerate() {
            // A linear head has no hidden values to drop, so its inputs are dropped.
            if training && self.dropout > 0.0 && (number > 0 || last == 0) {
                values = values.f_dropout(self.dropout, true)?;
            }
            values = values.f_linear(weight, Some(bias))?;
            if number < last {
                values = values.f_relu()?;
            }
        }
        Ok(values)
    }

    /// The weights as they are now, out of libtorch.
    pub(super) fn to_head(&self) -> Result<Head> {
        let layer = |(weight, bias): &(Tensor, Tensor)| {
            let size = weight.size();
            let (outputs, inputs) = (size[0] as usize, size[1] as usize);
            Ok(Dense { weight: copy(weight)?, bias: copy(bias)?, inputs, outputs })
        };
        let layers = self.layers.iter().map(layer).collect::<std::result::Result<_, _>>();
        Ok(Head { layers: layers.map_err(torch("copy the head's weights"))? })
    }
}

/// A tensor's values in row-major order, out of libtorch.
pub(super) fn copy(tensor: &Tensor) -> std::result::Result<Vec<f32>, TchError> {
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_detach()?.f_contiguous()?.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::noise::{noise, random_head};
    use super::*;

    #[test]
    fn layers_start_as_pytorchs_do() {
        let head = Network::new(384, &[0.5, 0.5], &Recipe::article()).unwrap().to_head().unwrap();
        assert_eq!(
            head.layers.iter().map(|layer| (layer.inputs, layer.outputs)).collect::<Vec<_>>(),
            [(384, 512), (512, 2)]
        );
        for layer in &head.layers {
            let bound = 1.0 / (layer.inputs as f64).sqrt();
            for values in [&layer.weight, &layer.bias] {
                assert!(values.iter().all(|value| f64::from(value.abs()) <= bound));
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
            let layers = head.layers.iter().map(|layer| {
                let weight = Tensor::from_slice(&layer.weight).view([layer.outputs as i64, layer.inputs as i64]);
                (weight, Tensor::from_slice(&layer.bias))
            });
            let network = Network { layers: layers.collect(), dropout: 0.5 };
            let features = noise(9 * sizes[0], 5);
            let input = Tensor::from_slice(&features).view([9, sizes[0] as i64]);
            let scores = network.forward(&input, false).unwrap();
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
