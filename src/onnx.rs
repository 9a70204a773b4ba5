//! The few messages of the ONNX file format that graphs of ours need (the encoder's and the heads'), and the outline of
//! foreign ones.
//!
//! Written as prost structs because the full generated bindings need a protobuf compiler at build time. Field numbers
//! are those of `onnx.proto` (IR version 10); scalars are optional there, so that an attribute of value 0 is still
//! written.

use prost::Message;

/// `TensorProto.DataType` of u8.
const UINT8: i32 = 2;
/// `TensorProto.DataType` of i8.
const INT8: i32 = 3;
/// `TensorProto.DataType` of f32.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const FLOAT16: i32 = 10;
/// `TensorProto.DataType` of i32.
pub(crate) const INT32: i32 = 6;
/// `TensorProto.DataType` of i64.
pub(crate) const INT64: i32 = 7;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub producer_name: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StringStringEntryProto {
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSetIdProto {
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub op_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    #[prost(string, optional, tag = "7")]
    pub domain: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, optional, tag = "20")]
    pub kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw_data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfoProto {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorTypeProto {
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub dim_param: Option<String>,
}

/// A model without its weights: what decoding a foreign file keeps.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelOutline {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphOutline>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphOutline {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeOutline>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorOutline>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeOutline {
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeOutline>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeOutline {
    #[prost(message, optional, tag = "5")]
    pub tensor: Option<TensorOutline>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorOutline {
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    /// 1 where the values are in another file.
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
}

/// One dimension of a graph's input or output.
#[derive(Clone, Copy)]
pub(crate) enum Dim {
    /// Always this long.
    Fixed(usize),
    /// As long as the caller says, by this name.
    Named(&'static str),
}

impl NodeProto {
    /// A node of the standard operator set with one output.
    pub(crate) fn new(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> Self {
        Self {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(op_type.to_owned()),
            attribute,
            domain: None,
        }
    }

    /// This node in another operator set.
    pub(crate) fn of_domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }
}

impl AttributeProto {
    fn named(name: &str, kind: i32) -> Self {
        Self { name: Some(name.to_owned()), kind: Some(kind), ..Self::default() }
    }

    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { f: Some(value), ..Self::named(name, 1) }
    }

    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { i: Some(value), ..Self::named(name, 2) }
    }

    pub(crate) fn text(name: &str, value: &str) -> Self {
        Self { s: Some(value.as_bytes().to_vec()), ..Self::named(name, 3) }
    }

    pub(crate) fn ints(name: &str, values: &[i64]) -> Self {
        Self { ints: values.to_vec(), ..Self::named(name, 7) }
    }
}

impl TensorProto {
    fn new(name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> Self {
        Self {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(data_type),
            name: Some(name.to_owned()),
            raw_data: Some(raw_data),
        }
    }

    pub(crate) fn floats(name: &str, shape: &[usize], values: &[f32]) -> Self {
        Self::new(name, shape, FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Values rounded to 16-bit floats.
    pub(crate) fn halves(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes());
        Self::new(name, shape, FLOAT16, bytes.collect())
    }

    pub(crate) fn uint8s(name: &str, shape: &[usize], values: &[u8]) -> Self {
        Self::new(name, shape, UINT8, values.to_vec())
    }

    pub(crate) fn int8s(name: &str, shape: &[usize], values: &[i8]) -> Self {
        Self::new(name, shape, INT8, values.iter().map(|value| value.to_le_bytes()[0]).collect())
    }

    pub(crate) fn int32s(name: &str, shape: &[usize], values: &[i32]) -> Self {
        Self::new(name, shape, INT32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn int64s(name: &str, values: &[i64]) -> Self {
        Self::new(name, &[values.len()], INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

impl ValueInfoProto {
    pub(crate) fn new(name: &str, elem_type: i32, dims: &[Dim]) -> Self {
        let dim = |dim: &Dim| match *dim {
            Dim::Fixed(size) => DimensionProto { dim_value: Some(size as i64), dim_param: None },
            Dim::Named(name) => DimensionProto { dim_value: None, dim_param: Some(name.to_owned()) },
        };
        let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
        let tensor_type = TensorTypeProto { elem_type: Some(elem_type), shape: Some(shape) };
        Self { name: Some(name.to_owned()), kind: Some(TypeProto { tensor_type: Some(tensor_type) }) }
    }

    fn tensor_type(&self) -> Option<&TensorTypeProto> {
        self.kind.as_ref()?.tensor_type.as_ref()
    }

    /// The type of its elements, if it is a tensor.
    pub(crate) fn elem_type(&self) -> Option<i32> {
        self.tensor_type()?.elem_type
    }

    /// Its dimensions, those that are always as long with their length; none where no shape is given.
    pub(crate) fn dims(&self) -> Vec<Option<usize>> {
        let shape = self.tensor_type().and_then(|tensor| tensor.shape.as_ref());
        let size = |dim: &DimensionProto| dim.dim_value.filter(|&size| size > 0).map(|size| size as usize);
        shape.map_or(Vec::new(), |shape| shape.dim.iter().map(size).collect())
    }
}

impl ModelProto {
    /// A model of one graph in the standard operator set `opset`; the file version is the one that goes with it.
    pub(crate) fn new(graph: GraphProto, ir_version: i64, opset: i64) -> Self {
        Self {
            ir_version: Some(ir_version),
            producer_name: Some("bertline".to_owned()),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }],
            metadata_props: Vec::new(),
        }
    }

    /// This model with nodes of a further operator set in it.
    pub(crate) fn with_domain(mut self, domain: &str, version: i64) -> Self {
        self.opset_import.push(OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) });
        self
    }

    /// This model with a piece of metadata.
    pub(crate) fn with_metadata(mut self, key: &str, value: String) -> Self {
        self.metadata_props.push(StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) });
        self
    }
}

impl GraphOutline {
    /// Whether a tensor's values are in another file.
    pub(crate) fn has_external_data(&self) -> bool {
        let attributes = self.node.iter().flat_map(|node| &node.attribute);
        let constants = attributes.filter_map(|attribute| attribute.tensor.as_ref());
        self.initializer.iter().chain(constants).any(|tensor| tensor.data_location == Some(1))
    }

    /// The inputs that a caller must give: old files list their weights among the inputs too.
    pub(crate) fn real_inputs(&self) -> Vec<&ValueInfoProto> {
        let is_weight = |name: &str| self.initializer.iter().any(|tensor| tensor.name() == name);
        self.input.iter().filter(|input| !is_weight(input.name())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_onnxs() {
        // A zero attribute is written (name, i, kind), and a tensor is dims, data_type, name, raw_data.
        let axis = AttributeProto::int("axis", 0).encode_to_vec();
        assert_eq!(axis, [&[0x0a, 4][..], b"axis", &[0x18, 0, 0xa0, 1, 2]].concat());
        let one = TensorProto::floats("w", &[1, 1], &[1.0]).encode_to_vec();
        assert_eq!(one, [&[8, 1, 8, 1, 16, 1, 0x42, 1][..], b"w", &[0x4a, 4, 0, 0, 0x80, 0x3f]].concat());
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(20) }.encode_to_vec();
        assert_eq!(opset, [0x0a, 0, 0x10, 20]);
    }

    #[test]
    fn an_outline_tells_inputs_from_weights_and_where_these_are() {
        let value = |name: &str| ValueInfoProto::new(name, FLOAT, &[Dim::Named("rows"), Dim::Fixed(3)]);
        let graph = GraphProto {
            initializer: vec![TensorProto::floats("w", &[1], &[1.0])],
            input: vec![value("w"), value("x")],
            ..GraphProto::default()
        };
        let bytes = ModelProto::new(graph, 10, 20).encode_to_vec();
        let outline = ModelOutline::decode(bytes.as_slice()).unwrap().graph.unwrap();
        assert_eq!(outline.real_inputs(), [&value("x")]);
        assert_eq!(outline.input[0].dims(), [None, Some(3)]);
        assert!(!outline.has_external_data());
        let elsewhere = TensorOutline { data_location: Some(1), ..TensorOutline::default() };
        assert!(GraphOutline { initializer: vec![elsewhere], ..outline }.has_external_data());
    }
}
