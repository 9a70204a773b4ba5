//! The encoder as an ONNX graph of standard operators, of which only the CLS row leaves.
//!
//! Four things differ from what an exporter writes, none of which changes the result beyond rounding:
//! - the last layer computes query, attention output, feed-forward part and norms for the CLS row alone, once its keys
//!   and values are there;
//! - position and segment embeddings are one table, because a review is one segment;
//! - the attention scale is folded into the query's weights;
//! - padding is masked by row lengths, which the graph turns into a bias itself.
//!
//! OpenVINO recognises attention, GELU and norms in this form and fuses them.

use super::Result;
use super::architecture::{Activation, Architecture};
use super::weights::Weights;
use crate::onnx::{AttributeProto, Dim, FLOAT, GraphProto, INT32, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// Changes whenever the graph of the same files would differ: graphs of another version are built again.
pub(super) const VERSION: u32 = 1;
/// The operator set that has Gelu as one operator, and the file version that goes with it.
pub(super) const OPSET: i64 = 20;
pub(super) const IR_VERSION: i64 = 10;
/// Widths are multiples of this; the position table is padded to it.
pub(super) const WIDTH_STEP: usize = 8;
/// The input of token ids, i32 [rows, width].
pub(super) const INPUT_IDS: &str = "input_ids";
/// The input of row lengths, i32 [rows].
pub(super) const LENGTHS: &str = "lengths";
/// The output, f32 [rows, hidden].
pub(super) const CLS: &str = "cls";

/// What is added to the score of a padded position: small enough that its softmax is exactly zero, and within the
/// range of 16-bit floats.
const MASKED: f32 = -10_000.0;

/// Builds the encoder's graph.
///
/// # Errors
/// Where a tensor is missing or has another shape than the architecture implies.
pub(super) fn build(architecture: &Architecture, weights: &Weights<'_>) -> Result<ModelProto> {
    let mut builder = Builder { architecture, weights, nodes: Vec::new(), initializers: Vec::new() };
    let mut rows = builder.embeddings()?;
    let bias = builder.padding_bias();
    for layer in 0..architecture.layers {
        rows = builder.layer(layer, &rows, &bias)?;
    }
    builder.constant_int64s("token_axis", &[1]);
    builder.nodes.push(NodeProto::new("Squeeze", &[&rows, "token_axis"], CLS, vec![]));
    let graph = GraphProto {
        node: builder.nodes,
        name: Some("bertline encoder".to_owned()),
        initializer: builder.initializers,
        input: vec![
            ValueInfoProto::new(INPUT_IDS, INT32, &[Dim::Named("rows"), Dim::Named("width")]),
            ValueInfoProto::new(LENGTHS, INT32, &[Dim::Named("rows")]),
        ],
        output: vec![ValueInfoProto::new(CLS, FLOAT, &[Dim::Named("rows"), Dim::Fixed(architecture.hidden)])],
    };
    Ok(ModelProto::new(graph, IR_VERSION, OPSET))
}

struct Builder<'a> {
    architecture: &'a Architecture,
    weights: &'a Weights<'a>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Builder<'_> {
    /// Adds a node whose output has the node's name, and returns that name.
    fn node(&mut self, op_type: &str, inputs: &[&str], name: &str, attributes: Vec<AttributeProto>) -> String {
        self.nodes.push(NodeProto::new(op_type, inputs, name, attributes));
        name.to_owned()
    }

    fn constant_int64s(&mut self, name: &str, values: &[i64]) {
        self.initializers.push(TensorProto::int64s(name, values));
    }

    /// Word, position and segment embeddings, normalised: [rows, width, hidden].
    fn embeddings(&mut self) -> Result<String> {
        let Architecture { hidden, positions, segments, vocabulary, .. } = *self.architecture;
        let words = self.weights.tensor("embeddings.word_embeddings.weight", &[vocabulary, hidden])?;
        let mut places = self.weights.tensor("embeddings.position_embeddings.weight", &[positions, hidden])?;
        let segment = self.weights.tensor("embeddings.token_type_embeddings.weight", &[segments, hidden])?;
        for place in places.chunks_exact_mut(hidden) {
            for (value, shift) in place.iter_mut().zip(&segment[..hidden]) {
                *value += shift;
            }
        }
        // A row of `positions` tokens may be padded to the next step of width.
        let padded = positions.next_multiple_of(WIDTH_STEP);
        places.resize(padded * hidden, 0.0);
        self.initializers.push(TensorProto::floats("words", &[vocabulary, hidden], &words));
        self.initializers.push(TensorProto::floats("places", &[padded, hidden], &places));
        let numbers: Vec<i32> = (0..padded as i32).collect();
        self.initializers.push(TensorProto::int32s("place_numbers", &[padded], &numbers));
        self.constant_int64s("zero", &[0]);
        self.constant_int64s("one", &[1]);

        let bounds = vec![AttributeProto::int("start", 1), AttributeProto::int("end", 2)];
        self.node("Shape", &[INPUT_IDS], "width", bounds);
        self.node("Gather", &["words", INPUT_IDS], "embeddings/words", vec![]);
        self.node("Slice", &["places", "zero", "width", "zero"], "embeddings/places", vec![]);
        self.node("Add", &["embeddings/words", "embeddings/places"], "embeddings/sum", vec![]);
        self.norm("embeddings.LayerNorm", "embeddings/sum")
    }

    /// 0 for a token and [`MASKED`] for padding: [rows, 1, 1, width].
    fn padding_bias(&mut self) -> String {
        self.initializers.push(TensorProto::floats("kept", &[1], &[0.0]));
        self.initializers.push(TensorProto::floats("masked", &[1], &[MASKED]));
        self.constant_int64s("length_axes", &[1, 2, 3]);
        self.node("Unsqueeze", &[LENGTHS, "length_axes"], "padding/lengths", vec![]);
        self.node("Slice", &["place_numbers", "zero", "width", "zero"], "padding/places", vec![]);
        self.node("Less", &["padding/places", "padding/lengths"], "padding/is_token", vec![]);
        self.node("Where", &["padding/is_token", "kept", "masked"], "padding/bias", vec![])
    }

    /// One transformer layer: [rows, width, hidden] to the same, or to [rows, 1, hidden] for the last one.
    fn layer(&mut self, layer: usize, rows: &str, bias: &str) -> Result<String> {
        let Architecture { hidden, intermediate, layers, activation, .. } = *self.architecture;
        let prefix = format!("encoder.layer.{layer}");
        let asking = if layer + 1 == layers {
            self.node("Slice", &[rows, "zero", "one", "one"], &format!("{prefix}/cls_row"), vec![])
        } else {
            rows.to_owned()
        };
        let context = self.attention(&format!("{prefix}.attention.self"), &asking, rows, bias)?;
        let attended = self.linear(&format!("{prefix}.attention.output.dense"), &context, (hidden, hidden))?;
        let sum = self.node("Add", &[&attended, &asking], &format!("{prefix}.attention/residual"), vec![]);
        let middle = self.norm(&format!("{prefix}.attention.output.LayerNorm"), &sum)?;
        let wide = self.linear(&format!("{prefix}.intermediate.dense"), &middle, (hidden, intermediate))?;
        let (op_type, attributes) = match activation {
            Activation::Gelu => ("Gelu", vec![]),
            Activation::GeluTanh => ("Gelu", vec![AttributeProto::text("approximate", "tanh")]),
            Activation::Relu => ("Relu", vec![]),
        };
        let active = self.node(op_type, &[&wide], &format!("{prefix}.intermediate/active"), attributes);
        let narrow = self.linear(&format!("{prefix}.output.dense"), &active, (intermediate, hidden))?;
        let sum = self.node("Add", &[&narrow, &middle], &format!("{prefix}.output/residual"), vec![]);
        self.norm(&format!("{prefix}.output.LayerNorm"), &sum)
    }

    /// Multi-head attention of the rows `asking` over the rows `asked`, both [rows, tokens, hidden].
    fn attention(&mut self, prefix: &str, asking: &str, asked: &str, bias: &str) -> Result<String> {
        let Architecture { hidden, heads, .. } = *self.architecture;
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        let query = self.linear_scaled(&format!("{prefix}.query"), asking, (hidden, hidden), scale)?;
        let key = self.linear(&format!("{prefix}.key"), asked, (hidden, hidden))?;
        let value = self.linear(&format!("{prefix}.value"), asked, (hidden, hidden))?;
        let query = self.split_heads(&query, &[0, 2, 1, 3]);
        let key = self.split_heads(&key, &[0, 2, 3, 1]);
        let value = self.split_heads(&value, &[0, 2, 1, 3]);
        let name = |step: &str| format!("{prefix}/{step}");
        let scores = self.node("MatMul", &[&query, &key], &name("scores"), vec![]);
        let biased = self.node("Add", &[&scores, bias], &name("biased"), vec![]);
        let shares = self.node("Softmax", &[&biased], &name("shares"), vec![AttributeProto::int("axis", -1)]);
        let context = self.node("MatMul", &[&shares, &value], &name("context"), vec![]);
        let swap = vec![AttributeProto::ints("perm", &[0, 2, 1, 3])];
        let turned = self.node("Transpose", &[&context], &name("turned"), swap);
        // Zeros keep a dimension as it is.
        self.constant_int64s(&name("merged_shape"), &[0, 0, hidden as i64]);
        Ok(self.node("Reshape", &[&turned, &name("merged_shape")], &name("merged"), vec![]))
    }

    /// [rows, tokens, hidden] to heads, in the order that `permutation` of [rows, tokens, heads, size] says.
    fn split_heads(&mut self, values: &str, permutation: &[i64]) -> String {
        let Architecture { hidden, heads, .. } = *self.architecture;
        let shape = format!("{values}/heads_shape");
        self.constant_int64s(&shape, &[0, 0, heads as i64, (hidden / heads) as i64]);
        let split = self.node("Reshape", &[values, &shape], &format!("{values}/heads"), vec![]);
        let order = vec![AttributeProto::ints("perm", permutation)];
        self.node("Transpose", &[&split], &format!("{values}/heads_first"), order)
    }

    fn linear(&mut self, prefix: &str, rows: &str, sizes: (usize, usize)) -> Result<String> {
        self.linear_scaled(prefix, rows, sizes, 1.0)
    }

    /// `scale * (rows x weight + bias)` with sizes (inputs, outputs); the scale is folded into the constants.
    fn linear_scaled(&mut self, prefix: &str, rows: &str, sizes: (usize, usize), scale: f32) -> Result<String> {
        let (inputs, outputs) = sizes;
        let (weight, bias) = (format!("{prefix}.weight"), format!("{prefix}.bias"));
        let mut weight_values = self.weights.transposed(&weight, inputs, outputs)?;
        let mut bias_values = self.weights.tensor(&bias, &[outputs])?;
        weight_values.iter_mut().chain(&mut bias_values).for_each(|value| *value *= scale);
        self.initializers.push(TensorProto::floats(&weight, &[inputs, outputs], &weight_values));
        self.initializers.push(TensorProto::floats(&bias, &[outputs], &bias_values));
        let product = self.node("MatMul", &[rows, &weight], &format!("{prefix}/product"), vec![]);
        Ok(self.node("Add", &[&product, &bias], &format!("{prefix}/sum"), vec![]))
    }

    fn norm(&mut self, prefix: &str, rows: &str) -> Result<String> {
        let Architecture { hidden, norm_epsilon, .. } = *self.architecture;
        let (weight, bias) = (format!("{prefix}.weight"), format!("{prefix}.bias"));
        let weight_values = self.weights.tensor(&weight, &[hidden])?;
        let bias_values = self.weights.tensor(&bias, &[hidden])?;
        self.initializers.push(TensorProto::floats(&weight, &[hidden], &weight_values));
        self.initializers.push(TensorProto::floats(&bias, &[hidden], &bias_values));
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", norm_epsilon)];
        Ok(self.node("LayerNormalization", &[rows, &weight, &bias], &format!("{prefix}/normed"), attributes))
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
