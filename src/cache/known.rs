//! The texts whose vectors are on disk already: of finished embed outputs (`--features`) and of a store (`--cache`).
//!
//! Only keys are in memory; vectors are read part by part when a unit asks for them. A part of the store that is no
//! longer what was sealed is passed over, its texts are encoded again; a part of somebody's features is an error, as
//! everywhere.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use hashbrown::{HashMap, HashSet};

use super::feature_set::check_identity;
use super::features_part::FeaturesPart;
use super::index::{Entry, Index};
use super::{Error, Key, Manifest, Result, Store};
use crate::schema::{self, Dataset};
use crate::telemetry::catch_panic;

/// Vectors that were found, in an order of their own.
#[derive(Debug, Default, PartialEq)]
pub struct Fetched {
    /// For each vector, which of the keys asked for it belongs to.
    pub asked: Vec<usize>,
    /// Row-major `[found, width]`.
    pub vectors: Vec<f32>,
    /// For each, tokens before truncation, and whether the text was cut.
    pub tokens: Vec<(u32, bool)>,
}

/// The cached texts that a run can draw on.
#[derive(Debug)]
pub struct Known {
    width: usize,
    index: Index,
    store: Option<Store>,
    inventory: Mutex<Inventory>,
}

/// What changes during a run.
#[derive(Debug)]
struct Inventory {
    parts: Vec<Arc<IndexedPart>>,
    /// Texts that this run has added to the store.
    added: HashMap<Key, Entry>,
    damaged: HashSet<PathBuf>,
}

#[derive(Debug)]
struct IndexedPart {
    part: FeaturesPart,
    /// The row of all rows at which it begins.
    first: u32,
    /// Whether a run can do without it.
    of_store: bool,
}

impl Known {
    /// Reads the keys of the features of `outputs` (folders with their manifests) and of a store; vectors must have
    /// `width` values.
    pub fn open(width: usize, outputs: &[(PathBuf, Manifest)], store: Option<Store>) -> Result<Known> {
        let mut reading = Reading { width, parts: Vec::new(), entries: Vec::new(), damaged: HashSet::new(), next: 0 };
        for (dir, manifest) in outputs {
            for part in manifest.parts(Dataset::Features.name()) {
                check_identity(dir, part, manifest)?;
                let path = dir.join(&part.path);
                let found = reading.part(&path, &part.digest, None)?;
                if found != part.rows {
                    return Err(Error::PartRows { path, found, expected: part.rows });
                }
            }
        }
        for part in store.iter().map(Store::parts).collect::<Result<Vec<_>>>()?.concat() {
            let made_by = store.as_ref().map(Store::made_by).unwrap_or_default();
            reading.part_of_store(part.path, &part.digest, &made_by);
        }
        let Reading { parts, entries, damaged, .. } = reading;
        let inventory = Mutex::new(Inventory { parts, added: HashMap::new(), damaged });
        Ok(Known { width, index: Index::of(entries), store, inventory })
    }

    /// Distinct texts that were there at the start.
    pub fn texts(&self) -> usize {
        self.index.len()
    }

    /// The store that new texts go to.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Parts of the store that were found damaged so far, in order of path.
    pub fn damaged(&self) -> Vec<PathBuf> {
        let mut damaged: Vec<PathBuf> = self.inventory().damaged.iter().cloned().collect();
        damaged.sort();
        damaged
    }

    /// The vectors of those of `keys` that are known. Reads files: not for a thread that must not block.
    pub fn fetch(&self, keys: &[Key]) -> Result<Fetched> {
        let (mut found, parts) = {
            let inventory = self.inventory();
            // What was added last comes first: the other may be of a part that is damaged.
            let entry = |key: &Key| inventory.added.get(key).or_else(|| self.index.get(key)).copied();
            let found = keys.iter().enumerate().filter_map(|(at, key)| Some((at, entry(key)?)));
            (found.collect::<Vec<(usize, Entry)>>(), inventory.parts.clone())
        };
        // In the order of the files, so that neighbours are one read.
        found.sort_unstable_by_key(|(_, entry)| entry.row);
        let part_of = |entry: &Entry| parts.partition_point(|indexed| indexed.first <= entry.row) - 1;
        let mut fetched = Fetched { vectors: Vec::with_capacity(found.len() * self.width), ..Fetched::default() };
        let mut rows = Vec::new();
        for group in found.chunk_by(|a, b| part_of(&a.1) == part_of(&b.1)) {
            let indexed = &parts[part_of(&group[0].1)];
            if !self.is_whole(indexed)? {
                continue;
            }
            rows.clear();
            rows.extend(group.iter().map(|(_, entry)| entry.row - indexed.first));
            indexed.part.fetch(&rows, &mut fetched.vectors)?;
            fetched.asked.extend(group.iter().map(|(at, _)| at));
            fetched.tokens.extend(group.iter().map(|(_, entry)| (entry.tokens.n_tokens(), entry.tokens.truncated())));
        }
        Ok(fetched)
    }

