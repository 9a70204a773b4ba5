//! From hidden states to the text's vector: the rows and layers that a [`Readout`] names, one after the other.
//!
//! A mean over the tokens of a padded row is a product with a row of weights, 1/length for a token and 0 for padding:
//! one product reads the states once, whoever computes.

use super::super::interface::{Feed, output_of};
use super::super::model::Description;
use super::super::readout::{PooledRow, Readout};
use super::Nodes;
use crate::onnx::{AttributeProto, FLOAT, TensorProto};

/// The weights of all positions in a mean, once they have been made.
const WEIGHTS: &str = "pooling/weights";

/// What a layer gives.
pub(super) struct HiddenState {
    /// The rows of all tokens, [rows, tokens, hidden], or of CLS alone where they are cut, [rows, 1, hidden].
    pub rows: String,
    pub cut: bool,
}

/// The vectors, [rows, width], from the states of the layers that are taken, the last one first.
pub(super) fn vectors(nodes: &mut Nodes<'_>, description: &Description, readout: Readout, states: &[HiddenState]) {
    let mut parts = Vec::new();
    for state in states {
        for part in readout.pooling.parts() {
            parts.push(match part {
                PooledRow::Cls if state.cut => state.rows.clone(),
                PooledRow::Cls => cls_row(nodes, &state.rows),
                PooledRow::Mean => mean(nodes, description, &state.rows),
            });
        }
    }
    nodes.int64s("token_axis", &[1]);
    let row = match parts.as_slice() {
        [row] => row.clone(),
        parts => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            nodes.add("Concat", &parts, "pooling/parts", vec![AttributeProto::int("axis", -1)])
        }
    };
    nodes.add("Squeeze", &[&row, "token_axis"], output_of(readout), vec![]);
}

/// The first token's row of a state, [rows, 1, hidden].
pub(super) fn cls_row(nodes: &mut Nodes<'_>, state: &str) -> String {
    let name = format!("{state}/cls_row");
    if nodes.has(&name) {
        return name;
    }
    nodes.int64s("zero", &[0]);
    nodes.int64s("one", &[1]);
    nodes.add("Slice", &[state, "zero", "one", "one"], &name, vec![])
}

/// The mean over the tokens of a state, [rows, 1, hidden].
fn mean(nodes: &mut Nodes<'_>, description: &Description, state: &str) -> String {
    let name = format!("{state}/mean");
    if !nodes.has(WEIGHTS) {
        weights(nodes, description.embeddings.places.len() / description.hidden);
    }
    nodes.add("MatMul", &[WEIGHTS, state], &name, vec![])
}

/// 1/length for a token and 0 for padding: [rows, 1, width].
fn weights(nodes: &mut Nodes<'_>, places: usize) {
    let numbers: Vec<i32> = (0..places as i32).collect();
    nodes.constant(TensorProto::int32s("pooling/place_numbers", &[places], &numbers));
    nodes.int64s("zero", &[0]);
    nodes.int64s("pooling/length_axes", &[1, 2]);
    let bounds = vec![AttributeProto::int("start", 1), AttributeProto::int("end", 2)];
    nodes.add("Shape", &[Feed::Ids.name()], "pooling/width", bounds);
    nodes.add("Slice", &["pooling/place_numbers", "zero", "pooling/width", "zero"], "pooling/places", vec![]);
    nodes.add("Unsqueeze", &[Feed::Lengths.name(), "pooling/length_axes"], "pooling/lengths", vec![]);
    nodes.add("Less", &["pooling/places", "pooling/lengths"], "pooling/is_token", vec![]);
    let to_float = || vec![AttributeProto::int("to", FLOAT.into())];
    nodes.add("Cast", &["pooling/is_token"], "pooling/ones", to_float());
    nodes.add("Cast", &["pooling/lengths"], "pooling/float_lengths", to_float());
    nodes.add("Div", &["pooling/ones", "pooling/float_lengths"], WEIGHTS, vec![]);
}
