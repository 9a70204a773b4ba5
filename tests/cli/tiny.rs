//! A BERT of two layers of 128 with random weights, in a folder as Hugging Face writes it: an encoder that costs next to
//! nothing, so that everything around it is what is measured.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

const HIDDEN: usize = 128;
const INNER: usize = 512;
const LAYERS: usize = 2;
const POSITIONS: usize = 512;
const VOCABULARY: usize = 30_522;
const SPECIAL: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

/// Writes it to `folder`, with the tokenizer of the model in `model`.
pub(crate) fn tiny_bert(folder: &Path, model: &str) {
    fs_err::create_dir_all(folder).unwrap();
    fs_err::copy(Path::new(model).join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    write(folder, VOCABULARY);
}

/// The same with a tokenizer that knows the letters, so that nothing from outside is needed and a megabyte is all.
pub(crate) fn tiny_bert_of_letters(folder: &Path) {
    fs_err::create_dir_all(folder).unwrap();
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let tokens = SPECIAL.map(str::to_owned).into_iter().chain(letters);
    let vocabulary: Map<String, Value> = tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    let words = vocabulary.len();
    let special = |name: &str| {
        json!({"id": vocabulary[name], "content": name, "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false})
    };
    let added = SPECIAL.map(special);
    let piece = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let ids = |name: &str| json!({"id": name, "ids": [vocabulary[name]], "tokens": [name]});
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let [first, last] = ["[CLS]", "[SEP]"].map(piece);
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, sequence("A"), last],
            "pair": [first, sequence("A"), last, sequence("B"), last],
            "special_tokens": {"[CLS]": ids("[CLS]"), "[SEP]": ids("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    });
    fs_err::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    write(folder, words);
}

fn write(folder: &Path, vocabulary: usize) {
    let config = json!({
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
    });
    fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes(vocabulary)
        .into_iter()
        .map(|(name, shape)| (name.clone(), shape.clone(), values(&name, &shape)))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs_err::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn shapes(vocabulary: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut pair = |name: String, weight: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight));
    };
    pair("embeddings.LayerNorm".to_owned(), vec![HIDDEN]);
    for layer in 0..LAYERS {
        let prefix = format!("encoder.layer.{layer}");
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            pair(format!("{prefix}.{name}"), vec![HIDDEN, HIDDEN]);
        }
        pair(format!("{prefix}.attention.output.LayerNorm"), vec![HIDDEN]);
        pair(format!("{prefix}.intermediate.dense"), vec![INNER, HIDDEN]);
        pair(format!("{prefix}.output.dense"), vec![HIDDEN, INNER]);
        pair(format!("{prefix}.output.LayerNorm"), vec![HIDDEN]);
    }
    shapes
}

/// Small values that the name gives; layer norms scale by about 1.
fn values(name: &str, shape: &[usize]) -> Vec<u8> {
    let mut random = vec![0; shape.iter().product()];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut random);
    let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
    random.iter().flat_map(|byte| (centre + (f32::from(*byte) / 127.5 - 1.0) * 0.06).to_le_bytes()).collect()
}
