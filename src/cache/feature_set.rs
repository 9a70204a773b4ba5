//! Reads committed embeddings back: the training set of one or several `embed` outputs.
//!
//! Only parts that the manifest names are read, their identity is checked, and a row whose key is missing is an error,
//! never a row less.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use hashbrown::{HashMap, HashSet};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::embeddings::Embeddings;
use super::{Error, Key, Manifest, Part, RecordedRun, Result};
use crate::files::{Stored, digest};
use crate::schema::Dataset;

/// One input row of an embed output, with the index of its vector.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    /// The file that it came from.
    pub source_file: Arc<str>,
    /// Its ordinal there.
    pub row: u64,
    /// The label, if it has one.
    pub label: Option<String>,
    /// Index of its vector among [`FeatureSet::vectors`].
    pub vector: u32,
}

/// The embeddings and rows of one or several embed outputs.
#[derive(Debug)]
pub(crate) struct FeatureSet {
    /// A vector for each text.
    pub vectors: Embeddings,
    /// The key of each vector's text; outputs that hold the same text have one each.
    pub keys: Vec<Key>,
    /// The tokens of each vector's text before truncation, and whether it was cut.
    pub tokens: Vec<(u32, bool)>,
    /// Every input row, in the order of the outputs, their parts and rows.
    pub rows: Vec<Labelled>,
    /// The run that made them (of the first output).
    pub run: RecordedRun,
}

impl FeatureSet {
    /// The key of a row's text.
    pub(crate) fn key(&self, row: &Labelled) -> Key {
        self.keys[row.vector as usize]
    }
}

/// Loads the finished embed outputs `dirs`; all must be of one encoder id and numerics. Vectors that take more than
/// `most_bytes` stay on disk.
pub(crate) fn load_features(dirs: &[PathBuf], most_bytes: u64) -> Result<FeatureSet> {
    let mut outputs: Vec<(PathBuf, Manifest)> = Vec::new();
    for dir in dirs {
        let manifest = finished_embed(dir)?;
        if let Some((first, known)) = outputs.first() {
            check_same_encoder((first, &known.run), (dir, &manifest.run))?;
        }
        for part in manifest.parts(Dataset::Features.name()) {
            check_identity(dir, part, &manifest)?;
        }
        outputs.push((dir.clone(), manifest));
    }
    let mut set = FeatureSet {
        vectors: Embeddings::of(&outputs, most_bytes)?,
        keys: Vec::new(),
        tokens: Vec::new(),
        rows: Vec::new(),
        run: outputs.first().map(|(_, manifest)| manifest.run.clone()).unwrap_or_default(),
    };
    outputs.iter().try_for_each(|(dir, manifest)| load_one(dir, manifest, &mut set))?;
    Ok(set)
}

/// The keys that the committed features parts of `dir` hold.
pub(crate) fn committed_keys(dir: &Path, manifest: &Manifest) -> Result<HashSet<Key>> {
    let mut keys = HashSet::new();
    for part in manifest.parts(Dataset::Features.name()) {
        read_part(dir, part, &["key"], &mut |batch| {
            keys.extend(key_column(batch).iter().flatten().filter_map(Key::from_bytes));
            Ok(())
        })?;
    }
    Ok(keys)
}

/// The manifest of a finished embed output.
pub(crate) fn finished_embed(dir: &Path) -> Result<Manifest> {
    let not_output = |missing: &str| Error::NotOutput {
        dir: dir.to_owned(),
        wanted: "embed".to_owned(),
        missing: missing.to_owned(),
    };
    let manifest = Manifest::read(dir)?.ok_or_else(|| not_output("manifest.jsonl"))?;
    if manifest.run.command() != Some("embed") {
        return Err(not_output("features"));
    }
    if manifest.complete.is_none() {
        return Err(Error::Incomplete { dir: dir.to_owned() });
    }
    Ok(manifest)
}

/// Refuses two embed outputs (folder, run as resolved) whose vectors must not be used together.
pub(crate) fn check_same_encoder(a: (&Path, &RecordedRun), b: (&Path, &RecordedRun)) -> Result<()> {
    let differences = a.1.differences_of_vectors(b.1);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Mixed { a: a.0.to_owned(), b: b.0.to_owned(), differences: differences.join("; ") })
}

