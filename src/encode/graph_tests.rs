//! The graph against BERT written out in plain loops, on a tiny model of random weights: every activation, one layer
//! and several, padded and not, without any file from outside the project.

use std::collections::BTreeMap;

use prost::Message as _;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use super::super::session::{Session, Settings};
use super::super::weights::WeightsFile;
use super::super::{MicroBatch, Precision, library};
use super::*;

type Matrix = Vec<Vec<f64>>;

/// Random weights by name, with their shapes.
struct Tiny {
    architecture: Architecture,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Tiny {
    fn new(layers: usize, activation: Activation) -> Tiny {
        let architecture = Architecture {
            family: "bert",
            hidden: 12,
            layers,
            heads: 3,
            intermediate: 20,
            activation,
            norm_epsilon: 1e-5,
            positions: 13,
            segments: 2,
            vocabulary: 40,
        };
        let mut tiny = Tiny { architecture, tensors: BTreeMap::new() };
        for (name, rows) in [("word", 40), ("position", 13), ("token_type", 2)] {
            tiny.add(&format!("embeddings.{name}_embeddings.weight"), &[rows, 12]);
        }
        tiny.add_pair("embeddings.LayerNorm", &[12], 12);
        for layer in 0..layers {
            let prefix = format!("encoder.layer.{layer}");
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                tiny.add_pair(&format!("{prefix}.{part}"), &[12, 12], 12);
            }
            tiny.add_pair(&format!("{prefix}.attention.output.LayerNorm"), &[12], 12);
            tiny.add_pair(&format!("{prefix}.intermediate.dense"), &[20, 12], 20);
            tiny.add_pair(&format!("{prefix}.output.dense"), &[12, 20], 12);
            tiny.add_pair(&format!("{prefix}.output.LayerNorm"), &[12], 12);
        }
        tiny
    }

    fn add_pair(&mut self, prefix: &str, shape: &[usize], bias: usize) {
        self.add(&format!("{prefix}.weight"), shape);
        self.add(&format!("{prefix}.bias"), &[bias]);
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        let mut state = blake3::Hasher::new().update(name.as_bytes()).finalize_xof();
        let mut bytes = vec![0; shape.iter().product()];
        state.fill(&mut bytes);
        let values = bytes.iter().map(|&byte| f32::from(byte) / 128.0 - 1.0).collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }

    fn rows(&self, name: &str) -> Matrix {
        let (shape, values) = &self.tensors[name];
        values
            .chunks_exact(shape[shape.len() - 1])
            .map(|row| row.iter().map(|&value| f64::from(value)).collect())
            .collect()
    }

    fn linear(&self, prefix: &str, input: &Matrix) -> Matrix {
        let (weight, bias) = (self.rows(&format!("{prefix}.weight")), &self.rows(&format!("{prefix}.bias"))[0]);
        let output = |row: &Vec<f64>| weight.iter().zip(bias).map(|(weight, bias)| dot(row, weight) + bias).collect();
        input.iter().map(output).collect()
    }

