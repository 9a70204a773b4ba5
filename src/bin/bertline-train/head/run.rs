//! One training run: rows, network, optimizer, and the passes over them.
//!
//! The features of a window sit in one tensor; an epoch is a new order of row indices and a selection a step, because
//! loading batches row by row would cost more than the arithmetic of a head.

use tch::{Device, Kind, Reduction, Tensor};

use super::device::there;
use super::libtorch::{Torch, copy, torch};
use super::network::Network;
use super::shard::{Shards, Worker};
use super::side::{Rows, Side};
use super::whiten::Whitener;
use super::{Error, Head, Recipe, Result, THREADS};

/// Rows of a validation step: bounds the memory of the hidden layer.
const VALIDATION_STEP: i64 = 8192;

/// A training run between two epochs.
pub(super) struct Run<'a> {
    train: Side<'a>,
    whitener: Option<Whitener>,
    shards: Shards,
    recipe: &'a Recipe,
    /// Epochs at whose end the learning rate is to be zero.
    falls_over: Option<usize>,
}

impl<'a> Run<'a> {
    /// Sets up a run on the given rows from the recipe's seed.
    pub(super) fn new(mut train: Side<'a>, recipe: &'a Recipe) -> Result<Self> {
        tch::manual_seed(recipe.seed as i64);
        let whitener = recipe.whiten.then(|| train.whitener()).transpose()?;
        train.prepare(whitener.as_ref())?;
        let network = Network::new(train.examples.width, &shares(&train), recipe)?;
        let shards = Shards::of(network, recipe, THREADS)?;
        Ok(Self { train, whitener, shards, recipe, falls_over: None })
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
        let Self { train, whitener, shards, recipe, falls_over } = self;
        let (mut total, mut steps, mut done) = (0.0, 0, 0);
        let rows_of = |epochs: usize| epochs * train.len();
        train.each_window(true, whitener.as_ref(), &mut |rows| {
            let batches = Batches {
                size: recipe.batch_size,
                before: rows_of(epoch - 1) + done,
                falls_over: falls_over.map(rows_of),
                ..Batches::drawn(rows).map_err(torch("draw an order of rows"))?
            };
            let answer =
                shards.each(rows, &mut |rows| on_rows(done + rows), |worker, on_rows| batches.train(worker, on_rows));
            let (loss, count) = answer.map_err(torch("train an epoch"))?;
            total += loss;
            steps += count;
            done += rows.len() as usize;
            Ok(())
        })?;
        let loss = total / f64::from(steps);
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(Error::Diverged { epoch, learning_rate: self.recipe.learning_rate })
    }

    /// Loss and accuracy of rows with the network as it is now.
    pub(super) fn validate(&mut self, held_out: &Side<'_>) -> Result<(f64, f64)> {
        let (mut loss, mut right) = (0.0, 0);
        let Self { whitener, shards, .. } = self;
        held_out.each_window(false, whitener.as_ref(), &mut |rows| {
            let answer = shards.each(rows, &mut |_| {}, |worker, _| loss_and_hits(worker));
            let (more, hits) = answer.map_err(torch("validate an epoch"))?;
            loss += more;
            right += hits;
            Ok(())
        })?;
        let rows = held_out.len() as f64;
        Ok((loss / rows, right as f64 / rows))
    }

    /// The head as it is now, for vectors as the encoder makes them.
    pub(super) fn head(&self) -> Result<Head> {
        let mut head = self.shards.to_head()?;
        if let Some(whitener) = &self.whitener {
            whitener.fold_into(&mut head).map_err(torch("fold the whitening into the head"))?;
        }
        Ok(head)
    }
}

/// A window's rows in a drawn order, cut into batches.
struct Batches {
    order: Vec<i64>,
    labels: Vec<i64>,
    size: usize,
    /// Rows that the run has seen before.
    before: usize,
    /// Rows at which the learning rate is to be zero.
    falls_over: Option<usize>,
}

impl Batches {
    fn drawn(rows: &Rows) -> Torch<Self> {
        let order = Tensor::f_randperm(rows.len(), (Kind::Int64, Device::Cpu))?;
        let labels = Vec::<i64>::try_from(rows.labels.f_index_select(0, &there(order.shallow_clone())?)?)?;
        Ok(Self { order: Vec::try_from(order)?, labels, size: 1, before: 0, falls_over: None })
    }

    /// Trains a part of the network; the sum of the batches' losses, and their number.
    fn train(&self, worker: Worker<'_>, on_rows: &mut dyn FnMut(usize)) -> Torch<Option<(f64, u32)>> {
        let Worker { network, optimizer, rows, mut peer } = worker;
        let (mut total, mut steps, mut done) = (0.0, 0, 0);
        for (chosen, labels) in self.order.chunks(self.size).zip(self.labels.chunks(self.size)) {
            if let Some(end) = self.falls_over {
                optimizer.scale_rates(1.0 - (self.before + done) as f64 / end as f64)?;
            }
            let features = rows.features.f_index_select(0, &there(Tensor::f_from_slice(chosen)?)?)?;
            let Some(loss) = network.differentiate(&features, labels, &mut |scores| peer.sum(scores))? else {
                return Ok(None);
            };
            optimizer.step(&[&network.gradients])?;
            total += loss;
            steps += 1;
            done += labels.len();
            on_rows(done);
        }
        Ok(Some((total, steps)))
    }
}

/// The sum of the rows' losses, and how many are told right.
fn loss_and_hits(Worker { network, rows, mut peer, .. }: Worker<'_>) -> Torch<Option<(f64, i64)>> {
    let _no_gradients = tch::no_grad_guard();
    let (mut loss, mut right) = (0.0, 0);
    for first in (0..rows.len()).step_by(VALIDATION_STEP as usize) {
        let count = VALIDATION_STEP.min(rows.len() - first);
        let labels = rows.labels.f_narrow(0, first, count)?.f_to_device(Device::Cpu)?;
        let mut scores = copy(&network.forward(&rows.features.f_narrow(0, first, count)?)?)?;
        if !peer.sum(&mut scores) {
            return Ok(None);
        }
        let scores = Tensor::f_from_slice(&scores)?.f_reshape([count, -1])?;
        // -100 is PyTorch's default label to ignore, which no class index is.
        loss += scores.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, -100, 0.0)?.f_double_value(&[])?;
        right += scores.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    }
    Ok(Some((loss, right)))
}

/// Each class's share of the rows, counting one more of each so that none is zero.
fn shares(side: &Side<'_>) -> Vec<f64> {
    let mut counts = vec![1.0; side.examples.classes];
    side.rows().for_each(|row| counts[side.examples.labels[row] as usize] += 1.0);
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}
