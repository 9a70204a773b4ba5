//! Proof that the provider computes in the precision it was asked for.
//!
//! A provider that cannot do bf16 takes the hint and computes in fp32 without a word, and the other way round on CPUs
//! where bf16 is its default. The dataset's numerics would then be a lie, so a small product whose result depends on
//! the precision is run first.

use prost::Message as _;

use super::graph::{IR_VERSION, OPSET};
use super::library::Library;
use super::session::{self, Graph, Settings};
use super::{Error, Precision, Result};
use crate::onnx::{Dim, FLOAT, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

const SIZE: usize = 64;
/// A number that bf16, with its eight bits of significand, rounds to 1.
const FACTOR: f32 = 1.0 + 1.5 / 512.0;

/// Runs the proof.
///
/// # Errors
/// Where the result is another precision's.
pub(super) fn check(library: &Library, settings: Settings) -> Result<()> {
    let graph = product().encode_to_vec();
    let graph = Graph::Memory { name: "precision proof", bytes: &graph };
    let products = session::run_floats(library, graph, settings, [SIZE, SIZE], &[FACTOR; SIZE * SIZE])?;
    let sum = products[0];
    let expected = match settings.floats {
        Precision::Bf16 => SIZE as f32,
        _ => FACTOR * SIZE as f32,
    };
    match (sum - expected).abs() < 0.02 {
        true => Ok(()),
        false => Err(Error::PrecisionNotRun { provider: settings.provider, asked: settings.precision, sum, expected }),
    }
}

/// [SIZE, SIZE] times a matrix of ones.
pub(super) fn product() -> ModelProto {
    let dims = [Dim::Named("rows"), Dim::Fixed(SIZE)];
    let product = GraphProto {
        node: vec![NodeProto::new("MatMul", &["values", "ones"], "products", vec![])],
        name: Some("bertline precision proof".to_owned()),
        initializer: vec![TensorProto::floats("ones", &[SIZE, SIZE], &[1.0; SIZE * SIZE])],
        input: vec![ValueInfoProto::new("values", FLOAT, &dims)],
        output: vec![ValueInfoProto::new("products", FLOAT, &dims)],
    };
    ModelProto::new(product, IR_VERSION, OPSET)
}
