//! AdamW (Loshchilov and Hutter, 2019) with PyTorch's defaults, for one head or for many that stand in one tensor.
//!
//! A step of a head is bound by how often it passes over weights and moments, not by arithmetic: everything is updated in
//! place, and what the formula multiplies by constants is folded into those of the next pass. libtorch's own optimizer
//! takes more passes, makes temporaries, and has one learning rate for all.

use std::borrow::Borrow;

use tch::Tensor;

use super::libtorch::Torch;

/// How much of the mean gradient and of the mean squared gradient a step keeps.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// The optimizer of some parameters.
pub(super) struct AdamW {
    slots: Vec<Slot>,
    /// The learning rates and weight decays: one value, or one a head `[heads, 1, 1]`.
    rates: Tensor,
    decays: Tensor,
    /// What each learning rate divides by.
    inverse_rates: Tensor,
    /// What weight decay leaves of a weight at each step.
    kept: Tensor,
    steps: i32,
}

/// A parameter with its moments.
struct Slot {
    parameter: Tensor,
    mean: Tensor,
    /// The mean squared gradient, divided by `1 - BETAS.1`.
    squares: Tensor,
    scratch: Tensor,
}

impl AdamW {
    /// For some parameters, with a learning rate and a weight decay for all or for each head.
    pub(super) fn new<'a>(
        parameters: impl Iterator<Item = &'a Tensor>,
        rates: &Tensor,
        decays: &Tensor,
    ) -> Torch<Self> {
        let _no_gradients = tch::no_grad_guard();
        let slot = |parameter: &Tensor| {
            let zeros = || parameter.f_zeros_like();
            Ok(Slot { parameter: parameter.shallow_clone(), mean: zeros()?, squares: zeros()?, scratch: zeros()? })
        };
        let slots = parameters.map(slot).collect::<Torch<_>>()?;
        let (rates, decays) = (rates.shallow_clone(), decays.shallow_clone());
        let (inverse_rates, kept) = constants(&rates, &decays)?;
        Ok(Self { slots, rates, decays, inverse_rates, kept, steps: 0 })
    }

    /// Takes this share of the learning rates from now on; above 0.
    pub(super) fn scale_rates(&mut self, share: f64) -> Torch<()> {
        (self.inverse_rates, self.kept) = constants(&self.rates.f_mul_scalar(share)?, &self.decays)?;
        Ok(())
    }

    /// One step down the gradients by the parameters, in their order.
    pub(super) fn step<T: Borrow<Tensor>>(&mut self, gradients: &[T]) -> Torch<()> {
        let _no_gradients = tch::no_grad_guard();
        self.steps += 1;
        let (unseen, unseen_squares) = (1.0 - BETAS.0.powi(self.steps), 1.0 - BETAS.1.powi(self.steps));
        // sqrt(mean square) + epsilon = size * (sqrt(squares) + epsilon / size)
        let size = ((1.0 - BETAS.1) / unseen_squares).sqrt();
        let divisor = self.inverse_rates.f_mul_scalar(-unseen * size)?;
        for (Slot { parameter, mean, squares, scratch }, gradient) in self.slots.iter_mut().zip(gradients) {
            let gradient = gradient.borrow();
            let _ = mean.f_lerp_(gradient, 1.0 - BETAS.0)?;
            let _ = squares.f_mul_scalar_(BETAS.1)?.f_addcmul_(gradient, gradient)?;
            let _ = squares.f_sqrt_out(scratch)?.f_add_scalar_(EPSILON / size)?.f_mul_(&divisor)?;
            let _ = parameter.f_mul_(&self.kept)?.f_addcdiv_(mean, scratch)?;
        }
        Ok(())
    }
}

/// What learning rates divide by, and what is left of a weight.
fn constants(rates: &Tensor, decays: &Tensor) -> Torch<(Tensor, Tensor)> {
    Ok((rates.f_reciprocal()?, rates.f_mul(decays)?.f_neg()?.f_add_scalar(1.0)?))
}

#[cfg(test)]
mod tests {
    use tch::{COptimizer, Device, Kind};

    use super::*;

    fn numbers(values: &[f32]) -> Tensor {
        Tensor::from_slice(values)
    }

    fn loss(weights: &Tensor) -> Tensor {
        ((weights - numbers(&[0.3, -2.0, 5.0, 0.0])).square() * numbers(&[1.0, 1e-3, 100.0, 1e-6])).sum(Kind::Float)
    }

    #[test]
    fn its_steps_are_those_of_libtorchs_own() {
        let start = || numbers(&[1.0, -1.0, 4.0, 0.5]).set_requires_grad(true);
        let (ours, theirs) = (start(), start());
        let mut optimizer = COptimizer::adamw(1e-2, 0.9, 0.999, 0.1, 1e-8, false).unwrap();
        optimizer.add_parameters(&theirs, 0).unwrap();
        let scalar = |value: f32| Tensor::from(value).to_device(Device::Cpu);
        let mut adamw = AdamW::new([&ours].into_iter(), &scalar(1e-2), &scalar(0.1)).unwrap();
        for step in 1..=200 {
            if step == 100 {
                optimizer.set_learning_rate(2e-3).unwrap();
                adamw.scale_rates(0.2).unwrap();
            }
            adamw.step(&Tensor::run_backward(&[loss(&ours)], &[&ours], false, false)).unwrap();
            optimizer.zero_grad().unwrap();
            loss(&theirs).backward();
            optimizer.step().unwrap();
            let furthest = (&ours - &theirs).abs().max().double_value(&[]);
            assert!(furthest < 2e-5, "step {step}: {furthest}");
        }
        assert!((&ours - start()).abs().max().double_value(&[]) > 0.5, "it moved");
    }
}
