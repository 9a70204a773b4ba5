//! The stage `export`: a head and its encoder as one ONNX file, and the tokenizer that goes before it.
//!
//! For programs that have ONNX Runtime and no bertline. What the file computes is what `predict` computes, its
//! temperature included; what a text must go through first is in the tokenizer's file, truncation and padding too.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::Serialize;

use super::Outcome;
use super::explain::{Existing, Explained};
use crate::encode::{self, Precision};
use crate::files::write_shared;
use crate::head::{self, Bundle, Head};
use crate::ingest::Clean;
use crate::onnx::ModelProto;
use crate::pipeline::encoder::{Target, target_of};
use crate::pipeline::{Error, ExportOptions, Result};
use crate::telemetry::Terminal;
use crate::tokenize;

/// The name of the tokenizer's file, beside the model's.
const TOKENIZER: &str = "tokenizer.json";
/// What protobuf can hold.
const MOST_BYTES: usize = i32::MAX as usize;

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
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

/// A head to export, and the encoder before it.
pub(crate) struct ExportPlan {
    options: ExportOptions,
    bundle: Bundle,
    head: Head,
    target: Target,
    /// The tokenizer's file, beside the model's.
    tokenizer: PathBuf,
}

/// Plans the stage.
pub(super) fn plan(options: &ExportOptions, terminal: Terminal) -> Result<ExportPlan> {
    let (bundle, head) = Bundle::load(&options.head)?;
    let target = target_of(&bundle, &options.head, options.model.as_deref(), terminal)?;
    if options.out.is_dir() {
        return Err(Error::ExportToFolder { out: options.out.clone() });
    }
    let tokenizer = options.out.with_file_name(TOKENIZER);
    Ok(ExportPlan { options: options.clone(), bundle, head, target, tokenizer })
}

impl ExportPlan {
    pub(super) fn explain(&self) -> Result<Explained> {
        let ExportOptions { head, out, .. } = &self.options;
        let (head, model) = (head.display(), &self.bundle.encoder.model);
        let plan = format!("{model} and head {head} -> {}, {}", out.display(), self.tokenizer.display());
        let done = self.files()?.are_there();
        let existing = Existing::of_files(done, !done && self.there().is_some());
        Ok(Explained::at_once("export", plan, 0, &existing))
    }

    /// A file that is there already.
    fn there(&self) -> Option<&PathBuf> {
        [&self.options.out, &self.tokenizer].into_iter().find(|path| path.exists())
    }

    /// What both files are to hold.
    fn files(&self) -> Result<Files<'_>> {
        let bundle = &self.bundle;
        let identity = &bundle.encoder.identity;
        let dir = &self.target.model.dir;
        let json = tokenize::exported(dir, identity.window())?;
        let mut model = encode::exported(dir, identity, bundle.encoder.calibration.as_ref())?;
        head::put_behind(&mut model, &self.head, &bundle.labels);
        let model = described(model, bundle);
        let bytes = model.encoded_len();
        if bytes > MOST_BYTES {
            return Err(Error::TooLargeForOnnx { model: bundle.encoder.model.clone(), bytes });
        }
        // The model last: where it stands, its tokenizer does too.
        Ok(Files([(&self.tokenizer, json.into_bytes()), (&self.options.out, model.encode_to_vec())]))
    }

    /// Writes both files.
    pub(super) fn run(self, terminal: Terminal) -> Result<Outcome> {
        let files = self.files()?;
        if files.are_there() {
            let out = self.options.out.display();
            terminal.say(&format!("export: `{out}` is there already and is what would be written; nothing to do"));
        } else if let Some(path) = self.there().filter(|_| !self.options.overwrite) {
            return Err(Error::ExportExists { path: path.clone() });
        } else {
            files.0.iter().try_for_each(|(path, bytes)| write(path, bytes))?;
        }
        let bytes = files.0[1].1.len();
        warn(&self.bundle, terminal)?;
        let max_length = self.bundle.encoder.identity.max_length;
        let Bundle { labels, .. } = self.bundle;
        let (model, tokenizer) = (self.options.out, self.tokenizer);
        Ok(Outcome::Exported(Exported { model, bytes, tokenizer, labels, max_length }))
    }
}

/// The tokenizer's file and the model's, with what they are to hold.
struct Files<'a>([(&'a PathBuf, Vec<u8>); 2]);

impl Files<'_> {
    fn are_there(&self) -> bool {
        self.0.iter().all(|(path, bytes)| holds(path, bytes))
    }
}

/// Whether a file holds these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let same_size = fs_err::metadata(path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
    same_size && fs_err::read(path).is_ok_and(|found| found == bytes)
}

/// The model with what a program must know to use it, as metadata.
fn described(model: ModelProto, bundle: &Bundle) -> ModelProto {
    let identity = &bundle.encoder.identity;
    [
        ("max_length", identity.max_length.to_string()),
        ("truncation", identity.truncation.to_string()),
        ("clean", identity.clean.to_string()),
        ("pooling", identity.pooling.to_string()),
        ("layers", identity.layers.to_string()),
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
    let clean = trained.identity.clean;
    if clean != Clean::None {
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
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = fs_err::create_dir_all(folder).and_then(|()| write_shared(path, bytes));
    written.map_err(|source| Error::WriteExport { path: path.to_owned(), source })
}