    fn is_whole(&self, indexed: &IndexedPart) -> Result<bool> {
        let whole = indexed.part.is_whole();
        match (whole, indexed.of_store) {
            (true, _) => {}
            (false, true) => drop(self.inventory().damaged.insert(indexed.part.path().to_owned())),
            (false, false) => return Err(Error::PartChanged { path: indexed.part.path().to_owned() }),
        }
        Ok(whole)
    }

    /// Adds texts to the store, if there is one: their keys, vectors (row-major) and tokens.
    pub fn add(&self, keys: &[Key], vectors: &[f32], tokens: &[(u32, bool)]) -> Result<()> {
        let Some(store) = self.store.as_ref().filter(|_| !keys.is_empty()) else { return Ok(()) };
        let sealed = store.add(&features(keys, vectors, tokens, self.width))?;
        let mut inventory = self.inventory();
        let first = inventory.parts.last().map_or(0, |last| last.end());
        let mut entries = Vec::new();
        let part = FeaturesPart::open(&sealed.path, &sealed.digest, first, &mut entries)?;
        inventory.parts.push(Arc::new(IndexedPart { part, first, of_store: true }));
        inventory.added.extend(entries.into_iter().map(|entry| (entry.key, entry)));
        Ok(())
    }

    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.inventory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexedPart {
    fn end(&self) -> u32 {
        // Of 2^32 rows (6 TB of vectors) on, the last part answers for nothing more; its texts are encoded again.
        u32::try_from(u64::from(self.first) + self.part.rows()).unwrap_or(u32::MAX)
    }
}

/// A [`Known`] whose parts are being opened.
struct Reading {
    width: usize,
    parts: Vec<Arc<IndexedPart>>,
    entries: Vec<Entry>,
    damaged: HashSet<PathBuf>,
    next: u32,
}

impl Reading {
    /// Returns the rows of a part; one of a store must have been made by its encoder.
    fn part(&mut self, path: &Path, digest: &str, made_by: Option<&[Option<String>; 2]>) -> Result<u64> {
        let known = self.entries.len();
        // Its bytes are not known to be right yet, and Parquet readers panic over some that are wrong.
        let open = || FeaturesPart::open(path, digest, self.next, &mut self.entries);
        let opened = catch_panic(open);
        let part = opened.unwrap_or_else(|_| Err(Error::PartChanged { path: path.to_owned() }))?;
        if let Some(expected) = made_by.filter(|expected| *expected != part.made_by()) {
            let text = |by: &[Option<String>; 2]| by.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            let (found, expected) = (text(part.made_by()), text(expected));
            return Err(Error::PartIdentity { path: path.to_owned(), found, expected });
        }
        let rows = part.rows();
        if rows == 0 {
            return Ok(0);
        }
        if part.width() != self.width {
            self.entries.truncate(known);
            return Err(Error::VectorWidth { path: path.to_owned(), found: part.width(), expected: self.width });
        }
        let indexed = IndexedPart { part, first: self.next, of_store: made_by.is_some() };
        self.next = indexed.end();
        self.parts.push(Arc::new(indexed));
        Ok(rows)
    }

    /// As [`Reading::part`]; a part that cannot be read is noted and passed over.
    fn part_of_store(&mut self, path: PathBuf, digest: &str, made_by: &[Option<String>; 2]) {
        let known = self.entries.len();
        if self.part(&path, digest, Some(made_by)).is_err() {
            self.entries.truncate(known);
            self.damaged.insert(path);
        }
    }
}

fn features(keys: &[Key], vectors: &[f32], tokens: &[(u32, bool)], width: usize) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(vectors.to_vec()));
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.0).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(FixedSizeBinaryArray::new(schema::KEY_BYTES, bytes.into(), None)),
        Arc::new(FixedSizeListArray::new(item, i32::try_from(width).unwrap_or(i32::MAX), values, None)),
        Arc::new(tokens.iter().map(|(n_tokens, _)| Some(*n_tokens)).collect::<UInt32Array>()),
        Arc::new(tokens.iter().map(|(_, truncated)| Some(*truncated)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema::features(width), columns)
        .expect("keys, vectors and tokens are of the same texts, else this is a bug")
}
