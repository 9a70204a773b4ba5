//! What `config.json` says about the model.
//!
//! Only the fields that change what is computed are kept, and every one of them is checked: an encoder of another
//! family runs through the same matrix products and gives plausible nonsense.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::digest::short_digest;
use super::super::{Error, Result};

/// The models that can be encoded, for messages.
const SUPPORTED: &str = "encoders of model_type `bert` or `distilbert` (absolute positions, \
     activation `gelu`, `gelu_new` or `relu`), and any other as a ready-made `model.onnx` beside its tokenizer.json";

/// Encoders that differ in the names of their fields and tensors, and in whether there are segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::encode) enum Family {
    /// BertModel.
    Bert,
    /// DistilBertModel: BERT without segments.
    DistilBert,
}

/// The function between the two products of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::encode) enum Activation {
    /// GELU by the error function.
    Gelu,
    /// GELU by the tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// The fields of `config.json` that decide what the encoder computes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::encode) struct Architecture {
    pub family: Family,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub activation: Activation,
    pub norm_epsilon: f32,
    pub positions: usize,
    /// Rows of the segment table; 0 where there is none.
    pub segments: usize,
    pub vocabulary: usize,
}

/// The file of a BERT as Hugging Face writes it; what is absent has the default of `BertConfig`.
#[derive(Deserialize)]
struct BertConfig {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "norm_epsilon")]
    layer_norm_eps: f32,
    max_position_embeddings: usize,
    #[serde(default = "segments")]
    type_vocab_size: usize,
    vocab_size: usize,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

/// The file of a DistilBERT. `sinusoidal_pos_embds` only says how the positions were initialised: they are stored.
#[derive(Deserialize)]
struct DistilBertConfig {
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    #[serde(default = "gelu")]
    activation: String,
    max_position_embeddings: usize,
    vocab_size: usize,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn norm_epsilon() -> f32 {
    1e-12
}

fn segments() -> usize {
    2
}

/// Reads the fields of one file.
struct Reader<'a> {
    path: &'a Path,
}

impl Architecture {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// Where the file is missing, corrupt, inconsistent or of an architecture that is not supported.
    pub(in crate::encode) fn load(model_dir: &Path) -> Result<Architecture> {
        let path = model_dir.join("config.json");
        let text = fs_err::read(&path).map_err(Error::read(&path))?;
        let json: Value =
            serde_json::from_slice(&text).map_err(|source| Error::ConfigJson { path: path.clone(), source })?;
        let reader = Reader { path: &path };
        // The family first: another one lacks fields, and its name says more than the first field missing.
        match json["model_type"].as_str().unwrap_or("absent") {
            "bert" => reader.bert(&json),
            "distilbert" => reader.distilbert(&json),
            other => Err(reader.unsupported("model_type", other)),
        }
    }

    /// What stands before the names of tensors that were saved with a task's head.
    pub(in crate::encode) fn prefix(&self) -> &'static str {
        self.family.names().prefix
    }

    /// 32 hex digits that stand for all the fields.
    pub(in crate::encode) fn digest(&self) -> String {
        let json = serde_json::to_string(self).expect("a struct of strings and numbers serialises; this is a bug");
        short_digest(json.as_bytes())
    }
}

