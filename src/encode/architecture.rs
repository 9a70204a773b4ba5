//! What `config.json` says about the model.
//!
//! Only the fields that change what is computed are kept, and every one of them is checked: an encoder of another
//! family runs through the same matrix products and gives plausible nonsense.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::short_digest;
use super::{Error, Result};
use crate::tokenize::Tokenizer;

/// The models that the graph builder knows, for messages.
pub(super) const SUPPORTED: &str =
    "BERT encoders (model_type `bert`, absolute positions, hidden_act `gelu` or `gelu_new` or `relu`)";

/// The function between the two products of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// GELU by the error function.
    Gelu,
    /// GELU by the tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// The fields of `config.json` that decide what the encoder computes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Architecture {
    pub family: &'static str,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub activation: Activation,
    pub norm_epsilon: f32,
    pub positions: usize,
    pub segments: usize,
    pub vocabulary: usize,
}

/// The file as Hugging Face writes it; what is absent has the default of `BertConfig`.
#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
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

fn gelu() -> String {
    "gelu".to_owned()
}

fn norm_epsilon() -> f32 {
    1e-12
}

fn segments() -> usize {
    2
}

impl Architecture {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// Where the file is missing, corrupt, inconsistent or of an architecture that is not supported.
    pub(super) fn load(model_dir: &Path) -> Result<Architecture> {
        let path = model_dir.join("config.json");
        let text = fs_err::read(&path).map_err(Error::read(&path))?;
        let json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|source| Error::ConfigJson { path: path.clone(), source })?;
        // The family first: another one lacks fields, and its name says more than the first field missing.
        let family = json["model_type"].as_str().unwrap_or("absent");
        if family != "bert" {
            return Err(Error::Unsupported { path, field: "model_type", found: family.to_owned() });
        }
        let config = Config::deserialize(&json).map_err(|source| Error::ConfigJson { path: path.clone(), source })?;
        debug_assert_eq!(config.model_type.as_deref(), Some(family));
        Self::check(&path, config)
    }

    fn check(path: &Path, config: Config) -> Result<Architecture> {
        let unsupported =
            |field, found: &str| Error::Unsupported { path: path.to_owned(), field, found: found.to_owned() };
        let activation = match config.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => return Err(unsupported("hidden_act", other)),
        };
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(unsupported("position_embedding_type", kind));
        }
        if config.is_decoder {
            return Err(unsupported("is_decoder", "true"));
        }
        let sizes = [
            ("hidden_size", config.hidden_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
            ("vocab_size", config.vocab_size),
        ];
        let values = |reason: String| Error::ConfigValues { path: path.to_owned(), reason };
        if let Some((field, size)) = sizes.into_iter().find(|(_, size)| *size == 0 || *size > 1 << 24) {
            return Err(values(format!("{field} is {size}")));
        }
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        if hidden % heads != 0 {
            return Err(values(format!("hidden_size {hidden} is not a multiple of num_attention_heads {heads}")));
        }
        Ok(Architecture {
            family: "bert",
            hidden,
            layers: config.num_hidden_layers,
            heads,
            intermediate: config.intermediate_size,
            activation,
            norm_epsilon: config.layer_norm_eps,
            positions: config.max_position_embeddings,
            segments: config.type_vocab_size,
            vocabulary: config.vocab_size,
        })
    }

    /// 32 hex digits that stand for all the fields.
    pub(super) fn digest(&self) -> String {
        let json = serde_json::to_string(self).expect("a struct of strings and numbers serialises; this is a bug");
        short_digest(json.as_bytes())
    }

    /// Refuses a tokenizer whose ids or lengths the embedding tables do not hold.
    pub(super) fn check_tokenizer(&self, model_dir: &Path, tokenizer: &Tokenizer) -> Result<()> {
        let (max_length, positions) = (tokenizer.max_length(), self.positions);
        if max_length > positions {
            return Err(Error::MaxLength { max_length, positions });
        }
        if tokenizer.vocabulary() > self.vocabulary {
            return Err(Error::Vocabulary {
                model_dir: model_dir.to_owned(),
                largest: tokenizer.vocabulary() - 1,
                vocabulary: self.vocabulary,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 32, "vocab_size": 50}"#;

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
    fn another_family_is_refused_by_name_with_what_is_supported() {
        let message = load(r#"{"model_type": "distilbert", "dim": 768}"#).unwrap_err().to_string();
        assert!(message.contains("model_type = `distilbert`") && message.contains(SUPPORTED), "{message}");
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
            &TINY.replace("\"hidden_size\": 8", "\"hidden_size\": 9"),
        ] {
            let error = load(broken).unwrap_err();
            assert!(error.to_string().contains("config.json"), "{error}");
            assert!(!error.is_usage());
        }
    }
}
