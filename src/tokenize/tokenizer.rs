//! The WordPiece tokenizer of a model folder.
//!
//! The fast path of `tokenizers` adds no special tokens and cuts nothing, so both happen here: a text keeps its first
//! tokens and its specials, and the count before the cut stays exact, because the share of truncated reviews is
//! something that users are told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineToken, PipelineTokenizer};

use super::bert_normalizer::Normal;
use super::{Error, Pool, Result, Tokenized, Window};

/// How many texts a thread takes at a time: enough to make the hand-over free, few enough to balance long reviews.
const TEXTS_PER_TASK: usize = 32;

/// A model's tokenizer with a maximum length; clones share everything.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// The file as it is; without its normalizer, where `normal` does that work.
    pipeline: PipelineTokenizer,
    normal: Option<Normal>,
    /// The file as it is, for the few texts that are not for `normal`: read when the first of them comes.
    whole: OnceLock<PipelineTokenizer>,
    json: String,
    window: Window,
    /// The special tokens in front of the text, [CLS].
    prefix: Vec<u32>,
    /// The special tokens behind the text, [SEP].
    suffix: Vec<u32>,
    pad: u32,
    vocabulary: usize,
    digest: String,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of a model folder; of a text `window` is kept.
    ///
    /// # Errors
    /// Where the file is missing, corrupt or no BERT tokenizer (each names the file), or `max_length` leaves no room.
    pub fn load(model_dir: &Path, window: impl Into<Window>) -> Result<Tokenizer> {
        let window = window.into();
        let path = model_dir.join("tokenizer.json");
        let mut json = read(&path)?;
        let (digest, text) = (digest(&json), json.to_string());
        let normal = Normal::of(&json);
        let build = |reason: String| Error::Build { path: path.clone(), reason };
        let pipeline = match normal {
            None => tokenizers::from_json(&text),
            Some(_) => {
                json["normalizer"] = Value::Null;
                tokenizers::from_json(&json.to_string())
            }
        };
        let pipeline = pipeline.map_err(|error| build(error.to_string()))?;
        let (prefix, suffix) = specials(&pipeline).map_err(build)?.ok_or(Error::NoSpecials { path: path.clone() })?;
        let specials = prefix.len() + suffix.len();
        let max_length = window.max_length;
        if max_length <= specials {
            return Err(Error::MaxLength { max_length, specials, least: specials + 1 });
        }
        let pad = pad_token(&json).map_or(prefix[0], |(_, id)| id);
        let (vocabulary, whole) = (vocabulary(&json), OnceLock::new());
        let inner = Inner { pipeline, normal, whole, json: text, window, prefix, suffix, pad, vocabulary, digest };
        Ok(Tokenizer { inner: Arc::new(inner) })
    }

    /// What is kept of a text.
    pub fn window(&self) -> Window {
        self.inner.window
    }

    /// BLAKE3 (hex) of the canonical tokenizer JSON: keys sorted, without the file's own truncation and padding, which
    /// are not used here.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// The id that fills a row of a micro-batch up to its width. The encoder masks it out.
    pub fn pad_id(&self) -> u32 {
        self.inner.pad
    }

    /// One more than the largest id that a text can give: the rows that an embedding table must have.
    pub fn vocabulary(&self) -> usize {
        self.inner.vocabulary
    }

    /// Tokenizes `texts` on the pool's threads; text `i` of the result is `texts[i]`.
    pub fn encode(&self, texts: &[&str], pool: &Pool) -> Tokenized {
        let parts: Vec<Tokenized> =
            pool.run(|| texts.par_chunks(TEXTS_PER_TASK).map(|part| self.encode_part(part)).collect());
        let mut all = Tokenized::default();
        for part in &parts {
            all.append(part);
        }
        all
    }

    fn encode_part(&self, texts: &[&str]) -> Tokenized {
        let Inner { pipeline, normal, window, prefix, suffix, .. } = &*self.inner;
        let room = window.max_length - prefix.len() - suffix.len();
        let first = window.truncation.first_of(room);
        let mut part = Tokenized::default();
        let (mut tokens, mut buffer) = (Vec::new(), Vec::new());
        for text in texts {
            tokens.clear();
            let (pipeline, text) = match normal {
                None => (pipeline, *text),
                Some(normal) => match normal.apply(text, &mut buffer) {
                    Some(normal) => (pipeline, normal),
                    None => (self.inner.whole(), *text),
                },
            };
            pipeline
                .encode_into(text, &options(false), &mut tokens)
                .expect("a tokenizer that passed the load-time checks takes any text up to 4 GiB; this is a bug");
            let (front, back) = match tokens.len() > room {
                true => (&tokens[..first], &tokens[tokens.len() - (room - first)..]),
                false => (&tokens[..], &[][..]),
            };
            let kept = front.iter().chain(back).map(|&token| u32::from(token));
            let count = tokens.len() + prefix.len() + suffix.len();
            part.push(prefix.iter().copied().chain(kept).chain(suffix.iter().copied()), count as u32);
        }
        part
    }
}

