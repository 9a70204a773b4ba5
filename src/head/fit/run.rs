//! One training run: rows, network, optimizer, and the passes over them.
//!
//! The features of a window sit in one tensor; an epoch is a new order of row indices and a selection a step, because
//! loading batches row by row would cost more than the arithmetic of a head.

use tch::{Device, Kind, Reduction, Tensor};

use super::adamw::AdamW;
use super::network::{Network, Torch, torch};
use super::side::{Rows, Side};
use super::whiten::Whitener;
use super::{Error, Head, Recipe, Result};

/// Rows of a validation step: bounds the memory of the hidden layer.
const VALIDATION_STEP: i64 = 8192;

/// A training run between two epochs.
pub(super) struct Run<'a> {
    train: Side<'a>,
    whitener: Option<Whitener>,
    network: Network,
    optimizer: AdamW,
    recipe: &'a Recipe,
    /// Epochs at whose end the learning rate is to be zero.
    falls_over: Option<usize>,
}

impl<'a> Run<'a> {
    /// Sets up a run on the given rows from the recipe's seed.
    pub(super) fn new(mut train: Side<'a>, recipe: &'a Recipe) -> Result<Self> {
        tch::manual_seed(recipe.seed as i64);
        let whitener = recipe.whiten.then(|| Whitener::of(&train)).transpose()?;
        train.prepare(whitener.as_ref())?;
        let network = Network::new(train.examples.width, &shares(&train), recipe)?;
        let [rate, decay] = [recipe.learning_rate, recipe.weight_decay].map(|value| Tensor::from(value as f32));
        let optimizer =
            AdamW::new(std::iter::once(&network.parameters), &rate, &decay).map_err(torch("set up AdamW"))?;
        Ok(Self { train, whitener, network, optimizer, recipe, falls_over: None })
    }

    /// Has the learning rate fall evenly, to zero at the end of so many epochs.
    pub(super) fn fall_over(&mut self, epochs: usize) {
        self.falls_over = Some(epochs);
    }

    /// Prepares other rows as the training rows were.
    pub(super) fn prepare(&self, held_out: &mut Side<'_>) -> Result<()> {
        held_out.prepare(self.whitener.as_ref())
    }

    /// Runs one epoch, counted from 1; the mean of its batches' losses. `on_rows` hears of rows that are done.
    pub(super) fn epoch(&mut self, epoch: usize, on_rows: &mut dyn FnMut(usize)) -> Result<f64> {
        let Self { train, whitener, network, optimizer, recipe, falls_over } = self;
        let (mut total, mut steps, mut done) = (0.0, 0, 0);
        let rows_of = |epochs: usize| (epochs * train.len()) as f64;
        let (before, all) = (rows_of(epoch - 1), falls_over.map(rows_of));
        train.each_window(true, whitener.as_ref(), &mut |rows| {
            for_each_batch(rows, recipe.batch_size as i64, &mut |features, labels| {
                if let Some(all) = all {
                    optimizer.scale_rates(1.0 - (before + done as f64) / all)?;
                }
                total += network.differentiate(features, labels)?;
                optimizer.step(&[&network.gradients])?;
                steps += 1;
                done += labels.len();
                on_rows(done);
                Ok(())
            })
            .map_err(torch("train an epoch"))
        })?;
        let loss = total / f64::from(steps);
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(Error::Diverged { epoch, learning_rate: self.recipe.learning_rate })
    }

    /// Loss and accuracy of rows with the network as it is now.
    pub(super) fn validate(&self, held_out: &Side<'_>) -> Result<(f64, f64)> {
        let (mut loss, mut right) = (0.0, 0);
        held_out.each_window(false, self.whitener.as_ref(), &mut |rows| {
            let (more, hits) = self.loss_and_hits(rows).map_err(torch("validate an epoch"))?;
            loss += more;
            right += hits;
            Ok(())
        })?;
        let rows = held_out.len() as f64;
        Ok((loss / rows, right as f64 / rows))
    }

    /// The sum of the rows' losses, and how many are told right.
    fn loss_and_hits(&self, rows: &Rows) -> Torch<(f64, i64)> {
        let _no_gradients = tch::no_grad_guard();
        let (mut loss, mut right) = (0.0, 0);
        for first in (0..rows.len()).step_by(VALIDATION_STEP as usize) {
            let count = VALIDATION_STEP.min(rows.len() - first);
            let labels = rows.labels.f_narrow(0, first, count)?;
            let scores = self.network.forward(&rows.features.f_narrow(0, first, count)?)?;
            // -100 is PyTorch's default label to ignore, which no class index is.
            loss +=
                scores.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, -100, 0.0)?.f_double_value(&[])?;
            right += scores.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        }
        Ok((loss, right))
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

/// Hands a window's rows to `each` in a drawn order, batch by batch.
fn for_each_batch(rows: &Rows, batch: i64, each: &mut dyn FnMut(&Tensor, &[i64]) -> Torch<()>) -> Torch<()> {
    let order = Tensor::f_randperm(rows.len(), (Kind::Int64, Device::Cpu))?;
    let labels = Vec::<i64>::try_from(rows.labels.f_index_select(0, &order)?)?;
    for (first, labels) in (0..rows.len()).step_by(batch as usize).zip(labels.chunks(batch as usize)) {
        let chosen = order.f_narrow(0, first, labels.len() as i64)?;
        each(&rows.features.f_index_select(0, &chosen)?, labels)?;
    }
    Ok(())
}

/// Each class's share of the rows, counting one more of each so that none is zero.
fn shares(side: &Side<'_>) -> Vec<f64> {
    let mut counts = vec![1.0; side.examples.classes];
    side.rows().for_each(|row| counts[side.examples.labels[row] as usize] += 1.0);
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}
