//! A head as an ONNX model, for programs other than this one.
//!
//! Takes `embedding` (float, `[rows, width]`) and gives `logits` and `probabilities` (float, `[rows, classes]`). The
//! messages hold only the fields of ONNX's `onnx.proto` that a head needs, under their numbers there.

use prost::Message;

use super::Head;

/// The least operator set and file version that any runtime of the last years reads.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;

const FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// The head as the bytes of an ONNX file; `labels` go along as JSON under the metadata key `labels`.
pub(super) fn encode(head: &Head, labels: &[String]) -> Vec<u8> {
    let labels = serde_json::Value::from(labels.to_vec()).to_string();
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "bertline".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph(head)),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: vec![StringStringEntryProto { key: "labels".to_owned(), value: labels }],
    };
    model.encode_to_vec()
}

fn graph(head: &Head) -> GraphProto {
    let mut nodes = Vec::new();
    let mut initializers = Vec::new();
    let mut current = "embedding".to_owned();
    for (number, layer) in head.layers.iter().enumerate() {
        let (weight, bias) = (format!("layers.{number}.weight"), format!("layers.{number}.bias"));
        let (outputs, inputs) = (layer.outputs as i64, layer.inputs as i64);
        initializers.push(tensor(&weight, vec![outputs, inputs], &layer.weight));
        initializers.push(tensor(&bias, vec![outputs], &layer.bias));
        let last = number + 1 == head.layers.len();
        let output = if last { "logits".to_owned() } else { format!("dense.{number}") };
        nodes.push(node("Gemm", &[&current, &weight, &bias], &output, &[("transB", 1)]));
        current = output;
        if !last {
            let output = format!("relu.{number}");
            nodes.push(node("Relu", &[&current], &output, &[]));
            current = output;
        }
    }
    nodes.push(node("Softmax", &["logits"], "probabilities", &[("axis", -1)]));
    GraphProto {
        node: nodes,
        name: "head".to_owned(),
        initializer: initializers,
        input: vec![value("embedding", head.width())],
        output: vec![value("logits", head.classes()), value("probabilities", head.classes())],
    }
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> NodeProto {
    let attribute =
        |(name, i): &(&str, i64)| AttributeProto { name: (*name).to_owned(), i: Some(*i), kind: ATTRIBUTE_INT };
    NodeProto {
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("{operator}:{output}"),
        op_type: operator.to_owned(),
        attribute: attributes.iter().map(attribute).collect(),
    }
}

fn tensor(name: &str, dims: Vec<i64>, values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { dims, data_type: FLOAT, name: name.to_owned(), raw_data }
}

fn value(name: &str, width: usize) -> ValueInfoProto {
    let rows = DimensionProto { dim_value: None, dim_param: Some("rows".to_owned()) };
    let columns = DimensionProto { dim_value: Some(width as i64), dim_param: None };
    let shape = ShapeProto { dim: vec![rows, columns] };
    let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.to_owned(), kind: Some(TypeProto { tensor_type: Some(tensor_type) }) }
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
        assert_eq!(serde_json::from_str::<Vec<String>>(&model.metadata_props[0].value).unwrap(), labels);
        let graph = model.graph.unwrap();
        let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(operators, ["Gemm", "Relu", "Gemm", "Softmax"]);
        // Every input is the graph's own, an initializer or an earlier node's output.
        let mut known = vec!["embedding".to_owned()];
        known.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
        for node in &graph.node {
            assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
            known.extend(node.output.clone());
        }
        assert_eq!(graph.initializer[2].dims, [3, 4]);
        assert_eq!(graph.initializer[2].raw_data[..4], head.layers[1].weight[0].to_le_bytes());
    }
}
