//! The lowering for GPUs: ONNX Runtime's fused operators over the tokens of all texts, one behind the other, with no
//! padding between them.
//!
//! A value is [tokens, columns]; products, norms and activations need not know which text a token is of. Attention and
//! the readout know it by where texts begin. `PackedMultiHeadAttention` exists for CUDA alone, so there is a second form
//! of it in standard operators, over all tokens at once with those of other texts masked: the same sums, at quadratic
//! cost. With it any provider runs this graph, so that everything else about it is checked where there is no GPU.

use super::super::interface::{Feed, output_of};
use super::super::model::{Activation, Description, Embeddings, Layer, Linear, Norm};
use super::super::readout::{PooledRow, Readout};
use super::fused::{self, Fused};
use super::pool::HiddenState;
use super::{Attention, Nodes, Operators};
use crate::onnx::{AttributeProto, Dim, FLOAT, INT32, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// What is added to the score of another text's token, within the range of 16-bit floats.
const MASKED: f32 = -10_000.0;
/// 1 where a token is of a text and 0 elsewhere, [rows, tokens], once it has been made.
const MEMBERS: &str = "packing/members";
/// [`MASKED`] between tokens of two texts, [tokens, tokens], once it has been made.
const BIAS: &str = "packing/bias";

/// What such a graph takes.
pub(super) fn feeds(attention: Attention, readout: Readout) -> Vec<Feed> {
    let reference = attention == Attention::Reference;
    let mut feeds = vec![Feed::Tokens, Feed::Places, Feed::Starts];
    if reference || readout.pooling.has_mean() {
        feeds.extend([Feed::Ends, Feed::Numbers]);
    }
    if !reference {
        feeds.extend([Feed::Offsets, Feed::Bounds]);
    }
    feeds
}

/// The graph so far.
pub(super) struct Packed<'a> {
    fused: Fused<'a>,
    attention: Attention,
}

impl Packed<'_> {
    pub(super) fn new(attention: Attention, half: bool) -> Self {
        let mut fused = Fused::new(&[]);
        fused.nodes().in_half(half);
        Packed { fused, attention }
    }

    fn members(&mut self) -> &'static str {
        let nodes = self.fused.nodes();
        if !nodes.has(MEMBERS) {
            nodes.int64s("row_axis", &[1]);
            for (feed, name) in [(Feed::Starts, "packing/starts"), (Feed::Ends, "packing/ends")] {
                nodes.add("Unsqueeze", &[feed.name(), "row_axis"], name, vec![]);
            }
            nodes.add("Less", &[Feed::Numbers.name(), "packing/starts"], "packing/before", vec![]);
            nodes.add("Less", &[Feed::Numbers.name(), "packing/ends"], "packing/not_behind", vec![]);
            nodes.add("Not", &["packing/before"], "packing/not_before", vec![]);
            nodes.add("And", &["packing/not_before", "packing/not_behind"], "packing/within", vec![]);
            nodes.add("Cast", &["packing/within"], MEMBERS, vec![AttributeProto::int("to", FLOAT.into())]);
        }
        MEMBERS
    }

    /// In standard operators, whatever the format of the products.
    fn reference(&mut self, layer: &Layer, heads: usize, products: [&str; 3]) -> String {
        self.bias();
        let nodes = self.fused.nodes();
        let name = |step: &str| format!("{}.attention.self/{step}", layer.name);
        let hidden = layer.output.inputs;
        nodes.int64s("heads_shape", &[0, heads as i64, (hidden / heads) as i64]);
        let mut split = |linear: &Linear, product: &str, permutation: &[i64]| {
            let bias = nodes.floats(format!("{}.bias", linear.name), &[linear.outputs], &linear.bias);
            let sum = nodes.add("Add", &[product, &bias], &format!("{}/sum", linear.name), vec![]);
            let wide = nodes.single(&sum);
            let heads = nodes.add("Reshape", &[&wide, "heads_shape"], &format!("{}/heads", linear.name), vec![]);
            let order = vec![AttributeProto::ints("perm", permutation)];
            nodes.add("Transpose", &[&heads], &format!("{}/heads_first", linear.name), order)
        };
        let query = split(&layer.query, products[0], &[1, 0, 2]);
        let key = split(&layer.key, products[1], &[1, 2, 0]);
        let value = split(&layer.value, products[2], &[1, 0, 2]);
        let scores = nodes.add("MatMul", &[&query, &key], &name("scores"), vec![]);
        let biased = nodes.add("Add", &[&scores, BIAS], &name("biased"), vec![]);
        let shares = nodes.add("Softmax", &[&biased], &name("shares"), vec![AttributeProto::int("axis", -1)]);
        let context = nodes.add("MatMul", &[&shares, &value], &name("context"), vec![]);
        let order = vec![AttributeProto::ints("perm", &[1, 0, 2])];
        let turned = nodes.add("Transpose", &[&context], &name("turned"), order);
        nodes.int64s("merged_shape", &[0, hidden as i64]);
        let merged = nodes.add("Reshape", &[&turned, "merged_shape"], &name("merged"), vec![]);
        nodes.in_weights_format(&merged)
    }

    fn bias(&mut self) {
        if self.fused.nodes().has(BIAS) {
            return;
        }
        let members = self.members();
        let nodes = self.fused.nodes();
        let order = vec![AttributeProto::ints("perm", &[1, 0])];
        nodes.add("Transpose", &[members], "packing/members_of_tokens", order);
        nodes.add("MatMul", &["packing/members_of_tokens", members], "packing/same", vec![]);
        nodes.constant(TensorProto::floats("packing/one", &[1], &[1.0]));
        nodes.constant(TensorProto::floats("packing/masked", &[1], &[MASKED]));
        nodes.add("Sub", &["packing/one", "packing/same"], "packing/others", vec![]);
        nodes.add("Mul", &["packing/others", "packing/masked"], BIAS, vec![]);
    }

    /// The mean over each text's tokens, [rows, hidden].
    fn mean(&mut self, state: &str) -> String {
        let members = self.members();
        let nodes = self.fused.nodes();
        if !nodes.has("packing/lengths") {
            nodes.int64s("row_axis", &[1]);
            nodes.add("ReduceSum", &[members, "row_axis"], "packing/lengths", vec![]);
            nodes.add("Div", &[members, "packing/lengths"], "packing/weights", vec![]);
        }
        let wide = nodes.single(state);
        nodes.add("MatMul", &["packing/weights", &wide], &format!("{state}/mean"), vec![])
    }
}

