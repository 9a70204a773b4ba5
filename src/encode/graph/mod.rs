//! The encoder as an ONNX graph: one walk over its layers, lowered to one of two operator sets.
//!
//! What differs from an exporter's graph, without changing the result beyond rounding, stands here or in the
//! description, once for both lowerings:
//! - where CLS alone is wanted of the last layer, it computes query, attention output, feed-forward part and norms for
//!   that row alone, once its keys and values are there;
//! - padding is masked by row lengths, which the graph turns into whatever its operators want.
//!
//! `standard.rs` is for providers that recognise and fuse patterns themselves, `fused.rs` for ONNX Runtime's own on a CPU,
//! `packed.rs` for GPUs.

mod fused;
mod nodes;
mod packed;
mod pool;
mod product;
mod site;
mod standalone;
mod standard;

use serde::Serialize;

use super::interface::{Feed, output_of};
use super::model::{Activation, Description, Embeddings, Layer, Linear, Norm};
use super::readout::{Pooling, Readout};
use super::{Precision, Provider};
use crate::onnx::{Dim, FLOAT, INT32, ModelProto, ValueInfoProto};
use fused::Fused;
use nodes::Nodes;
use packed::Packed;
use pool::HiddenState;
pub(super) use site::Site;
pub(super) use standalone::taking_a_mask;
use standard::Standard;

/// Changes whenever the graph of the same files would differ: graphs of another version are built again.
pub(super) const VERSION: u32 = 5;
/// The operator set that has Gelu as one operator, and the file version that goes with it.
pub(super) const OPSET: i64 = 20;
pub(super) const IR_VERSION: i64 = 10;

/// The operator set that a description is lowered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lowering {
    /// Standard ONNX operators alone: for OpenVINO, and for anyone else's runtime.
    Standard,
    /// ONNX Runtime's fused operators, domain `com.microsoft`: for its own providers.
    Fused,
    /// The same over packed tokens, in 16-bit floats or in 32-bit ones.
    Packed { attention: Attention, half: bool },
}

/// How tokens that lie packed attend to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Attention {
    /// By the operator that CUDA has for it.
    Operator,
    /// In standard operators.
    Reference,
}

impl Lowering {
    /// The operators that a provider runs best.
    pub(super) fn of(provider: Provider, precision: Precision) -> Lowering {
        let packed = |attention| Self::Packed { attention, half: precision == Precision::Fp16 };
        match provider {
            Provider::OpenVino => Self::Standard,
            Provider::Mlas => Self::Fused,
            Provider::Packed => packed(Attention::Reference),
            Provider::Cuda => packed(Attention::Operator),
        }
    }

    /// The name in file names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Fused => "fused",
            Self::Packed { .. } => "packed",
        }
    }
}

/// What a lowering has to offer to the walk. A value is the name of a node's output.
///
/// A product and its bias are two steps, because fused operators add the bias where they use the product: whatever takes
/// a product takes its [`Linear`] along.
trait Operators<'a> {
    /// Words and places, normalised: [rows, width, hidden].
    fn embeddings(&mut self, embeddings: &Embeddings, hidden: usize) -> String;
    /// The product with a weight, [rows, tokens, inputs] to [rows, tokens, outputs], by [`Nodes::product`].
    fn linear(&mut self, linear: &Linear, rows: &str) -> String;
    /// The context of a layer's query, key and value products in that order, heads merged: [rows, tokens, hidden].
    fn attention(&mut self, layer: &Layer, heads: usize, products: [&str; 3]) -> String;
    /// A product plus the rows that went into it, normalised.
    fn add_norm(&mut self, linear: &Linear, product: &str, residual: &str, norm: &Norm) -> String;
    /// The activation of a product.
    fn activate(&mut self, linear: &Linear, product: &str, activation: Activation) -> String;
    /// Whether even a layer that gives the CLS rows alone asks with the rows of all tokens.
    fn asks_with_all(&self) -> bool {
        false
    }
    /// The first token's row of each text.
    fn cls_rows(&mut self, state: &str) -> String {
        pool::cls_row(self.nodes(), state)
    }
    /// The vectors, [rows, width], from the states of the layers that are taken, the last one first.
    fn read_out(&mut self, description: &Description, readout: Readout, states: &[HiddenState]);
    /// What the graph takes.
    fn inputs(&self, readout: Readout) -> Vec<ValueInfoProto>;
    /// Where nodes and constants are gathered.
    fn nodes(&mut self) -> &mut Nodes<'a>;
    /// All that was gathered, as a model.
    fn finish(self, inputs: Vec<ValueInfoProto>, output: ValueInfoProto) -> ModelProto;
}

