//! Made-up weights and vectors for tests, the same every time.

use super::{Dense, Head};

/// Values in -1..1 without structure, the same every time.
pub(super) fn noise(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|i| {
            let mixed = i.wrapping_add(seed.wrapping_mul(7919)).wrapping_mul(2_654_435_761);
            ((mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519) >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

pub(super) fn random_head(sizes: &[usize]) -> Head {
    let layer = |(number, pair): (usize, &[usize])| Dense {
        weight: noise(pair[0] * pair[1], number as u32),
        bias: noise(pair[1], 100 + number as u32),
        inputs: pair[0],
        outputs: pair[1],
    };
    Head { layers: sizes.windows(2).enumerate().map(layer).collect() }
}