impl<'a> Operators<'a> for Packed<'a> {
    fn embeddings(&mut self, embeddings: &Embeddings, hidden: usize) -> String {
        let Embeddings { words, places, norm } = embeddings;
        let [weight, bias] = self.fused.norm_constants(norm);
        let nodes = self.fused.nodes();
        nodes.floats("words".to_owned(), &[words.len() / hidden, hidden], words);
        nodes.floats("places".to_owned(), &[places.len() / hidden, hidden], places);
        nodes.add("Gather", &["words", Feed::Tokens.name()], "embeddings/words", vec![]);
        nodes.add("Gather", &["places", Feed::Places.name()], "embeddings/places", vec![]);
        let inputs = ["embeddings/words", "embeddings/places", weight.as_str(), bias.as_str()];
        let epsilon = vec![AttributeProto::float("epsilon", norm.epsilon)];
        let name = format!("{}/normed", norm.name);
        nodes.push(NodeProto::new("SkipLayerNormalization", &inputs, &name, epsilon).of_domain(fused::DOMAIN))
    }

    fn linear(&mut self, linear: &Linear, rows: &str) -> String {
        self.fused.linear(linear, rows)
    }

    fn attention(&mut self, layer: &Layer, heads: usize, products: [&str; 3]) -> String {
        if self.attention == Attention::Reference {
            return self.reference(layer, heads, products);
        }
        let bias = self.fused.attention_bias(layer);
        let [query, key, value] = products;
        let inputs = [query, key, value, &bias, Feed::Offsets.name(), Feed::Bounds.name()];
        // The query's weights are scaled already.
        let attributes = vec![AttributeProto::int("num_heads", heads as i64), AttributeProto::float("scale", 1.0)];
        let name = format!("{}.attention.self/merged", layer.name);
        let node = NodeProto::new("PackedMultiHeadAttention", &inputs, &name, attributes);
        self.fused.nodes().push(node.of_domain(fused::DOMAIN))
    }

    fn add_norm(&mut self, linear: &Linear, product: &str, residual: &str, norm: &Norm) -> String {
        self.fused.add_norm(linear, product, residual, norm)
    }

    fn activate(&mut self, linear: &Linear, product: &str, activation: Activation) -> String {
        self.fused.activate(linear, product, activation)
    }

    fn asks_with_all(&self) -> bool {
        true
    }

    fn cls_rows(&mut self, state: &str) -> String {
        let (name, nodes) = (format!("{state}/cls_rows"), self.fused.nodes());
        match nodes.has(&name) {
            true => name,
            false => nodes.add("Gather", &[state, Feed::Starts.name()], &name, vec![]),
        }
    }

    fn read_out(&mut self, _: &Description, readout: Readout, states: &[HiddenState]) {
        let mut parts = Vec::new();
        for state in states {
            for part in readout.pooling.parts() {
                let rows = match part {
                    PooledRow::Cls if state.cut => state.rows.clone(),
                    PooledRow::Cls => self.cls_rows(&state.rows),
                    PooledRow::Mean => self.mean(&state.rows),
                };
                parts.push(if *part == PooledRow::Mean { rows } else { self.fused.nodes().single(&rows) });
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.fused.nodes().add("Concat", &parts, output_of(readout), vec![AttributeProto::int("axis", -1)]);
    }

    fn inputs(&self, readout: Readout) -> Vec<ValueInfoProto> {
        let dims = |feed| match feed {
            Feed::Starts | Feed::Ends => vec![Dim::Named("rows")],
            Feed::Bounds => vec![Dim::Named("bounds")],
            Feed::Offsets => vec![Dim::Named("rows"), Dim::Named("width")],
            _ => vec![Dim::Named("tokens")],
        };
        let feeds = feeds(self.attention, readout).into_iter();
        feeds.map(|feed| ValueInfoProto::new(feed.name(), INT32, &dims(feed))).collect()
    }

    fn nodes(&mut self) -> &mut Nodes<'a> {
        self.fused.nodes()
    }

    fn finish(self, inputs: Vec<ValueInfoProto>, output: ValueInfoProto) -> ModelProto {
        self.fused.finish(inputs, output)
    }
}
