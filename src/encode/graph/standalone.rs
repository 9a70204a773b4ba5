//! An encoder's graph as other programs feed one: 64-bit ids and a mask, as Hugging Face's tokenizers give them.

use super::super::interface::Feed;
use crate::onnx::{AttributeProto, Dim, INT32, INT64, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// The graph `model` with `input_ids` and `attention_mask`, 64-bit [rows, width], instead of ids and lengths.
///
/// Rows must be padded at their end: a row's length is the sum of its mask.
pub(in crate::encode) fn taking_a_mask(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().expect("a lowered model has a graph; this is a bug");
    graph.initializer.push(TensorProto::int64s("mask_axis", &[1]));
    let sum = vec![AttributeProto::int("keepdims", 0)];
    let to_int32 = vec![AttributeProto::int("to", INT32.into())];
    let lengths = [
        NodeProto::new("ReduceSum", &[Feed::Mask.name(), "mask_axis"], "mask_sums", sum),
        NodeProto::new("Cast", &["mask_sums"], Feed::Lengths.name(), to_int32),
    ];
    graph.node.splice(0..0, lengths);
    let dims = [Dim::Named("rows"), Dim::Named("width")];
    graph.input = [Feed::Ids, Feed::Mask].map(|feed| ValueInfoProto::new(feed.name(), INT64, &dims)).to_vec();
    model
}
