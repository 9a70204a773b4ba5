//! Many heads at once: one pass over the features trains every recipe on every fold, as one batched computation.
//!
//! The heads of one shape stand in the leading dimension of every tensor; each has its own learning rate, weight decay and
//! dropout, and a mask hides the rows of the fold that it is to be validated on. A step thus costs one matrix product a
//! layer, whatever the number of heads, where training them one by one would mostly pay for the calls.

use bertline::head::{Error, Examples, Recipe, Result, Split, Swept};
use tch::{Device, Kind, Tensor};

use super::adamw::AdamW;
use super::device::{device, there};
use super::libtorch::{Torch, torch};
use super::side::{Rows, Side};
use super::{GENERATOR, THREADS};

/// Rows of a validation step.
const VALIDATION_STEP: i64 = 2048;

/// Trains every recipe on every fold; returns them in their order, each with its log loss at its best epoch. All must
/// have the same seed, batch size, epochs, patience and hidden layers; features are whitened over all rows.
///
/// # Errors
/// Where recipes or examples cannot be trained on as they are, or libtorch fails.
pub(super) fn sweep(
    examples: &Examples<'_>,
    recipes: &[Recipe],
    folds: &[Split],
    on_epoch: &mut dyn FnMut(usize),
) -> Result<Vec<Swept>> {
    recipes.iter().try_for_each(Recipe::check)?;
    examples.check()?;
    let _generator = GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tch::set_num_threads(THREADS as i32);
    let shape = &recipes[0];
    tch::manual_seed(shape.seed as i64);
    let rows = whitened(examples)?;
    let mut heads = Heads::new(examples, rows, recipes, folds).map_err(torch("set up the sweep"))?;
    let mut best: Vec<Swept> = Vec::new();
    for epoch in 1..=shape.epochs {
        heads.epoch(shape.batch_size as i64).map_err(torch("train an epoch of the sweep"))?;
        let losses = heads.validate().map_err(torch("validate an epoch of the sweep"))?;
        on_epoch(epoch);
        for (at, (losses, recipe)) in losses.chunks(folds.len()).zip(recipes).enumerate() {
            let found = Swept::new(recipe, epoch, losses.to_vec());
            match best.get_mut(at) {
                None => best.push(found),
                // A loss that is no number is never better.
                Some(known) if found.log_loss < known.log_loss || !known.log_loss.is_finite() => *known = found,
                Some(_) => {}
            }
        }
        // Those that learn slowly get better for long; what counts is whether any of them still beats the best.
        let leader = best.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
        let last = leader.map_or(0, |found| found.best_epoch);
        if shape.patience.is_some_and(|patience| epoch >= last + patience) {
            break;
        }
    }
    if best.iter().all(|found| !found.log_loss.is_finite()) {
        return Err(Error::Diverged { epoch: 1, learning_rate: shape.learning_rate });
    }
    Ok(best)
}

/// All rows at once, in their order, which is that of the folds.
fn whitened(examples: &Examples<'_>) -> Result<Rows> {
    if examples.features.parts() > 1 {
        return Err(Error::SweepInParts);
    }
    let all: Vec<usize> = (0..examples.labels.len()).collect();
    let side = Side::of(examples, &all);
    side.whole(Some(&side.whitener()?))
}

/// All heads: `[heads * folds, ...]`, the folds of a head next to one another.
struct Heads {
    features: Tensor,
    labels: Tensor,
    /// 1 where a row is trained on, `[heads * folds, rows]`.
    trained: Tensor,
    layers: Vec<(Tensor, Tensor)>,
    optimizer: AdamW,
    /// `[heads * folds, 1, 1]`.
    dropouts: Tensor,
    drops: bool,
}

