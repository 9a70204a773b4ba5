//! The command `export`: a head and its encoder as one ONNX file, and the tokenizer that goes before it.
//!
//! For programs that have ONNX Runtime and no bertline. What the file computes is what `predict` computes, its
//! temperature included; what a text must go through first is in the tokenizer's file, truncation and padding too.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::Serialize;

use super::score::target_of;
use super::{Error, ExportOptions, Result};
use crate::encode::{self, Precision};
use crate::files::write_shared;
use crate::head::{self, Bundle};
use crate::ingest::Clean;
use crate::onnx::ModelProto;
use crate::telemetry::Terminal;
use crate::tokenize;

/// The name of the tokenizer's file, beside the model's.
const TOKENIZER: &str = "tokenizer.json";
/// What protobuf can hold.
const MOST_BYTES: usize = i32::MAX as usize;

/// What was written.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// The ONNX file.
    pub model: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// The classes in the order of the outputs.
    pub labels: Vec<String>,
    /// The tokens of a text that are read.
    pub max_length: u32,
}

/// Writes both files.
pub fn export(options: &ExportOptions, terminal: Terminal) -> Result<Exported> {
    let (bundle, head) = Bundle::load(&options.head)?;
    let target = target_of(&bundle, &options.head, options.model.as_deref(), terminal)?;
    let (folder, tokenizer) = places(options)?;
    let identity = &bundle.encoder.identity;
    let (json, max_length) = (tokenize::exported(&target.model.dir, identity.window()?)?, identity.max_length);
    let mut model = encode::exported(&target.model.dir, identity, bundle.encoder.calibration.as_ref())?;
    head::put_behind(&mut model, &head, &bundle.labels);
    let model = described(model, &bundle);
    let bytes = model.encoded_len();
    if bytes > MOST_BYTES {
        return Err(Error::TooLargeForOnnx { model: bundle.encoder.model, bytes });
    }
    // The model last: where it stands, its tokenizer does too.
    write(&folder, &tokenizer, json.as_bytes())?;
    write(&folder, &options.out, &model.encode_to_vec())?;
    warn(&bundle, terminal)?;
    Ok(Exported { model: options.out.clone(), bytes, tokenizer, labels: bundle.labels, max_length })
}

/// The folder of both files, and the tokenizer's path; neither file may be there, unless it is to be replaced.
fn places(options: &ExportOptions) -> Result<(PathBuf, PathBuf)> {
    let folder = options.out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tokenizer = options.out.with_file_name(TOKENIZER);
    if options.out.is_dir() {
        return Err(Error::ExportToFolder { out: options.out.clone() });
    }
    let there = [&options.out, &tokenizer].into_iter().find(|path| path.exists());
    match there.filter(|_| !options.overwrite) {
        Some(path) => Err(Error::ExportExists { path: path.clone() }),
        None => Ok((folder.to_owned(), tokenizer)),
    }
}

/// The model with what a program must know to use it, as metadata.
fn described(model: ModelProto, bundle: &Bundle) -> ModelProto {
    let identity = &bundle.encoder.identity;
    [
        ("max_length", identity.max_length.to_string()),
        ("truncation", identity.truncation.clone()),
        ("clean", identity.clean.clone()),
        ("pooling", identity.pooling.clone()),
        ("layers", identity.layers.clone()),
        ("encoder", bundle.encoder.model.clone()),
        ("encoder_id", identity.id()),
        ("head_digest", bundle.head_digest.clone()),
        ("temperature", bundle.temperature.to_string()),
    ]
    .into_iter()
    .fold(model, |model, (key, value)| model.with_metadata(key, value))
}

/// Says where another program may find other probabilities.
fn warn(bundle: &Bundle, terminal: Terminal) -> Result<()> {
    let trained = &bundle.encoder;
    if trained.identity.clean.parse::<Clean>()? != Clean::None {
        let clean = &trained.identity.clean;
        terminal.warn(&format!("the head was trained on texts with --clean {clean}: clean yours likewise"));
    }
    if trained.numerics.precision != Precision::Fp32 {
        let kept = if trained.calibration.is_some() { "its 8-bit products" } else { "fp32" };
        terminal.warn(&format!(
            "the head was trained on {} vectors, and the file computes in {kept}: probabilities may differ a little",
            trained.numerics
        ));
    }
    Ok(())
}

/// Puts a file in place whole or not at all.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let written = fs_err::create_dir_all(folder).and_then(|()| write_shared(path, bytes));
    written.map_err(|source| Error::WriteExport { path: path.to_owned(), source })
}