impl Inner {
    fn whole(&self) -> &PipelineTokenizer {
        self.whole.get_or_init(|| {
            tokenizers::from_json(&self.json)
                .expect("it could be read without its normalizer, whose settings were checked; this is a bug")
        })
    }
}

/// The special tokens before and behind a text.
type Frame = (Vec<u32>, Vec<u32>);

fn options(add_special_tokens: bool) -> EncodeOptions {
    EncodeOptions {
        add_special_tokens,
        encode_special_tokens: false,
        padding: Override::Off,
        truncation: Override::Off,
    }
}

/// The file in the current format, without the settings that are ours to make.
fn read(path: &Path) -> Result<Value> {
    let path = || PathBuf::from(path);
    let text = fs_err::read(path()).map_err(|source| Error::Read { path: path(), source })?;
    let mut json: Value = serde_json::from_slice(&text).map_err(|source| Error::Parse { path: path(), source })?;
    if !json.is_object() {
        return Err(Error::Build { path: path(), reason: "it is JSON, but not an object".to_owned() });
    }
    tokenizers::canonicalize_value(&mut json).map_err(|source| Error::Upgrade { path: path(), source })?;
    json["truncation"] = Value::Null;
    json["padding"] = Value::Null;
    Ok(json)
}

/// The ids that the post-processor puts before and behind a text, read off a text of one letter; `None` where it puts
/// none on either side.
fn specials(pipeline: &PipelineTokenizer) -> std::result::Result<Option<Frame>, String> {
    let encode = |special: bool| -> std::result::Result<Vec<u32>, String> {
        let mut tokens: Vec<PipelineToken> = Vec::new();
        pipeline.encode_into("a", &options(special), &mut tokens).map_err(|error| error.to_string())?;
        Ok(tokens.into_iter().map(u32::from).collect())
    };
    let (bare, wrapped) = (encode(false)?, encode(true)?);
    if bare.is_empty() {
        return Err("it gives no token for the text `a`".to_owned());
    }
    // A vocabulary without its unknown token fails on the first odd text; here it fails before any work is done.
    for unknown in ["\u{13080}".to_owned(), "a".repeat(10_000)] {
        let mut tokens = Vec::new();
        pipeline.encode_into(&unknown, &options(false), &mut tokens).map_err(|error| error.to_string())?;
    }
    let found = wrapped.windows(bare.len()).position(|window| window == bare);
    Ok(found
        .map(|start| (wrapped[..start].to_vec(), wrapped[start + bare.len()..].to_vec()))
        .filter(|(prefix, suffix)| !prefix.is_empty() && !suffix.is_empty()))
}

/// The token whose name says padding, and its id.
pub(super) fn pad_token(json: &Value) -> Option<(&'static str, u32)> {
    let added = || json["added_tokens"].as_array().into_iter().flatten();
    let id_of = |name: &str| added().find(|token| token["content"] == name).and_then(|token| token["id"].as_u64());
    let in_vocabulary = || Some(("[PAD]", json["model"]["vocab"]["[PAD]"].as_u64()?));
    let named = ["[PAD]", "<pad>"].into_iter().find_map(|name| Some((name, id_of(name)?)));
    let (name, id) = named.or_else(in_vocabulary)?;
    Some((name, u32::try_from(id).ok()?))
}

fn vocabulary(json: &Value) -> usize {
    let model = json["model"]["vocab"].as_object().into_iter().flat_map(|vocab| vocab.values());
    let added = json["added_tokens"].as_array().into_iter().flatten().map(|token| &token["id"]);
    model.chain(added).filter_map(Value::as_u64).max().map_or(0, |largest| largest as usize + 1)
}

/// The digest of a JSON value that does not depend on the order of keys, nor on a feature flag of serde_json.
fn digest(json: &Value) -> String {
    fn write(value: &Value, hasher: &mut blake3::Hasher) {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| key.as_str());
                hasher.update(b"{");
                for (key, value) in entries {
                    write(&Value::String(key.clone()), hasher);
                    hasher.update(b":");
                    write(value, hasher);
                    hasher.update(b",");
                }
                hasher.update(b"}");
            }
            Value::Array(values) => {
                hasher.update(b"[");
                for value in values {
                    write(value, hasher);
                    hasher.update(b",");
                }
                hasher.update(b"]");
            }
            leaf => {
                hasher.update(leaf.to_string().as_bytes());
            }
        }
    }
    let mut hasher = blake3::Hasher::new();
    write(json, &mut hasher);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
