//! The lowering to standard ONNX operators.
//!
//! OpenVINO recognises attention, GELU and norms in this form and fuses them.

use super::super::batch::WIDTH_STEP;
use super::super::interface::Feed;
use super::super::model::{Activation, Description, Embeddings, Layer, Linear, Norm};
use super::super::readout::Readout;
use super::pool::{self, HiddenState};
use super::site::Site;
use super::{Nodes, Operators};
use crate::onnx::{AttributeProto, ModelProto, TensorProto, ValueInfoProto};

/// What is added to the score of a padded position: small enough that its softmax is exactly zero, and within the
/// range of 16-bit floats.
const MASKED: f32 = -10_000.0;
/// The bias of padded positions, once it has been made.
const BIAS: &str = "padding/bias";

/// The graph so far.
pub(super) struct Standard<'a> {
    nodes: Nodes<'a>,
}

impl<'a> Standard<'a> {
    pub(super) fn new(sites: &'a [Site]) -> Standard<'a> {
        Standard { nodes: Nodes::new(sites) }
    }

    /// 0 for a token and [`MASKED`] for padding: [rows, 1, 1, width].
    fn padding_bias(&mut self, places: usize) {
        let numbers: Vec<i32> = (0..places as i32).collect();
        self.nodes.constant(TensorProto::int32s("place_numbers", &[places], &numbers));
        self.nodes.constant(TensorProto::floats("kept", &[1], &[0.0]));
        self.nodes.constant(TensorProto::floats("masked", &[1], &[MASKED]));
        self.nodes.int64s("length_axes", &[1, 2, 3]);
        self.nodes.add("Unsqueeze", &[Feed::Lengths.name(), "length_axes"], "padding/lengths", vec![]);
        self.nodes.add("Slice", &["place_numbers", "zero", "width", "zero"], "padding/places", vec![]);
        self.nodes.add("Less", &["padding/places", "padding/lengths"], "padding/is_token", vec![]);
        self.nodes.add("Where", &["padding/is_token", "kept", "masked"], BIAS, vec![]);
    }

    /// [rows, tokens, hidden] to [rows, heads, tokens, size].
    fn split_heads(&mut self, values: &str, shape: [usize; 2]) -> String {
        let [heads, size] = shape;
        let shape = format!("{values}/heads_shape");
        self.nodes.int64s(&shape, &[0, 0, heads as i64, size as i64]);
        let split = self.nodes.add("Reshape", &[values, &shape], &format!("{values}/heads"), vec![]);
        let order = vec![AttributeProto::ints("perm", &[0, 2, 1, 3])];
        self.nodes.add("Transpose", &[&split], &format!("{values}/heads_first"), order)
    }

    fn norm(&mut self, norm: &Norm, rows: &str) -> String {
        let Norm { name, weight, bias, epsilon } = norm;
        let weight = self.nodes.floats(format!("{name}.weight"), &[weight.len()], weight);
        let bias = self.nodes.floats(format!("{name}.bias"), &[bias.len()], bias);
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", *epsilon)];
        self.nodes.add("LayerNormalization", &[rows, &weight, &bias], &format!("{name}/normed"), attributes)
    }
}

impl<'a> Operators<'a> for Standard<'a> {
    fn embeddings(&mut self, embeddings: &Embeddings, hidden: usize) -> String {
        let Embeddings { words, places, norm } = embeddings;
        let place_count = places.len() / hidden;
        debug_assert_eq!(place_count % WIDTH_STEP, 0);
        self.nodes.constant(TensorProto::floats("words", &[words.len() / hidden, hidden], words));
        self.nodes.constant(TensorProto::floats("places", &[place_count, hidden], places));
        self.nodes.int64s("zero", &[0]);
        let bounds = vec![AttributeProto::int("start", 1), AttributeProto::int("end", 2)];
        self.nodes.add("Shape", &[Feed::Ids.name()], "width", bounds);
        self.nodes.add("Gather", &["words", Feed::Ids.name()], "embeddings/words", vec![]);
        self.nodes.add("Slice", &["places", "zero", "width", "zero"], "embeddings/places", vec![]);
        self.nodes.add("Add", &["embeddings/words", "embeddings/places"], "embeddings/sum", vec![]);
        self.padding_bias(place_count);
        self.norm(norm, "embeddings/sum")
    }

    fn linear(&mut self, linear: &Linear, rows: &str) -> String {
        let Linear { name, outputs, bias, .. } = linear;
        let product = self.nodes.product(linear, rows);
        let bias = self.nodes.floats(format!("{name}.bias"), &[*outputs], bias);
        self.nodes.add("Add", &[&product, &bias], &format!("{name}/sum"), vec![])
    }

    fn attention(&mut self, layer: &Layer, heads: usize, products: [&str; 3]) -> String {
        let hidden = layer.output.inputs;
        let shape = [heads, hidden / heads];
        let [query, key, value] = products;
        let [query, key, value] = [query, key, value].map(|product| self.split_heads(product, shape));
        // A step of its own, which OpenVINO takes into the product; turned at once with the heads, it costs a copy.
        let turn = vec![AttributeProto::ints("perm", &[0, 1, 3, 2])];
        let key = self.nodes.add("Transpose", &[&key], &format!("{key}/turned"), turn);
        let name = |step: &str| format!("{}.attention.self/{step}", layer.name);
        let scores = self.nodes.add("MatMul", &[&query, &key], &name("scores"), vec![]);
        let scores = self.nodes.add("Add", &[&scores, BIAS], &name("biased"), vec![]);
        let shares = self.nodes.add("Softmax", &[&scores], &name("shares"), vec![AttributeProto::int("axis", -1)]);
        let context = self.nodes.add("MatMul", &[&shares, &value], &name("context"), vec![]);
        let swap = vec![AttributeProto::ints("perm", &[0, 2, 1, 3])];
        let turned = self.nodes.add("Transpose", &[&context], &name("turned"), swap);
        // Zeros keep a dimension as it is.
        self.nodes.int64s(&name("merged_shape"), &[0, 0, hidden as i64]);
        self.nodes.add("Reshape", &[&turned, &name("merged_shape")], &name("merged"), vec![])
    }

    fn add_norm(&mut self, linear: &Linear, product: &str, residual: &str, norm: &Norm) -> String {
        let sum = self.nodes.add("Add", &[product, residual], &format!("{}/residual", linear.name), vec![]);
        self.norm(norm, &sum)
    }

    fn activate(&mut self, linear: &Linear, product: &str, activation: Activation) -> String {
        let (op_type, attributes) = match activation {
            Activation::Gelu => ("Gelu", vec![]),
            Activation::GeluTanh => ("Gelu", vec![AttributeProto::text("approximate", "tanh")]),
            Activation::Relu => ("Relu", vec![]),
        };
        self.nodes.add(op_type, &[product], &format!("{}/active", linear.name), attributes)
    }

    fn read_out(&mut self, description: &Description, readout: Readout, states: &[HiddenState]) {
        pool::vectors(&mut self.nodes, description, readout, states);
    }

    fn inputs(&self, _: Readout) -> Vec<ValueInfoProto> {
        super::rectangle()
    }

    fn nodes(&mut self) -> &mut Nodes<'a> {
        &mut self.nodes
    }

    fn finish(self, inputs: Vec<ValueInfoProto>, output: ValueInfoProto) -> ModelProto {
        self.nodes.model(inputs, output)
    }
}
