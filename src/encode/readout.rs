//! What of the hidden states becomes a text's vector.
//!
//! The CLS row of the last layer is what the article takes and what costs least: the last layer then computes one row.
//! Other rows and layers make longer vectors, which a frozen encoder's head learns more from.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which token rows of a layer are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The first row, that of the CLS token.
    #[default]
    Cls,
    /// The mean over all tokens, specials included (as sentence-transformers' mean pooling, without normalising).
    Mean,
    /// Both, one after the other.
    ClsMean,
}

/// Which layers are taken.
///
/// Devlin et al. (2019, "BERT", section 5.3) found the last four the best of a frozen encoder's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// The last one.
    #[default]
    Last,
    /// The last four, one after the other from the last one back: vectors four times as long.
    Last4,
}

/// What of the hidden states becomes a text's vector: for each layer, each pooling of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Readout {
    /// Which token rows.
    pub pooling: Pooling,
    /// Of which layers.
    pub layers: Layers,
}

impl Pooling {
    /// The parts of a vector that come from one layer, in their order.
    pub(super) fn parts(self) -> &'static [PooledRow] {
        match self {
            Pooling::Cls => &[PooledRow::Cls],
            Pooling::Mean => &[PooledRow::Mean],
            Pooling::ClsMean => &[PooledRow::Cls, PooledRow::Mean],
        }
    }

    /// Whether the mean is one of them.
    pub(super) fn has_mean(self) -> bool {
        self.parts().contains(&PooledRow::Mean)
    }

    /// What is made of the rows of a text's tokens, each of `row` values.
    pub(super) fn of(self, tokens: &[f32], row: usize) -> Vec<f32> {
        let count = (tokens.len() / row) as f64;
        let mean = |place| {
            let sum: f64 = tokens[place..].iter().step_by(row).map(|&value| f64::from(value)).sum();
            (sum / count) as f32
        };
        let parts = self.parts().iter().map(|part| match part {
            PooledRow::Cls => tokens[..row].to_vec(),
            PooledRow::Mean => (0..row).map(mean).collect(),
        });
        parts.flatten().collect()
    }
}

/// One row made of a layer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PooledRow {
    Cls,
    Mean,
}

impl Layers {
    /// How many layers are taken.
    pub(super) fn count(self) -> usize {
        match self {
            Layers::Last => 1,
            Layers::Last4 => 4,
        }
    }
}

impl Readout {
    /// The length of a vector, for hidden states of `hidden` values.
    pub(super) fn width(self, hidden: usize) -> usize {
        hidden * self.pooling.parts().len() * self.layers.count()
    }

    /// Whether a vector is the CLS row of the last layer and nothing else.
    pub(super) fn is_default(&self) -> bool {
        *self == Readout::default()
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl fmt::Display for Readout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pooling {}, layers {}", self.pooling, self.layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_a_part_for_each_layer_and_pooling() {
        let widths = |pooling| [Layers::Last, Layers::Last4].map(|layers| Readout { pooling, layers }.width(384));
        assert_eq!(
            [Pooling::Cls, Pooling::Mean, Pooling::ClsMean].map(widths),
            [[384, 1536], [384, 1536], [768, 3072]]
        );
    }
}
