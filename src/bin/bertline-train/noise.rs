//! Made-up weights and vectors for tests, the same every time.

use bertline::head::{Dense, Head};

/// Values in -1..1 without structure, the same every time.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

pub(crate) fn random_head(sizes: &[usize]) -> Head {
    let layer = |(number, pair): (usize, &[usize])| Dense {
        weight: noise(pair[0] * pair[1], number as u64),
        bias: noise(pair[1], 100 + number as u64),
        inputs: pair[0],
        outputs: pair[1],
    };
    Head { layers: sizes.windows(2).enumerate().map(layer).collect() }
}