impl Reader<'_> {
    fn bert(&self, json: &Value) -> Result<Architecture> {
        let config: BertConfig = self.fields(json)?;
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(self.unsupported("position_embedding_type", kind));
        }
        if config.is_decoder {
            return Err(self.unsupported("is_decoder", "true"));
        }
        self.checked(&[
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
            ("vocab_size", config.vocab_size),
        ])?;
        Ok(Architecture {
            family: Family::Bert,
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: self.activation("hidden_act", &config.hidden_act)?,
            norm_epsilon: config.layer_norm_eps,
            positions: config.max_position_embeddings,
            segments: config.type_vocab_size,
            vocabulary: config.vocab_size,
        })
    }

    fn distilbert(&self, json: &Value) -> Result<Architecture> {
        let config: DistilBertConfig = self.fields(json)?;
        self.checked(&[
            ("dim", config.dim),
            ("n_heads", config.n_heads),
            ("n_layers", config.n_layers),
            ("hidden_dim", config.hidden_dim),
            ("max_position_embeddings", config.max_position_embeddings),
            ("vocab_size", config.vocab_size),
        ])?;
        Ok(Architecture {
            family: Family::DistilBert,
            hidden: config.dim,
            layers: config.n_layers,
            heads: config.n_heads,
            intermediate: config.hidden_dim,
            activation: self.activation("activation", &config.activation)?,
            // A constant in DistilBERT's code.
            norm_epsilon: norm_epsilon(),
            positions: config.max_position_embeddings,
            segments: 0,
            vocabulary: config.vocab_size,
        })
    }

    fn fields<'json, T: Deserialize<'json>>(&self, json: &'json Value) -> Result<T> {
        T::deserialize(json).map_err(|source| Error::ConfigJson { path: self.path.to_owned(), source })
    }

    /// Checks sizes by their names in the file, of which the first two are the hidden size and the heads.
    fn checked(&self, sizes: &[(&str, usize)]) -> Result<()> {
        let values = |reason: String| Error::ConfigValues { path: self.path.to_owned(), reason };
        if let Some((field, size)) = sizes.iter().find(|(_, size)| *size == 0 || *size > 1 << 24) {
            return Err(values(format!("{field} is {size}")));
        }
        let [(hidden, width), (heads, count), ..] = sizes else { return Ok(()) };
        match width % count {
            0 => Ok(()),
            _ => Err(values(format!("{hidden} {width} is not a multiple of {heads} {count}"))),
        }
    }

    fn activation(&self, field: &'static str, name: &str) -> Result<Activation> {
        match name {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            other => Err(self.unsupported(field, other)),
        }
    }

    fn unsupported(&self, field: &'static str, found: &str) -> Error {
        Error::Unsupported { path: self.path.to_owned(), field, found: found.to_owned(), supported: SUPPORTED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 32, "vocab_size": 50}"#;
    const TINY_DISTILBERT: &str = r#"{"model_type": "distilbert", "dim": 8, "n_layers": 2, "n_heads": 2,
        "hidden_dim": 16, "activation": "relu", "sinusoidal_pos_embds": true, "max_position_embeddings": 32,
        "vocab_size": 50}"#;

    fn load(json: &str) -> Result<Architecture> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        Architecture::load(folder.path())
    }

    #[test]
    fn absent_fields_have_berts_defaults_and_irrelevant_ones_do_not_count() {
        let tiny = load(TINY).unwrap();
        assert_eq!((tiny.activation, tiny.segments, tiny.norm_epsilon), (Activation::Gelu, 2, 1e-12));
        let dropout = load(&TINY.replace("\"vocab_size\"", "\"hidden_dropout_prob\": 0.3, \"vocab_size\"")).unwrap();
        assert_eq!(dropout.digest(), tiny.digest());
        assert_ne!(
            load(&TINY.replace("\"num_attention_heads\": 2", "\"num_attention_heads\": 4")).unwrap().digest(),
            tiny.digest()
        );
    }

    #[test]
    fn the_digest_of_a_bert_is_the_one_that_datasets_were_made_with() {
        assert_eq!(load(TINY).unwrap().digest(), "8382bee2095c5b615c034b221ac0cc13");
    }

    #[test]
    fn distilberts_fields_have_their_own_names() {
        let distilbert = load(TINY_DISTILBERT).unwrap();
        let as_bert = Architecture { family: Family::Bert, activation: Activation::Gelu, segments: 2, ..distilbert };
        assert_eq!(as_bert, load(TINY).unwrap());
        let message = load(&TINY_DISTILBERT.replace("\"dim\": 8", "\"dim\": 9")).unwrap_err().to_string();
        assert!(message.contains("dim 9 is not a multiple of n_heads 2"), "{message}");
    }

    #[test]
    fn another_family_is_refused_by_name_with_what_is_supported() {
        let message = load(r#"{"model_type": "roberta", "hidden_size": 768}"#).unwrap_err().to_string();
        assert!(message.contains("model_type = `roberta`") && message.contains(SUPPORTED), "{message}");
        for supported in ["`bert`", "`distilbert`", "`model.onnx`"] {
            assert!(message.contains(supported), "{message}");
        }
        let act = load(&TINY.replace("\"vocab_size\"", "\"hidden_act\": \"swish\", \"vocab_size\"")).unwrap_err();
        assert!(act.to_string().contains("hidden_act = `swish`"));
        let relative = TINY.replace("\"vocab_size\"", "\"position_embedding_type\": \"relative_key\", \"vocab_size\"");
        assert!(load(&relative).unwrap_err().to_string().contains("relative_key"));
    }

    #[test]
    fn a_corrupt_or_inconsistent_file_is_named() {
        for broken in [
            "{\"model_type\": \"be",
            "{\"model_type\": \"bert\"}",
            "{\"model_type\": \"distilbert\"}",
            &TINY.replace("\"hidden_size\": 8", "\"hidden_size\": 9"),
        ] {
            let error = load(broken).unwrap_err();
            assert!(error.to_string().contains("config.json"), "{error}");
            assert!(!error.is_usage());
        }
    }
}
