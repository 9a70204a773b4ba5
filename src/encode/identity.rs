//! Which encoder made a vector.
//!
//! Vectors of two encoders look alike and mean different things. The identity names everything that decides what a
//! vector means, and nothing that does not: file names, devices and precisions are not in it.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::digest::short_digest;
use super::model::Model;
use super::{Error, Layers, Pooling, Readout, Result};
use crate::ingest::Clean;
use crate::tokenize::{Tokenizer, Truncation, Window};

/// The version of this list of fields and of their meaning.
const FORMAT: u32 = 1;

/// Everything that decides what a text's vector means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderIdentity {
    /// The version of this list of fields.
    pub format: u32,
    /// SHA-256 (hex) of the file that holds the weights: `model.safetensors`, or a ready-made graph.
    pub weights: String,
    /// Digest of what is computed with them: of the fields of `config.json` that change it, or of a ready-made graph's
    /// output.
    pub architecture: String,
    /// Digest of the canonical tokenizer.
    pub tokenizer: String,
    /// Which token rows are taken.
    pub pooling: Pooling,
    /// Which layers are taken.
    pub layers: Layers,
    /// The most tokens of a text that are read, specials included.
    pub max_length: u32,
    /// What is kept of a longer text.
    pub truncation: Truncation,
    /// What is done to a text before it is tokenised.
    pub clean: Clean,
}

impl EncoderIdentity {
    /// 32 hex digits that stand for all the fields.
    pub fn id(&self) -> String {
        let json = serde_json::to_string(self).expect("a struct of names and numbers serialises; this is a bug");
        short_digest(json.as_bytes())
    }

    /// The tokens of a text that are read.
    pub fn window(&self) -> Window {
        Window { max_length: self.max_length as usize, truncation: self.truncation }
    }

    /// What of the hidden states is taken.
    pub fn readout(&self) -> Readout {
        Readout { pooling: self.pooling, layers: self.layers }
    }

    /// One line for each field that differs, such as `max_length: 250 here, 128 there`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let rows: [(&str, &dyn ToString, &dyn ToString); 9] = [
            ("format", &self.format, &other.format),
            ("weights", &self.weights, &other.weights),
            ("architecture", &self.architecture, &other.architecture),
            ("tokenizer", &self.tokenizer, &other.tokenizer),
            ("pooling", &self.pooling, &other.pooling),
            ("layers", &self.layers, &other.layers),
            ("max_length", &self.max_length, &other.max_length),
            ("truncation", &self.truncation, &other.truncation),
            ("clean", &self.clean, &other.clean),
        ];
        rows.into_iter()
            .map(|(field, here, there)| (field, here.to_string(), there.to_string()))
            .filter(|(_, here, there)| here != there)
            .map(|(field, here, there)| format!("{field}: {here} here, {there} there"))
            .collect()
    }
}

/// The identity of a model folder's encoder, read from its files without opening a session.
///
/// # Errors
/// Where a file is missing, corrupt or of an unsupported architecture, or `max_length` or the readout does not fit the
/// model.
pub(crate) fn identity_of(model_dir: &Path, window: Window, clean: Clean, readout: Readout) -> Result<EncoderIdentity> {
    let tokenizer = load_tokenizer(model_dir, window)?;
    assemble(model_dir, &Model::load(model_dir)?, &tokenizer, clean, readout)
}

/// The identity of parts that are loaded already.
pub(super) fn assemble(
    model_dir: &Path,
    model: &Model,
    tokenizer: &Tokenizer,
    clean: Clean,
    readout: Readout,
) -> Result<EncoderIdentity> {
    model.check_tokenizer(model_dir, tokenizer)?;
    model.check_readout(model_dir, readout)?;
    let window = tokenizer.window();
    Ok(EncoderIdentity {
        format: FORMAT,
        weights: sha256(&model.weights(model_dir))?,
        architecture: model.digest(),
        tokenizer: tokenizer.digest().to_owned(),
        pooling: readout.pooling,
        layers: readout.layers,
        max_length: window.max_length as u32,
        truncation: window.truncation,
        clean,
    })
}

/// 32 hex digits that stand for the weights and what is computed with them, whatever the texts.
pub(super) fn graph_digest(identity: &EncoderIdentity) -> String {
    short_digest(format!("{} {}", identity.weights, identity.architecture).as_bytes())
}

pub(super) fn load_tokenizer(model_dir: &Path, window: Window) -> Result<Tokenizer> {
    Tokenizer::load(model_dir, window).map_err(|source| Error::Tokenizer { model_dir: model_dir.to_owned(), source })
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = fs_err::File::open(path).map_err(Error::read(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::read(path))? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::encode) fn identity() -> EncoderIdentity {
        let text = |text: &str| text.to_owned();
        EncoderIdentity {
            format: 1,
            weights: text("w"),
            architecture: text("a"),
            tokenizer: text("t"),
            pooling: Pooling::Cls,
            layers: Layers::Last,
            max_length: 250,
            truncation: Truncation::Head,
            clean: Clean::None,
        }
    }

    #[test]
    fn the_id_is_stable_and_follows_every_field() {
        let identity = identity();
        assert_eq!(identity.id().len(), 32);
        assert_eq!(identity.id(), identity.clone().id());
        let other = EncoderIdentity { clean: Clean::Html, ..identity.clone() };
        assert_ne!(identity.id(), other.id());
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<EncoderIdentity>(&json).unwrap(), identity);
    }

    #[test]
    fn differences_name_field_and_both_values() {
        let here = identity();
        let there = EncoderIdentity { max_length: 128, clean: Clean::Html, ..identity() };
        assert_eq!(here.differences(&there), ["max_length: 250 here, 128 there", "clean: none here, html there"]);
        assert!(here.differences(&here).is_empty());
    }
}
