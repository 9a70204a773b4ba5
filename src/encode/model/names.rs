//! What each family calls its tensors.
//!
//! The one place where families differ below `config.json`: everything behind it knows the parts of an encoder, not
//! their names in a file.

use super::architecture::Family;

/// The names of a family's tensors, without `.weight` and `.bias`.
pub(in crate::encode) struct Names {
    /// What stands before every name where the file was saved from a model with a task's head.
    pub prefix: &'static str,
    pub words: &'static str,
    pub places: &'static str,
    /// The segment table, where there is one.
    pub segments: Option<&'static str>,
    pub embedding_norm: &'static str,
    /// What stands before a layer's number; the names below follow it.
    pub layers: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub output_norm: &'static str,
}

/// BERT's names, which are also those of the nodes of every family's graph.
pub(in crate::encode) const BERT: Names = Names {
    prefix: "bert.",
    words: "embeddings.word_embeddings",
    places: "embeddings.position_embeddings",
    segments: Some("embeddings.token_type_embeddings"),
    embedding_norm: "embeddings.LayerNorm",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    prefix: "distilbert.",
    segments: None,
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
    ..BERT
};

impl Family {
    /// What this family calls its tensors.
    pub(in crate::encode) fn names(self) -> &'static Names {
        match self {
            Self::Bert => &BERT,
            Self::DistilBert => &DISTILBERT,
        }
    }
}