impl Heads {
    fn new(
        examples: &Examples<'_>,
        Rows { features, labels }: Rows,
        recipes: &[Recipe],
        folds: &[Split],
    ) -> Torch<Heads> {
        let rows = examples.labels.len();
        let mut masks = vec![0f32; folds.len() * rows];
        for (mask, fold) in masks.chunks_mut(rows).zip(folds) {
            fold.train.iter().for_each(|row| mask[*row] = 1.0);
        }
        let masks = there(Tensor::f_from_slice(&masks)?)?.f_reshape([folds.len() as i64, rows as i64])?;
        let each = |value: fn(&Recipe) -> f64| {
            let values: Vec<f32> =
                recipes.iter().flat_map(|recipe| std::iter::repeat_n(value(recipe) as f32, folds.len())).collect();
            there(Tensor::f_from_slice(&values)?)?.f_reshape([-1, 1, 1])
        };
        let layers = layers(examples, &recipes[0], (recipes.len() * folds.len()) as i64)?;
        let parameters = layers.iter().flat_map(|(weight, bias)| [weight, bias]);
        let (rates, decays) = (each(|recipe| recipe.learning_rate)?, each(|recipe| recipe.weight_decay)?);
        let optimizer = AdamW::new(parameters, &rates, &decays)?;
        Ok(Heads {
            features,
            labels,
            trained: masks.f_repeat([recipes.len() as i64, 1])?,
            layers,
            optimizer,
            dropouts: each(|recipe| recipe.dropout)?,
            drops: recipes.iter().any(|recipe| recipe.dropout > 0.0),
        })
    }

    fn epoch(&mut self, batch: i64) -> Torch<()> {
        let rows = self.labels.size()[0];
        let order = there(Tensor::f_randperm(rows, (Kind::Int64, Device::Cpu))?)?;
        for first in (0..rows).step_by(batch as usize) {
            let chosen = order.f_narrow(0, first, batch.min(rows - first))?;
            let features = self.features.f_index_select(0, &chosen)?;
            let labels = self.labels.f_index_select(0, &chosen)?;
            let mask = self.trained.f_index_select(1, &chosen)?;
            let losses = self.losses(&features, &labels, true)?.f_mul(&mask)?;
            let counts = mask.f_sum_dim_intlist(1, false, Kind::Float)?.f_clamp_min(1.0)?;
            // Heads share no parameter, so the gradient of the sum is each one's own.
            let means = losses.f_sum_dim_intlist(1, false, Kind::Float)?.f_div(&counts)?;
            let parameters: Vec<&Tensor> = self.layers.iter().flat_map(|(weight, bias)| [weight, bias]).collect();
            let loss = means.f_sum(Kind::Float)?;
            self.optimizer.step(&Tensor::f_run_backward(&[loss], &parameters, false, false)?)?;
        }
        Ok(())
    }

    /// Cross-entropy `[heads * folds, rows]`.
    fn losses(&self, features: &Tensor, labels: &Tensor, training: bool) -> Torch<Tensor> {
        let heads = self.dropouts.size()[0];
        let rows = labels.size()[0];
        let mut values = features.f_unsqueeze(0)?.f_expand([heads, rows, features.size()[1]], false)?;
        let last = self.layers.len() - 1;
        for (number, (weight, bias)) in self.layers.iter().enumerate() {
            if training && self.drops && (number > 0 || last == 0) {
                // Each head drops its own share.
                let kept = values.f_rand_like()?.f_ge_tensor(&self.dropouts)?.f_to_kind(Kind::Float)?;
                values = values.f_mul(&kept)?.f_div(&self.dropouts.f_neg()?.f_add_scalar(1.0)?)?;
            }
            values = bias.f_baddbmm(&values, weight, 1.0, 1.0)?;
            if number < last {
                values = values.f_relu()?;
            }
        }
        let picked = labels.f_reshape([1, rows, 1])?.f_expand([heads, rows, 1], false)?;
        values.f_log_softmax(2, Kind::Float)?.f_gather(2, &picked, false)?.f_squeeze_dim(2)?.f_neg()
    }

    /// The mean loss of each head on the rows of its own fold.
    fn validate(&self) -> Torch<Vec<f64>> {
        let _no_gradients = tch::no_grad_guard();
        let rows = self.labels.size()[0];
        let mut sums = Tensor::f_zeros([self.dropouts.size()[0]], (Kind::Double, device()))?;
        let held_out = self.trained.f_neg()?.f_add_scalar(1.0)?;
        for first in (0..rows).step_by(VALIDATION_STEP as usize) {
            let count = VALIDATION_STEP.min(rows - first);
            let (features, labels) = (self.features.f_narrow(0, first, count)?, self.labels.f_narrow(0, first, count)?);
            let losses = self.losses(&features, &labels, false)?.f_mul(&held_out.f_narrow(1, first, count)?)?;
            let _ = sums.f_add_(&losses.f_sum_dim_intlist(1, false, Kind::Double)?)?;
        }
        let counts = held_out.f_sum_dim_intlist(1, false, Kind::Double)?;
        Vec::<f64>::try_from(sums.f_div(&counts)?)
    }
}

