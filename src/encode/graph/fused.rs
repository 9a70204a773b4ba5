//! The lowering to ONNX Runtime's fused operators.
//!
//! ONNX Runtime finds these in standard graphs only where they look as an exporter writes them, and a last layer that is
//! cut to the CLS row does not: so they are written down. Biases go into the operators that use a product.

use super::super::interface::Feed;
use super::super::model::{Activation, Description, Embeddings, Layer, Linear, Norm};
use super::super::readout::Readout;
use super::pool::{self, HiddenState};
use super::site::Site;
use super::{Nodes, Operators};
use crate::onnx::{AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// ONNX Runtime's own operator set, and its version.
pub(super) const DOMAIN: &str = "com.microsoft";
const VERSION: i64 = 1;
/// An optional input that is not given.
const ABSENT: &str = "";

/// The graph so far.
pub(super) struct Fused<'a> {
    nodes: Nodes<'a>,
}

impl<'a> Fused<'a> {
    pub(super) fn new(sites: &'a [Site]) -> Fused<'a> {
        Fused { nodes: Nodes::new(sites) }
    }

    fn add(&mut self, op_type: &str, inputs: &[&str], name: &str, attributes: Vec<AttributeProto>) -> String {
        self.nodes.push(NodeProto::new(op_type, inputs, name, attributes).of_domain(DOMAIN))
    }

    fn bias(&mut self, linear: &Linear) -> String {
        self.nodes.floats(format!("{}.bias", linear.name), &[linear.outputs], &linear.bias)
    }

    /// The biases of query, key and value in one.
    pub(super) fn attention_bias(&mut self, layer: &Layer) -> String {
        let biases = [&layer.query, &layer.key, &layer.value].map(|linear| linear.bias.as_slice()).concat();
        self.nodes.floats(format!("{}.attention.self.bias", layer.name), &[biases.len()], &biases)
    }

    pub(super) fn norm_constants(&mut self, norm: &Norm) -> [String; 2] {
        let Norm { name, weight, bias, .. } = norm;
        [
            self.nodes.floats(format!("{name}.weight"), &[weight.len()], weight),
            self.nodes.floats(format!("{name}.bias"), &[bias.len()], bias),
        ]
    }
}

impl<'a> Operators<'a> for Fused<'a> {
    fn embeddings(&mut self, embeddings: &Embeddings, hidden: usize) -> String {
        let Embeddings { words, places, norm } = embeddings;
        self.nodes.constant(TensorProto::floats("words", &[words.len() / hidden, hidden], words));
        self.nodes.constant(TensorProto::floats("places", &[places.len() / hidden, hidden], places));
        let [weight, bias] = self.norm_constants(norm);
        let inputs = [Feed::Ids.name(), ABSENT, "words", "places", ABSENT, &weight, &bias];
        let epsilon = vec![AttributeProto::float("epsilon", norm.epsilon)];
        let name = format!("{}/normed", norm.name);
        let mut node = NodeProto::new("EmbedLayerNormalization", &inputs, &name, epsilon).of_domain(DOMAIN);
        // The operator must give a mask index, which nothing here uses.
        node.output.push("embeddings/mask_index".to_owned());
        self.nodes.push(node)
    }

    fn linear(&mut self, linear: &Linear, rows: &str) -> String {
        self.nodes.product(linear, rows)
    }

    fn attention(&mut self, layer: &Layer, heads: usize, products: [&str; 3]) -> String {
        let bias = self.attention_bias(layer);
        let [query, key, value] = products;
        let inputs = [query, key, value, &bias, Feed::Lengths.name()];
        // The query's weights are scaled already.
        let attributes = vec![AttributeProto::int("num_heads", heads as i64), AttributeProto::float("scale", 1.0)];
        self.add("MultiHeadAttention", &inputs, &format!("{}.attention.self/merged", layer.name), attributes)
    }

    fn add_norm(&mut self, linear: &Linear, product: &str, residual: &str, norm: &Norm) -> String {
        let [weight, shift] = self.norm_constants(norm);
        let bias = self.bias(linear);
        let epsilon = vec![AttributeProto::float("epsilon", norm.epsilon)];
        let inputs = [product, residual, &weight, &shift, &bias];
        self.add("SkipLayerNormalization", &inputs, &format!("{}/normed", norm.name), epsilon)
    }

    fn activate(&mut self, linear: &Linear, product: &str, activation: Activation) -> String {
        let bias = self.bias(linear);
        let name = format!("{}/active", linear.name);
        match activation {
            Activation::Gelu => self.add("BiasGelu", &[product, &bias], &name, vec![]),
            Activation::GeluTanh => self.add("FastGelu", &[product, &bias], &name, vec![]),
            Activation::Relu => {
                let sum = self.nodes.add("Add", &[product, &bias], &format!("{}/sum", linear.name), vec![]);
                self.nodes.add("Relu", &[&sum], &name, vec![])
            }
        }
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
        self.nodes.model(inputs, output).with_domain(DOMAIN, VERSION)
    }
}