    fn norm(&self, prefix: &str, input: &Matrix) -> Matrix {
        let (weight, bias) = (&self.rows(&format!("{prefix}.weight"))[0], &self.rows(&format!("{prefix}.bias"))[0]);
        let normed = |row: &Vec<f64>| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let scaled = row.iter().map(|value| (value - mean) / (variance + 1e-5).sqrt());
            scaled.zip(weight).zip(bias).map(|((value, weight), bias)| value * weight + bias).collect()
        };
        input.iter().map(normed).collect()
    }

    fn activate(&self, value: f64) -> f64 {
        match self.architecture.activation {
            Activation::Relu => value.max(0.0),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (value + 0.044_715 * value.powi(3));
                0.5 * value * (1.0 + inner.tanh())
            }
            // The error function by its series, which converges for every value here.
            Activation::Gelu => {
                let x = value / std::f64::consts::SQRT_2;
                let mut term = x;
                let mut sum = x;
                for n in 1..200 {
                    term *= -x * x / f64::from(n);
                    sum += term / f64::from(2 * n + 1);
                }
                0.5 * value * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
            }
        }
    }

    /// The first row of the last hidden state, all rows of all layers computed.
    fn cls(&self, ids: &[u32]) -> Vec<f64> {
        let words = self.rows("embeddings.word_embeddings.weight");
        let places = self.rows("embeddings.position_embeddings.weight");
        let segment = &self.rows("embeddings.token_type_embeddings.weight")[0];
        let summed =
            ids.iter().zip(&places).map(|(&id, place)| add(&add(&words[id as usize], place), segment)).collect();
        let mut rows = self.norm("embeddings.LayerNorm", &summed);
        for layer in 0..self.architecture.layers {
            let prefix = format!("encoder.layer.{layer}");
            let attended = self.linear(&format!("{prefix}.attention.output.dense"), &self.attention(&prefix, &rows));
            let middle = self.norm(&format!("{prefix}.attention.output.LayerNorm"), &add_rows(&attended, &rows));
            let mut wide = self.linear(&format!("{prefix}.intermediate.dense"), &middle);
            wide.iter_mut().flatten().for_each(|value| *value = self.activate(*value));
            let narrow = self.linear(&format!("{prefix}.output.dense"), &wide);
            rows = self.norm(&format!("{prefix}.output.LayerNorm"), &add_rows(&narrow, &middle));
        }
        rows.swap_remove(0)
    }

    fn attention(&self, prefix: &str, rows: &Matrix) -> Matrix {
        let [query, key, value] =
            ["query", "key", "value"].map(|part| self.linear(&format!("{prefix}.attention.self.{part}"), rows));
        let mut context = vec![vec![0.0; 12]; rows.len()];
        for (head, token) in (0..3).flat_map(|head| (0..rows.len()).map(move |token| (head, token))) {
            let part = 4 * head..4 * head + 4;
            let scores: Vec<f64> =
                key.iter().map(|key| (dot(&query[token][part.clone()], &key[part.clone()]) / 2.0).exp()).collect();
            let total: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(&value) {
                for index in part.clone() {
                    context[token][index] += score / total * value[index];
                }
            }
        }
        context
    }

    fn session(&self, library: &library::Library) -> Session {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                (name.clone(), shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views =
            bytes.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
        let file = WeightsFile::from_bytes(serialize(views, None).unwrap());
        let model = build(&self.architecture, &file.tensors().unwrap()).unwrap();
        let settings = Settings { precision: Precision::Fp32, threads: 1 };
        Session::from_bytes(library, "tiny", &model.encode_to_vec(), settings).unwrap()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn add_rows(a: &Matrix, b: &Matrix) -> Matrix {
    a.iter().zip(b).map(|(a, b)| add(a, b)).collect()
}

#[test]
fn the_graph_computes_bert() {
    if crate::native::find("onnxruntime/libonnxruntime.so").is_none() {
        eprintln!("skipped: no ONNX Runtime (`make deps` gets it)");
        return;
    }
    let library = library::load().unwrap();
    for (layers, activation) in
        [(1, Activation::Gelu), (3, Activation::Gelu), (2, Activation::GeluTanh), (2, Activation::Relu)]
    {
        let tiny = Tiny::new(layers, activation);
        let mut session = tiny.session(library);
        // 13 tokens take every position, and their width of 16 goes beyond the last one.
        let texts: [&[u32]; 3] = [&[1, 7, 7, 39, 2], &[1, 2], &[1, 3, 5, 8, 13, 21, 34, 4, 6, 9, 0, 11, 2]];
        let mut batch = MicroBatch { width: 16, lengths: Vec::new(), ids: Vec::new() };
        for text in texts {
            batch.lengths.push(text.len() as u32);
            batch.ids.extend((0..16).map(|place| text.get(place).map_or(17, |&id| id as i32)));
        }
        let vectors = session.encode(&batch, 12).unwrap();
        for (vector, text) in vectors.chunks_exact(12).zip(texts) {
            for (&found, due) in vector.iter().zip(tiny.cls(text)) {
                assert!(
                    (f64::from(found) - due).abs() < 1e-4,
                    "{layers} layers, {activation:?}: {found} where {due} is due"
                );
            }
        }
    }
}
