//! A tiny encoder of random weights, and what it computes in plain loops: the truth that graphs are held against,
//! without any file from outside the project.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::json;

use super::model::{Activation, Architecture, Description, Family, WeightsFile};
use super::{MicroBatch, Pooling, Readout, Result};

/// The length of a vector.
pub(super) const HIDDEN: usize = 12;
/// 13 tokens take every position, and their width of 16 goes beyond the last one.
pub(super) const TEXTS: [&[u32]; 3] = [&[1, 7, 7, 39, 2], &[1, 2], &[1, 3, 5, 8, 13, 21, 34, 4, 6, 9, 0, 11, 2]];

type Matrix = Vec<Vec<f64>>;

/// Random weights by BERT's names, with their shapes.
pub(super) struct Tiny {
    pub architecture: Architecture,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Tiny {
    pub(super) fn new(family: Family, layers: usize, activation: Activation) -> Tiny {
        let architecture = Architecture {
            family,
            hidden: HIDDEN,
            layers,
            heads: 3,
            intermediate: 20,
            activation,
            norm_epsilon: 1e-12,
            positions: 13,
            segments: if family == Family::Bert { 2 } else { 0 },
            vocabulary: 40,
        };
        let mut tiny = Tiny { architecture, tensors: BTreeMap::new() };
        let segments = tiny.architecture.segments;
        for (name, rows) in [("word", 40), ("position", 13), ("token_type", segments)] {
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
            let scaled = row.iter().map(|value| (value - mean) / (variance + 1e-12).sqrt());
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

    /// A text's vector, all rows of all layers computed.
    fn vector(&self, ids: &[u32], readout: Readout) -> Vec<f64> {
        let states = self.states(ids);
        let parts = states.iter().rev().take(readout.layers.count()).flat_map(|rows| {
            let mean = |channel| rows.iter().map(|row: &Vec<f64>| row[channel]).sum::<f64>() / rows.len() as f64;
            let mean = (0..HIDDEN).map(mean).collect();
            match readout.pooling {
                Pooling::Cls => vec![rows[0].clone()],
                Pooling::Mean => vec![mean],
                Pooling::ClsMean => vec![rows[0].clone(), mean],
            }
        });
        parts.flatten().collect()
    }

    /// The rows of all tokens behind each layer.
    fn states(&self, ids: &[u32]) -> Vec<Matrix> {
        let words = self.rows("embeddings.word_embeddings.weight");
        let places = self.rows("embeddings.position_embeddings.weight");
        let segments = self.rows("embeddings.token_type_embeddings.weight");
        let segment = segments.first().cloned().unwrap_or_else(|| vec![0.0; HIDDEN]);
        let summed =
            ids.iter().zip(&places).map(|(&id, place)| add(&add(&words[id as usize], place), &segment)).collect();
        let mut rows = self.norm("embeddings.LayerNorm", &summed);
        let mut states = Vec::new();
        for layer in 0..self.architecture.layers {
            let prefix = format!("encoder.layer.{layer}");
            let attended = self.linear(&format!("{prefix}.attention.output.dense"), &self.attention(&prefix, &rows));
            let middle = self.norm(&format!("{prefix}.attention.output.LayerNorm"), &add_rows(&attended, &rows));
            let mut wide = self.linear(&format!("{prefix}.intermediate.dense"), &middle);
            wide.iter_mut().flatten().for_each(|value| *value = self.activate(*value));
            let narrow = self.linear(&format!("{prefix}.output.dense"), &wide);
            rows = self.norm(&format!("{prefix}.output.LayerNorm"), &add_rows(&narrow, &middle));
            states.push(rows.clone());
        }
        states
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

    /// The weights as a file, by the names of the family, which begin with `prefix`.
    pub(super) fn weights(&self, prefix: &str) -> Vec<u8> {
        let bytes: Vec<(String, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .filter(|(_, (shape, _))| shape[0] > 0)
            .map(|(name, (shape, values))| {
                let name = format!("{prefix}{}", self.stored_name(name));
                (name, shape.as_slice(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views =
            bytes.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap()));
        serialize(views, None).unwrap()
    }

    fn stored_name(&self, name: &str) -> String {
        let distilberts = [
            ("encoder.layer.", "transformer.layer."),
            ("attention.self.query", "attention.q_lin"),
            ("attention.self.key", "attention.k_lin"),
            ("attention.self.value", "attention.v_lin"),
            ("attention.output.dense", "attention.out_lin"),
            ("attention.output.LayerNorm", "sa_layer_norm"),
            ("intermediate.dense", "ffn.lin1"),
            ("output.dense", "ffn.lin2"),
            ("output.LayerNorm", "output_layer_norm"),
        ];
        match self.architecture.family {
            Family::Bert => name.to_owned(),
            Family::DistilBert => distilberts.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to)),
        }
    }

    pub(super) fn description(&self, prefix: &str) -> Result<Description> {
        let file = WeightsFile::from_bytes(self.weights(prefix));
        Description::read(&self.architecture, &file.tensors(self.architecture.prefix())?)
    }

    /// Writes a folder with `config.json` and `model.safetensors`, and a tokenizer that knows the letters.
    pub(super) fn write(&self, folder: &Path) {
        let (layers, positions) = (self.architecture.layers, self.architecture.positions);
        let config = match self.architecture.family {
            Family::Bert => json!({
                "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": 3,
                "intermediate_size": 20, "max_position_embeddings": positions, "vocab_size": 40,
            }),
            Family::DistilBert => json!({
                "model_type": "distilbert", "dim": HIDDEN, "n_layers": layers, "n_heads": 3, "hidden_dim": 20,
                "max_position_embeddings": positions, "vocab_size": 40,
            }),
        };
        fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
        fs_err::write(folder.join("model.safetensors"), self.weights("")).unwrap();
        Self::write_tokenizer(folder);
    }

    /// Writes `tokenizer.json` alone.
    pub(super) fn write_tokenizer(folder: &Path) {
        let special = |token: &str, id: u32| {
            json!({
                "id": id, "content": token, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false,
            })
        };
        let template = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let ids = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let mut vocabulary = json!({"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3});
        for (number, letter) in ('a'..='z').enumerate() {
            vocabulary[letter.to_string()] = json!(number + 4);
        }
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [special("[PAD]", 0), special("[CLS]", 1), special("[SEP]", 2), special("[UNK]", 3)],
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                "lowercase": true,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [template("[CLS]"), sequence("A"), template("[SEP]")],
                "pair": [template("[CLS]"), sequence("A"), template("[SEP]"), sequence("B"), template("[SEP]")],
                "special_tokens": {"[CLS]": ids("[CLS]", 1), "[SEP]": ids("[SEP]", 2)},
            },
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary,
            },
        });
        fs_err::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    }

    /// Holds CLS vectors against the plain loops' ones.
    pub(super) fn assert_computed(&self, case: &str, texts: &[&[u32]], vectors: &[f32]) {
        self.assert_read_out(case, Readout::default(), texts, vectors);
    }

    /// The same with vectors of any readout.
    pub(super) fn assert_read_out(&self, case: &str, readout: Readout, texts: &[&[u32]], vectors: &[f32]) {
        let width = readout.width(HIDDEN);
        assert_eq!(vectors.len(), texts.len() * width, "{case}");
        for (vector, text) in vectors.chunks_exact(width).zip(texts) {
            for (&found, due) in vector.iter().zip(self.vector(text, readout)) {
                assert!((f64::from(found) - due).abs() < 1e-4, "{case}: {found} where {due} is due");
            }
        }
    }
}

/// The texts as one micro-batch.
pub(super) fn batch(texts: &[&[u32]], width: usize) -> MicroBatch {
    let mut batch = MicroBatch { width, lengths: Vec::new(), ids: Vec::new() };
    for text in texts {
        batch.lengths.push(text.len() as u32);
        batch.ids.extend((0..width).map(|place| text.get(place).map_or(17, |&id| id as i32)));
    }
    batch
}

/// Whether there is an ONNX Runtime to test with; says so where there is none.
#[allow(clippy::print_stderr)]
pub(super) fn has_runtime() -> bool {
    let found = crate::native::find("onnxruntime/libonnxruntime.so").is_some();
    if !found {
        eprintln!("skipped: no ONNX Runtime (`make deps` gets it)");
    }
    found
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
