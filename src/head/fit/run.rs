//! One training run: tensors, network, optimizer, and the passes over them.
//!
//! All features sit in one tensor; an epoch is a new order of row indices and a selection a step, because loading
//! batches row by row would cost more than the arithmetic of a head.

use tch::{COptimizer, Device, Kind, Reduction, TchError, Tensor};

use super::network::{Network, torch};
use super::whiten::Whitener;
use super::{Error, Examples, Head, Recipe, Result};

/// Rows of a validation step: bounds the memory of the hidden layer.
const VALIDATION_STEP: i64 = 8192;

/// Rows as tensors: features `[rows, width]`, whitened where the recipe says so, and labels `[rows]`.
pub(super) struct Rows {
    features: Tensor,
    labels: Tensor,
}

impl Rows {
    fn len(&self) -> i64 {
        self.labels.numel() as i64
    }
}

/// A training run between two epochs.
pub(super) struct Run<'a> {
    train: Rows,
    whitener: Option<Whitener>,
    network: Network,
    optimizer: COptimizer,
    recipe: &'a Recipe,
}

impl<'a> Run<'a> {
    /// Sets up a run on the given rows from the recipe's seed.
    pub(super) fn new(examples: &Examples<'_>, rows: &[usize], recipe: &'a Recipe) -> Result<Self> {
        tch::manual_seed(recipe.seed as i64);
        let whitener = recipe.whiten.then(|| Whitener::of(examples, rows)).transpose();
        let whitener = whitener.map_err(torch("whiten the features"))?;
        let train = take(examples, rows, whitener.as_ref()).map_err(torch("take the features over"))?;
        let network = Network::new(examples.width, &shares(examples, rows), recipe)?;
        let build = || {
            // PyTorch's own defaults for the rest: betas 0.9 and 0.999, epsilon 1e-8, no AMSGrad.
            let mut optimizer = COptimizer::adamw(recipe.learning_rate, 0.9, 0.999, recipe.weight_decay, 1e-8, false)?;
            for parameter in network.parameters() {
                optimizer.add_parameters(parameter, 0)?;
            }
            Ok(optimizer)
        };
        let optimizer = build().map_err(torch("set up AdamW"))?;
        Ok(Self { train, whitener, network, optimizer, recipe })
    }

    /// Other rows, prepared as the training rows were.
    pub(super) fn rows(&self, examples: &Examples<'_>, rows: &[usize]) -> Result<Rows> {
        take(examples, rows, self.whitener.as_ref()).map_err(torch("take the validation features over"))
    }

    /// Runs one epoch, counted from 1; the mean of its batches' losses.
    pub(super) fn epoch(&mut self, epoch: usize) -> Result<f64> {
        let loss = self.pass().map_err(torch("train an epoch"))?;
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(Error::Diverged { epoch, learning_rate: self.recipe.learning_rate })
    }

    fn pass(&mut self) -> std::result::Result<f64, TchError> {
        let rows = self.train.len();
        let batch = self.recipe.batch_size as i64;
        let steps = (rows + batch - 1) / batch;
        let order = Tensor::f_randperm(rows, (Kind::Int64, Device::Cpu))?;
        let mut total = 0.0;
        for step in 0..steps {
            let first = step * batch;
            let chosen = order.f_narrow(0, first, batch.min(rows - first))?;
            let features = self.train.features.f_index_select(0, &chosen)?;
            let labels = self.train.labels.f_index_select(0, &chosen)?;
            let loss = cross_entropy(&self.network.forward(&features, true)?, &labels, Reduction::Mean)?;
            total += loss.f_double_value(&[])?;
            self.optimizer.zero_grad()?;
            loss.f_backward()?;
            self.optimizer.step()?;
        }
        Ok(total / steps as f64)
    }

    /// Loss and accuracy of rows with the network as it is now.
    pub(super) fn validate(&self, held_out: &Rows) -> Result<(f64, f64)> {
        self.loss_and_accuracy(held_out).map_err(torch("validate an epoch"))
    }

    fn loss_and_accuracy(&self, held_out: &Rows) -> std::result::Result<(f64, f64), TchError> {
        let _no_gradients = tch::no_grad_guard();
        let rows = held_out.len();
        let (mut loss, mut right) = (0.0, 0);
        for first in (0..rows).step_by(VALIDATION_STEP as usize) {
            let count = VALIDATION_STEP.min(rows - first);
            let labels = held_out.labels.f_narrow(0, first, count)?;
            let scores = self.network.forward(&held_out.features.f_narrow(0, first, count)?, false)?;
            loss += cross_entropy(&scores, &labels, Reduction::Sum)?.f_double_value(&[])?;
            right += scores.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        }
        Ok((loss / rows as f64, right as f64 / rows as f64))
    }

    /// The head as it is now, for vectors as the encoder makes them.
    pub(super) fn head(&self) -> Result<Head> {
        let mut head = self.network.to_head()?;
        if let Some(whitener) = &self.whitener {
            whitener.fold_into(&mut head).map_err(torch("fold the whitening into the head"))?;
        }
        Ok(head)
    }
}

/// Each class's share of the rows, counting one more of each so that none is zero.
fn shares(examples: &Examples<'_>, rows: &[usize]) -> Vec<f64> {
    let mut counts = vec![1.0; examples.classes];
    rows.iter().for_each(|&row| counts[examples.labels[row] as usize] += 1.0);
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

fn take(examples: &Examples<'_>, rows: &[usize], whitener: Option<&Whitener>) -> std::result::Result<Rows, TchError> {
    let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let shape = [examples.labels.len() as i64, examples.width as i64];
    let all = Tensor::f_from_slice(examples.features)?.f_reshape(shape)?;
    let mut features = all.f_index_select(0, &Tensor::f_from_slice(&indices)?)?;
    if let Some(whitener) = whitener {
        features = whitener.apply(&features)?;
    }
    let labels: Vec<i64> = rows.iter().map(|&row| i64::from(examples.labels[row])).collect();
    Ok(Rows { features, labels: Tensor::f_from_slice(&labels)? })
}

fn cross_entropy(scores: &Tensor, labels: &Tensor, reduction: Reduction) -> std::result::Result<Tensor, TchError> {
    // -100 is PyTorch's default label to ignore, which no class index is.
    scores.f_cross_entropy_loss(labels, None::<Tensor>, reduction, -100, 0.0)
}
