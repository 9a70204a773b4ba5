//! The inputs of a stage: found, looked into, and handed to the engine as a stream of units.
//!
//! Parquet files are cut into row ranges that the engine scans; everything else is parsed on a thread of its own and
//! arrives as record batches, through a bounded channel. Both ways the cuts depend on the input alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::datatypes::Field;
use futures::{Stream, StreamExt, stream};
use hashbrown::HashMap;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::kept::Keep;
use super::{Error, ReadOptions, Result, columns, kept};
use crate::cache::Manifest;
use crate::engine::{self, ParquetSource, ScanColumns, UnitInput, WorkUnit, plan_units};
use crate::files::{self, FileState};
use crate::ingest::{self, Decoded, Discovery, Format, Source, UnitReader};
use crate::report::Input;
use crate::schema::Dataset;
use crate::telemetry::Terminal;

/// Bytes of text of a unit where nobody says: some 20 seconds of encoding on a CPU, so little is lost when a run is
/// killed.
pub const UNIT_BYTES: u64 = 2 << 20;
/// Files that are named one by one before the rest is only counted.
const SHOWN: usize = 5;
/// Files that were passed over and are named in `run.json`.
const LISTED: usize = 100;
/// Units that are parsed ahead of the engine.
const UNITS_AHEAD: usize = 1;

/// What a stage does with the labels of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Taken from the named column, else found by the usual names.
    Found,
    /// Taken only where a column is named.
    OnDemand,
}

/// The inputs of a stage, found and looked into.
pub struct Inputs {
    given: Vec<String>,
    /// For each path that is looked into, the argument that it stands for.
    origins: Vec<usize>,
    options: ingest::ReadOptions,
    discovery: Discovery,
    kept: Vec<Field>,
    /// What each file was when it was found.
    states: Vec<FileState>,
    /// Where each name is among the sources.
    places: HashMap<String, usize>,
    digests: Arc<Mutex<HashMap<String, String>>>,
    decoded: Mutex<Vec<Decoded>>,
}

impl Inputs {
    /// Finds the inputs; `keep` are the columns to carry along, `unit_bytes` the text of a unit.
    pub fn find(read: &ReadOptions, keep: &str, labels: Labels, unit_bytes: u64) -> Result<Inputs> {
        let mut options = ingest::ReadOptions {
            text_column: read.text_column.clone(),
            label_column: read.label_column.clone(),
            find_label: labels == Labels::Found,
            format: read.format,
            header: !read.no_header,
            encoding: read.encoding,
            clean: read.clean,
            limit: read.limit,
            keep: Vec::new(),
            unit_bytes,
        };
        let (origins, paths): (Vec<usize>, Vec<String>) = expand(&read.inputs)?.into_iter().unzip();
        let discovery = ingest::discover(&paths, &options)?;
        let kept = kept::settle(&discovery, &options, &keep_columns(keep, labels))?;
        options.keep = kept.iter().map(|field| field.name().clone()).collect();
        let states = discovery.sources.iter().map(state_of).collect::<Result<Vec<_>>>()?;
        let places = discovery.sources.iter().enumerate().map(|(place, source)| (source.name.clone(), place)).collect();
        let (given, digests, decoded) = (read.inputs.clone(), Arc::default(), Mutex::default());
        Ok(Inputs { given, origins, options, discovery, kept, states, places, digests, decoded })
    }

    /// The inputs as they were given.
    pub fn given(&self) -> Value {
        json!(self.given)
    }

    /// What the files are now: where it is the same, so are their contents, and no digest is needed to know it.
    pub fn snapshot(&self) -> Value {
        let mut hasher = blake3::Hasher::new();
        for (source, state) in self.discovery.sources.iter().zip(&self.states) {
            hasher.update(source.name.as_bytes()).update(&[0]);
            state.hash_into(&mut hasher);
        }
        let state = hasher.finalize().to_hex()[..16].to_owned();
        json!({ "files": self.discovery.sources.len(), "bytes": self.bytes(), "state": state })
    }

    /// Refuses inputs that changed since they were found, or are gone.
    pub fn check_unchanged(&self) -> Result<()> {
        (0..self.states.len()).try_for_each(|place| Ok(self.check_one(place)?))
    }

    /// The same for the sources of a unit: its rows may be of two minds, and must not count under what they were to be.
    pub fn check(&self, sources: &[String]) -> engine::Result<()> {
        sources.iter().filter_map(|name| self.places.get(name)).try_for_each(|place| self.check_one(*place))
    }

    fn check_one(&self, place: usize) -> engine::Result<()> {
        let source = &self.discovery.sources[place];
        match state_of(source) {
            Ok(state) if state == self.states[place] => Ok(()),
            _ => Err(engine::Error::InputChanged { name: source.name.clone() }),
        }
    }

    /// How the inputs are read, as far as it determines the output.
    pub fn reading(&self) -> Value {
        let mut reading = json!(self.options);
        // Names alone would let the types of kept columns change from one part to the next.
        let types: Vec<String> = self.kept.iter().map(|field| field.data_type().to_string()).collect();
        reading["keep_types"] = json!(types);
        reading
    }

