//! Texts to ids: the whole call that `embed` makes for a unit, on one thread and on two.

use bertline::tokenize::{Pool, Tokenizer};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use super::{model, reviews};

/// About a unit of work: 2 MiB of text.
const REVIEWS: usize = 1600;

#[divan::bench(args = [1, 2], sample_count = 30, sample_size = 1)]
fn encode_on_threads(bencher: Bencher, threads: usize) {
    let Some(model) = model("tokenizer") else { return };
    let tokenizer = Tokenizer::load(&model, 250).unwrap();
    let pool = Pool::new(threads).unwrap();
    let texts = reviews::texts(REVIEWS);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .counter(BytesCount::new(bytes))
        .bench_local(|| tokenizer.encode(&texts, &pool));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn load(bencher: Bencher) {
    let Some(model) = model("tokenizer") else { return };
    bencher.bench_local(|| Tokenizer::load(&model, 250).unwrap());
}