/// Layers that start as one head's do: PyTorch's draw, the last one from the classes' shares where the recipe says so.
fn layers(examples: &Examples<'_>, recipe: &Recipe, heads: i64) -> Torch<Vec<(Tensor, Tensor)>> {
    let sizes = [&[examples.width][..], &recipe.hidden, &[examples.classes]].concat();
    let mut counts = vec![1.0f64; examples.classes];
    examples.labels.iter().for_each(|label| counts[*label as usize] += 1.0);
    let total: f64 = counts.iter().sum();
    let odds: Vec<f32> = counts.iter().map(|count| (count / total).ln() as f32).collect();
    let last = sizes.len() - 2;
    let layer = |(number, pair): (usize, &[usize])| {
        let (inputs, outputs) = (pair[0] as i64, pair[1] as i64);
        let bound = 1.0 / (inputs as f64).sqrt();
        let draw =
            |shape: [i64; 3]| there(Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)?);
        let (weight, bias) = match recipe.zero_output && number == last {
            true => (
                Tensor::f_zeros([heads, inputs, outputs], (Kind::Float, device()))?,
                there(Tensor::f_from_slice(&odds)?)?.f_repeat([heads, 1, 1])?,
            ),
            false => (draw([heads, inputs, outputs])?, draw([heads, 1, outputs])?),
        };
        Ok((weight.f_set_requires_grad(true)?, bias.f_set_requires_grad(true)?))
    };
    sizes.windows(2).enumerate().map(layer).collect()
}

#[cfg(test)]
mod tests {
    use bertline::head::{Overrides, folds};

    use super::super::tests::{blobs, examples};
    use super::*;

    #[test]
    fn a_head_of_a_batch_learns_as_it_does_alone() {
        let (features, labels) = blobs(240, 3);
        let examples = examples(&features, &labels, 3);
        let split = folds(&examples, 3, 42).unwrap();
        let base = Recipe { epochs: 6, patience: None, ..Recipe::default_() };
        let recipes = [5e-4, 5e-3, 1e-5].map(|learning_rate| Recipe { learning_rate, ..base.clone() });
        let together = sweep(&examples, &recipes, &split, &mut |_| {}).unwrap();
        for (recipe, found) in recipes.iter().zip(&together) {
            let alone = sweep(&examples, std::slice::from_ref(recipe), &split, &mut |_| {}).unwrap();
            assert!((alone[0].log_loss - found.log_loss).abs() < 1e-5, "{found:?} {alone:?}");
            assert_eq!(alone[0].best_epoch, found.best_epoch);
        }
        assert!(together[1].log_loss < together[0].log_loss && together[0].log_loss < together[2].log_loss);
        // Guessing costs ln 3.
        assert!(together[1].log_loss < 0.75, "{together:?}");
    }

    #[test]
    fn its_losses_are_those_of_training_fold_by_fold() {
        let (features, labels) = blobs(300, 2);
        let examples = examples(&features, &labels, 2);
        // Of ten folds a batch lacks little, so that an epoch has about as many steps either way.
        let split = folds(&examples, 10, 42).unwrap();
        let hidden = Overrides { hidden: Some(vec![16]), learning_rate: Some(2e-3), ..Overrides::default() };
        for recipe in [Recipe::default_(), Recipe { dropout: 0.2, ..Recipe::default_().with(hidden).unwrap() }] {
            let recipe = Recipe { epochs: 10, ..recipe };
            let swept = sweep(&examples, std::slice::from_ref(&recipe), &split, &mut |_| {}).unwrap();
            let mut alone = 0.0;
            for fold in &split {
                let take = |rows: &[usize]| -> (Vec<f32>, Vec<u32>) {
                    let width = examples.width;
                    let vectors = rows.iter().flat_map(|row| features[row * width..][..width].to_vec()).collect();
                    (vectors, rows.iter().map(|row| labels[*row]).collect())
                };
                let ((x, y), (vx, vy)) = (take(&fold.train), take(&fold.validation));
                let (train, validation) =
                    (super::super::tests::examples(&x, &y, 2), super::super::tests::examples(&vx, &vy, 2));
                let trained = super::super::train(&train, Some(&validation), &recipe, &mut |_| {}).unwrap();
                alone += trained.report.validation.log_loss / split.len() as f64;
            }
            // Whitening sees all rows here, and batches lack the rows of the fold: close, not equal.
            assert!((swept[0].log_loss - alone).abs() < 0.25 * alone + 0.02, "{} {alone}", swept[0].log_loss);
        }
    }
}