    /// The files, which an output folder must not hold.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.discovery.sources.iter().map(|source| source.path.clone()).collect()
    }

    /// The arguments, for messages.
    pub fn names(&self) -> String {
        self.given.join(", ")
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.discovery.sources.iter().map(|source| source.bytes).sum()
    }

    /// Says what was found: formats, columns, what was passed over.
    pub fn describe(&self, terminal: Terminal) -> Result<()> {
        let mut groups: Vec<(String, u64)> = Vec::new();
        for source in &self.discovery.sources {
            let columns = match source.format {
                Format::Text => "one review a file".to_owned(),
                Format::Lines => "one review a line".to_owned(),
                _ => columns::of(source, &self.options)?
                    .map_or_else(|| "no content".to_owned(), |columns| describe(&columns)),
            };
            let encoding = source.encoding().map_or_else(String::new, |name| format!(" in {name}"));
            let line = format!("{}{encoding}, {columns}", source.format);
            match groups.iter_mut().find(|(known, _)| *known == line) {
                Some((_, count)) => *count += 1,
                None => groups.push((line, 1)),
            }
        }
        for (line, count) in groups {
            terminal.say(&format!("input: {count} {} of {line}", if count == 1 { "file" } else { "files" }));
        }
        for source in self.discovery.sources.iter().filter(|source| source.note.is_some()).take(SHOWN) {
            terminal.say(&format!("input: `{}`: {}", source.name, source.note.as_deref().unwrap_or_default()));
        }
        for skipped in self.discovery.skipped.iter().take(SHOWN) {
            terminal.say(&format!("skipped: `{}` ({})", skipped.name, skipped.reason));
        }
        if self.discovery.skipped.len() > SHOWN {
            let more = self.discovery.skipped.len() - SHOWN;
            terminal.say(&format!("skipped: {more} more files; `run.json` counts them by reason"));
        }
        Ok(())
    }

    fn plan_parquet(&self, source: &Source, limit: u64, first: u64) -> Result<Vec<WorkUnit>> {
        let Some(columns) = columns::of(source, &self.options)? else { return Ok(Vec::new()) };
        let digest = ingest::content_digest(&source.path)?;
        self.remember(&source.name, &digest);
        let (text, label, keep) = (columns.text, columns.label, self.kept.clone());
        let scan = ScanColumns { text, label, keep, clean: self.options.clean };
        let parquet = ParquetSource::open(&source.path, &source.name, digest, scan)?;
        Ok(plan_units(&parquet, self.options.unit_bytes, limit, first))
    }

    /// A stream of every unit, in order: what is parsed first, then the Parquet files.
    pub fn units(self: &Arc<Self>) -> impl Stream<Item = engine::Result<WorkUnit>> + use<> {
        let (sender, mut receiver) = mpsc::channel(UNITS_AHEAD);
        let inputs = Arc::clone(self);
        let producer = tokio::task::spawn_blocking(move || {
            if let Err(error) = inputs.produce(&sender) {
                // Where the receiver is gone, the run has failed already and says why.
                sender.blocking_send(Err(error)).ok();
            }
        });
        let units = stream::poll_fn(move |context| receiver.poll_recv(context));
        // A producer that panicked has closed the channel too: the end of the units must not look like the end of the input.
        let end = stream::once(async move { producer.await.err().map(|_| Err(engine::Error::WorkerLost)) });
        units.chain(end.filter_map(std::future::ready))
    }

    fn produce(&self, sender: &mpsc::Sender<engine::Result<WorkUnit>>) -> engine::Result<()> {
        let (mut ordinal, mut rows, mut bytes) = (0, 0, 0);
        let mut reader = UnitReader::new(&self.discovery, &self.options);
        loop {
            let reading = Instant::now();
            let Some(unit) = reader.next().transpose()? else { break };
            let read_seconds = reading.elapsed().as_secs_f64();
            let bytes_before = std::mem::replace(&mut bytes, reader.bytes_read());
            let sources: Vec<String> = unit.spans.into_iter().map(|span| span.source).collect();
            let source = sources.first().cloned().unwrap_or_default();
            rows += unit.rows_in;
            let work = WorkUnit {
                id: unit.id,
                ordinal,
                source,
                sources,
                rows_in: unit.rows_in,
                bytes: bytes - bytes_before,
                held_bytes: unit.reviews.get_array_memory_size() as u64,
                read_seconds,
                input: UnitInput::Reviews(kept::named(&unit.reviews, &self.kept)),
                rejects: Some(unit.rejects),
            };
            ordinal += 1;
            if sender.blocking_send(Ok(work)).is_err() {
                return Ok(());
            }
        }
        reader.digests().iter().for_each(|found| self.remember(&found.name, &found.digest));
        if let Ok(mut decoded) = self.decoded.lock() {
            *decoded = reader.decoded().to_vec();
        }
        for source in self.discovery.sources.iter().filter(|source| source.format == Format::Parquet) {
            let left = self.options.limit.unwrap_or(u64::MAX).saturating_sub(rows);
            if left == 0 {
                break;
            }
            let units = self.plan_parquet(source, left, ordinal).map_err(into_engine)?;
            for unit in units {
                rows += unit.rows_in;
                ordinal += 1;
                if sender.blocking_send(Ok(unit)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn remember(&self, name: &str, digest: &str) {
        if let Ok(mut digests) = self.digests.lock() {
            digests.insert(name.to_owned(), digest.to_owned());
        }
    }

    /// Says which encodings the files that were read turned out to be in, other than UTF-8.
    pub fn describe_encodings(&self, terminal: Terminal) {
        let decoded = self.decoded.lock().map(|decoded| decoded.clone()).unwrap_or_default();
        for Decoded { encoding, files, first } in decoded {
            let files = if files == 1 { "1 file was".to_owned() } else { format!("{files} files were") };
            terminal.say(&format!("input: {files} read in {encoding} (first `{first}`); --encoding corrects that"));
        }
    }

    /// What was read in other encodings and what was not read at all, for `run.json`.
    pub fn oddities(&self) -> Map<String, Value> {
        let mut odd = Map::new();
        let decoded = self.decoded.lock().map(|decoded| decoded.clone()).unwrap_or_default();
        if !decoded.is_empty() {
            odd.insert("encodings".to_owned(), json!(decoded));
        }
        let skipped = &self.discovery.skipped;
        if !skipped.is_empty() {
            let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
            skipped.iter().for_each(|skipped| *reasons.entry(&skipped.reason).or_default() += 1);
            let first: Vec<Value> = skipped.iter().take(LISTED).map(|skipped| json!(skipped)).collect();
            odd.insert("skipped".to_owned(), json!({"files": skipped.len(), "reasons": reasons, "first": first}));
        }
        odd
    }

    /// The input arguments with the digests of what was read, for `run.json`.
    pub fn report(&self) -> Vec<Input> {
        let digests = self.digests.lock().map(|digests| digests.clone()).unwrap_or_default();
        let report = |(index, path): (usize, &String)| {
            let sources: Vec<&Source> =
                self.discovery.sources.iter().filter(|source| self.origins[source.input] == index).collect();
            let mut hasher = blake3::Hasher::new();
            for source in &sources {
                hasher.update(source.name.as_bytes()).update(&[0]);
                hasher.update(digests.get(&source.name).map_or("", String::as_str).as_bytes());
            }
            let digest = match sources.as_slice() {
                [one] => digests.get(&one.name).cloned().unwrap_or_default(),
                _ => hasher.finalize().to_hex()[..32].to_owned(),
            };
            let bytes = sources.iter().map(|source| source.bytes).sum();
            Input { path: path.clone(), files: sources.len() as u64, bytes, digest }
        };
        self.given.iter().enumerate().map(report).collect()
    }
}

fn state_of(source: &Source) -> Result<FileState> {
    Ok(files::state(&source.path).map_err(engine::Error::from)?)
}

/// The output folder of `bertline ingest` stands for the reviews that it committed.
fn expand(inputs: &[String]) -> Result<Vec<(usize, String)>> {
    let mut expanded = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let dir = Path::new(input);
        let manifest = if dir.is_dir() { Manifest::read(dir)? } else { None };
        let Some(manifest) = manifest else {
            expanded.push((index, input.clone()));
            continue;
        };
        let base = input.trim_end_matches('/');
        let before = expanded.len();
        expanded.extend(manifest.parts(Dataset::Reviews.name()).map(|part| (index, format!("{base}/{}", part.path))));
        if expanded.len() == before {
            let (wanted, missing) = ("ingest".to_owned(), "reviews".to_owned());
            return Err(crate::cache::Error::NotOutput { dir: dir.to_owned(), wanted, missing }.into());
        }
        if manifest.complete.is_none() {
            return Err(crate::cache::Error::Incomplete { dir: dir.to_owned() }.into());
        }
    }
    Ok(expanded)
}

fn describe(columns: &ingest::Columns) -> String {
    let label = columns.label.as_ref().map_or_else(|| "no label column".to_owned(), |label| format!("label `{label}`"));
    let header = if columns.header_absent { " (no header)" } else { "" };
    format!("text `{}`, {label}{header}", columns.text)
}

fn keep_columns(given: &str, labels: Labels) -> Keep {
    match given {
        "none" | "" => Keep::None,
        "all" if labels == Labels::OnDemand => Keep::Every,
        "all" => Keep::All,
        names => Keep::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
    }
}

fn into_engine(error: Error) -> engine::Error {
    match error {
        Error::Engine(error) => error,
        Error::Ingest(error) => engine::Error::Ingest(error),
        Error::Cache(error) => engine::Error::Cache(error),
        other => engine::Error::Io(std::io::Error::other(other)),
    }
}
