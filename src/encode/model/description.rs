//! An encoder as plain data, read once from its weights.
//!
//! A lowering sees neither files nor families. What can be folded is folded here, so that it is folded in every
//! lowering: position and segment embeddings are one table, because a review is one segment, and the scale of the
//! attention is in the query's weights.

use super::super::Result;
use super::super::batch::WIDTH_STEP;
use super::architecture::{Activation, Architecture};
use super::names::{BERT, Names};
use super::weights::Weights;

/// Everything that a lowering needs to know.
pub(in crate::encode) struct Description {
    pub hidden: usize,
    pub heads: usize,
    pub activation: Activation,
    pub embeddings: Embeddings,
    pub layers: Vec<Layer>,
}

/// The tables behind a token's first vector.
pub(in crate::encode) struct Embeddings {
    /// A row for each word, [rows, hidden].
    pub words: Vec<f32>,
    /// A row for each position, segment 0 added, up to the next step of width, [rows, hidden].
    pub places: Vec<f32>,
    pub norm: Norm,
}

/// The parts of one transformer layer.
pub(in crate::encode) struct Layer {
    /// What its nodes' names begin with.
    pub name: String,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

/// `rows x weight + bias`.
pub(in crate::encode) struct Linear {
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    /// Row-major [inputs, outputs].
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A layer normalisation over the hidden dimension.
pub(in crate::encode) struct Norm {
    pub name: String,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub epsilon: f32,
}

impl Description {
    /// Reads the encoder of this architecture.
    ///
    /// # Errors
    /// Where a tensor is missing or has another shape than the architecture implies.
    pub(in crate::encode) fn read(architecture: &Architecture, weights: &Weights<'_>) -> Result<Description> {
        let reader = Reader { architecture, weights, names: architecture.family.names() };
        Ok(Description {
            hidden: architecture.hidden,
            heads: architecture.heads,
            activation: architecture.activation,
            embeddings: reader.embeddings()?,
            layers: (0..architecture.layers).map(|number| reader.layer(number)).collect::<Result<_>>()?,
        })
    }
}

struct Reader<'a> {
    architecture: &'a Architecture,
    weights: &'a Weights<'a>,
    names: &'static Names,
}

impl Reader<'_> {
    fn embeddings(&self) -> Result<Embeddings> {
        let Architecture { hidden, positions, segments, vocabulary, .. } = *self.architecture;
        let table = |name: &str, rows: usize| self.weights.tensor(&format!("{name}.weight"), &[rows, hidden]);
        let mut places = table(self.names.places, positions)?;
        if let Some(name) = self.names.segments {
            let segment = table(name, segments)?;
            for place in places.chunks_exact_mut(hidden) {
                place.iter_mut().zip(&segment[..hidden]).for_each(|(value, shift)| *value += shift);
            }
        }
        // A row of `positions` tokens may be padded to the next step of width.
        places.resize(positions.next_multiple_of(WIDTH_STEP) * hidden, 0.0);
        let words = table(self.names.words, vocabulary)?;
        let norm = self.norm(BERT.embedding_norm.to_owned(), self.names.embedding_norm)?;
        Ok(Embeddings { words, places, norm })
    }

    fn layer(&self, number: usize) -> Result<Layer> {
        let Architecture { hidden, heads, intermediate, .. } = *self.architecture;
        let names = self.names;
        let name = format!("{}.{number}", BERT.layers);
        let stored = |part: &str| format!("{}.{number}.{part}", names.layers);
        let linear = |ours: &str, theirs: &str, inputs: usize, outputs: usize| {
            self.linear(format!("{name}.{ours}"), &stored(theirs), inputs, outputs)
        };
        let norm = |ours: &str, theirs: &str| self.norm(format!("{name}.{ours}"), &stored(theirs));
        let mut query = linear(BERT.query, names.query, hidden, hidden)?;
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        query.weight.iter_mut().chain(&mut query.bias).for_each(|value| *value *= scale);
        Ok(Layer {
            query,
            key: linear(BERT.key, names.key, hidden, hidden)?,
            value: linear(BERT.value, names.value, hidden, hidden)?,
            output: linear(BERT.output, names.output, hidden, hidden)?,
            attention_norm: norm(BERT.attention_norm, names.attention_norm)?,
            up: linear(BERT.up, names.up, hidden, intermediate)?,
            down: linear(BERT.down, names.down, intermediate, hidden)?,
            output_norm: norm(BERT.output_norm, names.output_norm)?,
            name,
        })
    }

    fn linear(&self, name: String, stored: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self.weights.transposed(&format!("{stored}.weight"), inputs, outputs)?;
        let bias = self.weights.tensor(&format!("{stored}.bias"), &[outputs])?;
        Ok(Linear { name, inputs, outputs, weight, bias })
    }

    fn norm(&self, name: String, stored: &str) -> Result<Norm> {
        let Architecture { hidden, norm_epsilon, .. } = *self.architecture;
        let weight = self.weights.tensor(&format!("{stored}.weight"), &[hidden])?;
        let bias = self.weights.tensor(&format!("{stored}.bias"), &[hidden])?;
        Ok(Norm { name, weight, bias, epsilon: norm_epsilon })
    }
}
