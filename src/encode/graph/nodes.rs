//! The nodes and constants of a graph while it is built.

use crate::onnx::{AttributeProto, FLOAT, FLOAT16, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::site::Site;
use super::{IR_VERSION, OPSET};

/// What has been gathered so far. A node's output has the node's name.
pub(super) struct Nodes<'a> {
    /// What is quantised.
    pub(super) sites: &'a [Site],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Whether weights, and all that is computed of them, are 16-bit floats.
    half: bool,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(sites: &'a [Site]) -> Nodes<'a> {
        Nodes { sites, nodes: Vec::new(), constants: Vec::new(), half: false }
    }

    /// Has weights, and thereby what is computed of them, in 16-bit floats.
    pub(super) fn in_half(&mut self, half: bool) {
        self.half = half;
    }

    /// A value in 32-bit floats.
    pub(super) fn single(&mut self, value: &str) -> String {
        match self.half {
            true => self.cast(value, "single", FLOAT),
            false => value.to_owned(),
        }
    }

    /// A value of 32-bit floats in the format of the weights.
    pub(super) fn in_weights_format(&mut self, value: &str) -> String {
        match self.half {
            true => self.cast(value, "half", FLOAT16),
            false => value.to_owned(),
        }
    }

    fn cast(&mut self, value: &str, format: &str, to: i32) -> String {
        let name = format!("{value}/{format}");
        if self.has(&name) {
            return name;
        }
        self.add("Cast", &[value], &name, vec![AttributeProto::int("to", to.into())])
    }

    /// Whether a node of this name is there already.
    pub(super) fn has(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.output[0] == name)
    }

    /// Adds a node of the standard operator set and returns its output.
    pub(super) fn add(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        name: &str,
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.push(NodeProto::new(op_type, inputs, name, attributes))
    }

    /// Adds any node and returns its first output.
    pub(super) fn push(&mut self, node: NodeProto) -> String {
        let output = node.output[0].clone();
        self.nodes.push(node);
        output
    }

    /// Adds a constant of integers, unless it is there already.
    pub(super) fn int64s(&mut self, name: &str, values: &[i64]) {
        if !self.constants.iter().any(|constant| constant.name() == name) {
            self.constants.push(TensorProto::int64s(name, values));
        }
    }

    /// Adds any constant.
    pub(super) fn constant(&mut self, constant: TensorProto) {
        self.constants.push(constant);
    }

    /// Adds a constant of floats and returns its name.
    pub(super) fn floats(&mut self, name: String, shape: &[usize], values: &[f32]) -> String {
        self.constants.push(match self.half {
            true => TensorProto::halves(&name, shape, values),
            false => TensorProto::floats(&name, shape, values),
        });
        name
    }

    /// All that was gathered, as a model of the standard operator set.
    pub(super) fn model(self, inputs: Vec<ValueInfoProto>, output: ValueInfoProto) -> ModelProto {
        let graph = GraphProto {
            node: self.nodes,
            name: Some("bertline encoder".to_owned()),
            initializer: self.constants,
            input: inputs,
            output: vec![output],
        };
        ModelProto::new(graph, IR_VERSION, OPSET)
    }
}