/// The graph of an encoder. What `sites` name is quantised.
pub(super) fn lower(description: &Description, readout: Readout, lowering: Lowering, sites: &[Site]) -> ModelProto {
    match lowering {
        Lowering::Standard => encoder(Standard::new(sites), description, readout),
        Lowering::Fused => encoder(Fused::new(sites), description, readout),
        Lowering::Packed { attention, half } => encoder(Packed::new(attention, half), description, readout),
    }
}

/// The graph of CLS vectors with what goes into these products as further outputs, whose names come with it.
pub(super) fn tapped(description: &Description, lowering: Lowering, products: &[&str]) -> (ModelProto, Vec<String>) {
    let mut model = lower(description, Readout::default(), lowering, &[]);
    let graph = model.graph.as_mut().expect("a lowered model has a graph; this is a bug");
    let taps: Vec<String> = products
        .iter()
        .map(|product| {
            let output = format!("{product}/product");
            let node = graph.node.iter().find(|node| node.output[0] == output);
            node.expect("each product is a node of its name; this is a bug").input[0].clone()
        })
        .collect();
    for (index, tap) in taps.iter().enumerate() {
        if !taps[..index].contains(tap) {
            graph.output.push(ValueInfoProto::new(
                tap,
                FLOAT,
                &[Dim::Named("rows"), Dim::Named("tokens"), Dim::Named("channels")],
            ));
        }
    }
    (model, taps)
}

fn encoder<'a>(mut operators: impl Operators<'a>, description: &Description, readout: Readout) -> ModelProto {
    let cut = readout.pooling == Pooling::Cls;
    let mut states = walk(&mut operators, description, cut);
    states.reverse();
    states.truncate(readout.layers.count());
    operators.read_out(description, readout, &states);
    let width = readout.width(description.hidden);
    let output = ValueInfoProto::new(output_of(readout), FLOAT, &[Dim::Named("rows"), Dim::Fixed(width)]);
    let inputs = operators.inputs(readout);
    operators.finish(inputs, output)
}

/// What a graph takes.
pub(super) fn feeds(lowering: Lowering, readout: Readout) -> Vec<Feed> {
    match lowering {
        Lowering::Packed { attention, .. } => packed::feeds(attention, readout),
        Lowering::Standard | Lowering::Fused => vec![Feed::Ids, Feed::Lengths],
    }
}

/// What graphs of padded rows take.
fn rectangle() -> Vec<ValueInfoProto> {
    let ids = ValueInfoProto::new(Feed::Ids.name(), INT32, &[Dim::Named("rows"), Dim::Named("width")]);
    let lengths = ValueInfoProto::new(Feed::Lengths.name(), INT32, &[Dim::Named("rows")]);
    vec![ids, lengths]
}

/// The hidden states, layer by layer; of the last one the CLS row alone where it is `cut`.
fn walk<'a>(operators: &mut impl Operators<'a>, description: &Description, cut: bool) -> Vec<HiddenState> {
    let mut rows = operators.embeddings(&description.embeddings, description.hidden);
    let mut states = Vec::new();
    for (number, layer) in description.layers.iter().enumerate() {
        let cut = cut && number + 1 == description.layers.len();
        // The rows that ask are fewer than those asked where only one is wanted of the answer.
        let asking = if cut { operators.cls_rows(&rows) } else { rows.clone() };
        let with_all = operators.asks_with_all();
        let query = operators.linear(&layer.query, if with_all { &rows } else { &asking });
        let key = operators.linear(&layer.key, &rows);
        let value = operators.linear(&layer.value, &rows);
        let mut context = operators.attention(layer, description.heads, [&query, &key, &value]);
        if cut && with_all {
            context = operators.cls_rows(&context);
        }
        let attended = operators.linear(&layer.output, &context);
        let middle = operators.add_norm(&layer.output, &attended, &asking, &layer.attention_norm);
        let wide = operators.linear(&layer.up, &middle);
        let active = operators.activate(&layer.up, &wide, description.activation);
        let narrow = operators.linear(&layer.down, &active);
        rows = operators.add_norm(&layer.down, &narrow, &middle, &layer.output_norm);
        states.push(HiddenState { rows: rows.clone(), cut });
    }
    states
}

/// A graph that gives the rows of all tokens, as an exporter's does.
#[cfg(test)]
pub(super) fn lower_all_tokens(description: &Description) -> ModelProto {
    let mut operators = Standard::new(&[]);
    let states = walk(&mut operators, description, false);
    let name = "last_hidden_state";
    let last = states.last().expect("an encoder has layers; this is a bug");
    operators.nodes().add("Identity", &[&last.rows], name, vec![]);
    let dims = [Dim::Named("rows"), Dim::Named("width"), Dim::Fixed(description.hidden)];
    operators.finish(rectangle(), ValueInfoProto::new(name, FLOAT, &dims))
}

#[cfg(test)]
mod tests;
