//! Lengths to micro-batches, and the ids of a unit gathered into them.

use bertline::encode::{MicroBatch, plan_micro_batches};
use divan::Bencher;
use divan::counter::ItemsCount;

use super::reviews;

/// A unit of work on a CPU, and one thirty times as large.
const REVIEWS: [usize; 2] = [1600, 50_000];

#[divan::bench(args = REVIEWS)]
fn plan(bencher: Bencher, count: usize) {
    let lengths = reviews::lengths(count, 250);
    bencher.counter(ItemsCount::new(count)).bench_local(|| plan_micro_batches(&lengths, 2048, 250));
}

#[divan::bench(args = REVIEWS)]
fn gather(bencher: Bencher, count: usize) {
    let lengths = reviews::lengths(count, 250);
    let ids: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![2023; length as usize]).collect();
    let plans = plan_micro_batches(&lengths, 2048, 250);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| plans.iter().map(|plan| MicroBatch::gather(plan, 0, |row| &ids[row]).ids.len()).sum::<usize>());
}