fn load_one(dir: &Path, manifest: &Manifest, set: &mut FeatureSet) -> Result<()> {
    let mut index: HashMap<Key, u32> = HashMap::new();
    for part in manifest.parts(Dataset::Features.name()) {
        read_part(dir, part, &["key", "n_tokens", "truncated"], &mut |batch| {
            append_texts(batch, &mut index, set);
            Ok(())
        })?;
    }
    for part in manifest.parts(Dataset::Rows.name()) {
        read_part(dir, part, &["source_file", "row", "key", "label"], &mut |batch| {
            append_rows(dir, part, batch, &index, &mut set.rows)
        })?;
    }
    Ok(())
}

fn append_texts(batch: &RecordBatch, index: &mut HashMap<Key, u32>, set: &mut FeatureSet) {
    let (n_tokens, truncated) = (batch["n_tokens"].as_primitive::<UInt32Type>(), batch["truncated"].as_boolean());
    for (row, key) in key_column(batch).iter().enumerate() {
        // A part is held against its contract, in which a key is never null.
        let key = key.and_then(Key::from_bytes).unwrap_or(Key([0; 16]));
        index.insert(key, set.keys.len() as u32);
        set.keys.push(key);
        set.tokens.push((n_tokens.value(row), truncated.value(row)));
    }
}

fn append_rows(
    dir: &Path,
    part: &Part,
    batch: &RecordBatch,
    index: &HashMap<Key, u32>,
    rows: &mut Vec<Labelled>,
) -> Result<()> {
    let (files, labels) = (batch["source_file"].as_string::<i32>(), batch["label"].as_string::<i32>());
    let numbers = batch["row"].as_primitive::<UInt64Type>();
    for (i, key) in key_column(batch).iter().enumerate() {
        let key = key.and_then(Key::from_bytes);
        let vector = key.and_then(|key| index.get(&key)).copied().ok_or_else(|| Error::MissingKey {
            path: dir.join(&part.path),
            key: key.map_or_else(String::new, |key| key.to_string()),
        })?;
        let source_file = match rows.last() {
            Some(last) if *last.source_file == *files.value(i) => Arc::clone(&last.source_file),
            _ => Arc::from(files.value(i)),
        };
        let label = labels.is_valid(i).then(|| labels.value(i).to_owned());
        rows.push(Labelled { source_file, row: numbers.value(i), label, vector });
    }
    Ok(())
}

fn key_column(batch: &RecordBatch) -> &FixedSizeBinaryArray {
    batch["key"].as_fixed_size_binary()
}

/// Reads `columns` of a part, batch by batch, after holding its schema and row count against what is promised.
pub(crate) fn read_part(
    dir: &Path,
    part: &Part,
    columns: &[&str],
    each: &mut dyn FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let path = dir.join(&part.path);
    if digest(&path).map_or(true, |found| found != part.digest) {
        return Err(Error::PartChanged { path });
    }
    let parquet = |source| Error::Parquet { path: path.clone(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(Stored::open(&path)?).map_err(parquet)?;
    let contract = Dataset::ALL.iter().find(|dataset| dataset.name() == part.dataset).map(|dataset| dataset.contract());
    if let Some(contract) = contract {
        contract.check(builder.schema(), &path.to_string_lossy())?;
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut found = 0;
    for batch in builder.with_projection(mask).with_batch_size(8192).build().map_err(parquet)? {
        let batch = batch.map_err(|error| parquet(error.into()))?;
        found += batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            each(&batch)?;
        }
    }
    if found != part.rows {
        return Err(Error::PartRows { path, found, expected: part.rows });
    }
    Ok(())
}

pub(super) fn check_identity(dir: &Path, part: &Part, manifest: &Manifest) -> Result<()> {
    let path = dir.join(&part.path);
    let builder = ParquetRecordBatchReaderBuilder::try_new(Stored::open(&path)?)
        .map_err(|source| Error::Parquet { path: path.clone(), source })?;
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let found = |key: &str| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
    for key in ["encoder_id", "numerics"] {
        let (found, said) = (found(&format!("bertline.{key}")), manifest.run.text(key).map(str::to_owned));
        if found != said {
            let text = |value: Option<String>| format!("{key} {}", value.unwrap_or_else(|| "unknown".to_owned()));
            return Err(Error::PartIdentity { path, found: text(found), expected: text(said) });
        }
    }
    Ok(())
}
