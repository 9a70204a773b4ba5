//! A head as an ONNX model, for programs other than this one: alone, or behind an encoder.
//!
//! Takes `embedding` (float, `[rows, width]`), or what the encoder gives, and gives `logits` and `probabilities` (float,
//! `[rows, classes]`).

use prost::Message;

use super::Head;
use crate::onnx::{
    AttributeProto, Dim, FLOAT, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};

/// The least operator set and file version that any runtime of the last years reads.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;

/// The head as the bytes of an ONNX file; `labels` go along as JSON under the metadata key `labels`.
pub(super) fn encode(head: &Head, labels: &[String]) -> Vec<u8> {
    let graph = GraphProto {
        name: Some("head".to_owned()),
        input: vec![value("embedding", head.width())],
        output: vec![value("embedding", head.width())],
        ..GraphProto::default()
    };
    let mut model = ModelProto::new(graph, IR_VERSION, OPSET);
    put_behind(&mut model, head, labels);
    model.encode_to_vec()
}

/// Puts the head behind a model whose first output is the vectors; its own outputs take that one's place.
///
/// # Panics
/// Where the model has no graph or no output.
pub(crate) fn put_behind(model: &mut ModelProto, head: &Head, labels: &[String]) {
    let graph = model.graph.as_mut().expect("a model without a graph reached the head, this is a bug");
    let mut current = graph.output[0].name().to_owned();
    let (nodes, initializers) = (&mut graph.node, &mut graph.initializer);
    for (number, layer) in head.layers.iter().enumerate() {
        let (weight, bias) = (format!("layers.{number}.weight"), format!("layers.{number}.bias"));
        initializers.push(TensorProto::floats(&weight, &[layer.outputs, layer.inputs], &layer.weight));
        initializers.push(TensorProto::floats(&bias, &[layer.outputs], &layer.bias));
        let last = number + 1 == head.layers.len();
        let output = if last { "logits".to_owned() } else { format!("dense.{number}") };
        let transposed = vec![AttributeProto::int("transB", 1)];
        nodes.push(NodeProto::new("Gemm", &[&current, &weight, &bias], &output, transposed));
        current = output;
        if !last {
            let output = format!("relu.{number}");
            nodes.push(NodeProto::new("Relu", &[&current], &output, Vec::new()));
            current = output;
        }
    }
    nodes.push(NodeProto::new("Softmax", &["logits"], "probabilities", vec![AttributeProto::int("axis", -1)]));
    graph.output = vec![value("logits", head.classes()), value("probabilities", head.classes())];
    let labels = serde_json::Value::from(labels.to_vec()).to_string();
    model.metadata_props.push(StringStringEntryProto { key: Some("labels".to_owned()), value: Some(labels) });
}

fn value(name: &str, width: usize) -> ValueInfoProto {
    ValueInfoProto::new(name, FLOAT, &[Dim::Named("rows"), Dim::Fixed(width)])
}

#[cfg(test)]
mod tests {
    use super::super::noise::random_head;
    use super::*;

    #[test]
    fn the_graph_is_the_head() {
        let head = random_head(&[6, 4, 3]);
        let labels = ["a".to_owned(), "ü \"b\"".to_owned(), "c".to_owned()];
        let model = ModelProto::decode(encode(&head, &labels).as_slice()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(model.metadata_props[0].value()).unwrap(), labels);
        let graph = model.graph.unwrap();
        let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type()).collect();
        assert_eq!(operators, ["Gemm", "Relu", "Gemm", "Softmax"]);
        // Every input is the graph's own, an initializer or an earlier node's output.
        let mut known = vec!["embedding".to_owned()];
        known.extend(graph.initializer.iter().map(|tensor| tensor.name().to_owned()));
        for node in &graph.node {
            assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
            known.extend(node.output.clone());
        }
        assert_eq!(graph.initializer[2].dims, [3, 4]);
        assert_eq!(graph.initializer[2].raw_data()[..4], head.layers[1].weight[0].to_le_bytes());
    }
}
