//! The inputs of a stage: found, looked into, and handed to the engine as a stream of units.
//!
//! Parquet files are cut into row ranges that the engine scans; everything else is parsed on a thread of its own and
//! arrives as record batches, through a bounded channel. Both ways the cuts depend on the input alone.

mod columns;
mod kept;
pub(crate) mod sample;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::datatypes::Field;
use futures::{Stream, StreamExt, stream};
use hashbrown::HashMap;
use tokio::sync::mpsc;

use self::kept::Keep;
use crate::cache::Manifest;
use crate::engine::{self, ScanColumns, UnitInput, UnitOpener, UnitRows, UnitSpec, WorkUnit, plan_units};
use crate::files::{self, FileState};
pub(crate) use crate::ingest::UNIT_BYTES;
use crate::ingest::{self, Columns, Decoded, Digests, Discovery, Format, IngestUnit, Reading, Source, UnitReader};
use crate::pipeline::{ReadOptions, Result};
use crate::report::{Input, InputReport, InputRun, OUTPUT_FORMAT, SkippedFiles, Snapshot, TypedReading};
use crate::schema::Dataset;
use crate::telemetry::Terminal;

/// Files that are named one by one before the rest is only counted.
const SHOWN: usize = 5;
/// Files that were passed over and are named in `run.json`.
const LISTED: usize = 100;
/// Units that are parsed ahead of the engine.
const UNITS_AHEAD: usize = 1;

/// What a stage does with the labels of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    /// Taken from the named column, else found by the usual names.
    Found,
    /// Taken only where a column is named.
    OnDemand,
}

/// The inputs of a stage, found and looked into.
pub(crate) struct Inputs {
    /// For each path that is looked into, the argument that it stands for.
    origins: Vec<usize>,
    reading: Reading,
    discovery: Discovery,
    /// The columns of each source, where it has any.
    columns: Vec<Option<Columns>>,
    kept: Vec<Field>,
    /// What each file was when it was found.
    states: Vec<FileState>,
    /// Where each name is among the sources.
    places: HashMap<String, usize>,
    /// What is known of the files, so that none is hashed twice.
    digests: Digests,
    /// The digest of each source that was read, by its name.
    source_digests: Mutex<HashMap<String, String>>,
    decoded: Mutex<Vec<Decoded>>,
}

impl Inputs {
    /// Finds the inputs; `keep` are the columns to carry along, `unit_bytes` the text of a unit.
    pub(crate) fn find(read: &ReadOptions, keep: &str, labels: Labels, unit_bytes: u64) -> Result<Inputs> {
        let find_label = labels == Labels::Found;
        let mut reading = Reading { options: read.clone(), find_label, keep: Vec::new(), unit_bytes };
        let (origins, paths): (Vec<usize>, Vec<String>) = expand(&read.inputs)?.into_iter().unzip();
        let discovery = ingest::discover(&paths, &reading)?;
        // Looked at even where nothing is kept: a wrong column name must show before an output folder is touched.
        let columns = discovery.sources().map(|source| columns::of(source, &reading)).collect::<Result<Vec<_>>>()?;
        let kept = kept::settle(&discovery, &columns, &keep_columns(keep, labels))?;
        let columns = columns.into_iter().map(|found| found.map(|found| found.columns)).collect();
        reading.keep = kept.iter().map(|field| field.name().clone()).collect();
        let states = discovery.sources().map(state_of).collect::<Result<Vec<_>>>()?;
        let places = discovery.sources().enumerate().map(|(place, source)| (source.name().to_owned(), place)).collect();
        let (digests, source_digests, decoded) = (Digests::default(), Mutex::default(), Mutex::default());
        Ok(Inputs { origins, reading, discovery, columns, kept, states, places, digests, source_digests, decoded })
    }

    /// What of them determines an output.
    pub(crate) fn run(&self) -> InputRun {
        // Names alone would let the types of kept columns change from one part to the next.
        let keep_types = self.kept.iter().map(|field| field.data_type().to_string()).collect();
        let reading = TypedReading { reading: self.reading.clone(), keep_types };
        let inputs = self.reading.options.inputs.clone();
        InputRun { format: OUTPUT_FORMAT, inputs, snapshot: self.snapshot(), reading }
    }

    /// What the files are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut hasher = blake3::Hasher::new();
        for (source, state) in self.discovery.sources().zip(&self.states) {
            hasher.update(source.name().as_bytes()).update(&[0]);
            state.hash_into(&mut hasher);
        }
        let state = hasher.finalize().to_hex()[..16].to_owned();
        Snapshot { files: self.discovery.found.len(), bytes: self.bytes(), state }
    }

    /// Refuses inputs that changed since they were found, or are gone.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        (0..self.states.len()).try_for_each(|place| Ok(self.check_one(place)?))
    }

    /// The same for the sources of a unit: its rows may be of two minds, and must not count under what they were to be.
    pub(crate) fn check(&self, unit: &UnitSpec) -> engine::Result<()> {
        unit.sources().filter_map(|name| self.places.get(name)).try_for_each(|place| self.check_one(*place))
    }

    fn check_one(&self, place: usize) -> engine::Result<()> {
        let source = &self.discovery.found[place].source;
        match state_of(source) {
            Ok(state) if state == self.states[place] => Ok(()),
            _ => Err(engine::Error::InputChanged { name: source.name().to_owned() }),
        }
    }

    /// The files, which an output folder must not hold.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.discovery.sources().map(|source| source.location.path.clone()).collect()
    }

    /// The arguments, for messages.
    pub(crate) fn names(&self) -> String {
        self.reading.options.inputs.join(", ")
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.discovery.sources().map(|source| source.location.bytes).sum()
    }

    /// Says what was found: formats, columns, what was passed over.
    pub(crate) fn describe(&self, terminal: Terminal) {
        let mut groups: Vec<(String, u64)> = Vec::new();
        for (source, columns) in self.discovery.sources().zip(&self.columns) {
            let columns = match source.format {
                Format::Text => "one review a file".to_owned(),
                Format::Lines => "one review a line".to_owned(),
                _ => columns.as_ref().map_or_else(|| "no content".to_owned(), describe),
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
        let noted = self.discovery.found.iter().filter_map(|found| Some((found.source.name(), found.note.as_ref()?)));
        for (name, note) in noted.take(SHOWN) {
            terminal.say(&format!("input: `{name}`: {note}"));
        }
        for skipped in self.discovery.skipped.iter().take(SHOWN) {
            terminal.say(&format!("skipped: `{}` ({})", skipped.name, skipped.reason));
        }
        if self.discovery.skipped.len() > SHOWN {
            let more = self.discovery.skipped.len() - SHOWN;
            terminal.say(&format!("skipped: {more} more files; `run.json` counts them by reason"));
        }
    }

    fn plan_parquet(
        &self,
        place: usize,
        opener: &mut UnitOpener,
        limit: u64,
        first: u64,
    ) -> engine::Result<Vec<UnitSpec>> {
        let source = &self.discovery.found[place].source;
        let Some(columns) = self.columns[place].clone() else { return Ok(Vec::new()) };
        // Its columns were settled when it was found.
        self.check_one(place)?;
        let (text, label, keep) = (columns.text, columns.label, self.kept.clone());
        let scan = ScanColumns { text, label, keep, clean: self.reading.options.clean };
        let parquet = opener.parquet(&source.location.path, source.name(), &scan)?;
        self.remember(source.name(), &parquet.digest);
        Ok(plan_units(parquet, self.reading.unit_bytes, limit, first))
    }

    /// Opens units of these inputs again.
    pub(crate) fn opener(&self) -> UnitOpener {
        UnitOpener::new(self.digests.clone())
    }

    /// A stream of every unit, in order: what is parsed first, then the Parquet files.
    pub(crate) fn units(self: &Arc<Self>) -> impl Stream<Item = engine::Result<WorkUnit>> + use<> {
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
        let mut reader = UnitReader::new(self.discovery.sources(), &self.reading, self.digests.clone());
        loop {
            let reading = Instant::now();
            let Some(unit) = reader.next().transpose()? else { break };
            let read_seconds = reading.elapsed().as_secs_f64();
            let bytes_before = std::mem::replace(&mut bytes, reader.bytes_read());
            let IngestUnit { id, rows: parsed, rows_in, reviews, rejects, .. } = unit;
            rows += rows_in;
            let held_bytes = reviews.get_array_memory_size() as u64;
            let bytes = bytes - bytes_before;
            let spec = UnitSpec { id, ordinal, rows_in, bytes, held_bytes, rows: UnitRows::Parsed(parsed) };
            let work = WorkUnit { spec, read_seconds, input: UnitInput::Parsed { reviews, rejects } };
            ordinal += 1;
            if sender.blocking_send(Ok(work)).is_err() {
                return Ok(());
            }
        }
        reader.digests().iter().for_each(|found| self.remember(&found.name, &found.digest));
        if let Ok(mut decoded) = self.decoded.lock() {
            *decoded = reader.decoded().to_vec();
        }
        let mut opener = self.opener();
        for (place, _) in self.discovery.sources().enumerate().filter(|(_, source)| source.format == Format::Parquet) {
            let left = self.reading.options.limit.unwrap_or(u64::MAX).saturating_sub(rows);
            if left == 0 {
                break;
            }
            for spec in self.plan_parquet(place, &mut opener, left, ordinal)? {
                rows += spec.rows_in;
                ordinal += 1;
                if sender.blocking_send(Ok(opener.open(spec)?)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn remember(&self, name: &str, digest: &str) {
        if let Ok(mut digests) = self.source_digests.lock() {
            digests.insert(name.to_owned(), digest.to_owned());
        }
    }

    /// Says which encodings the files that were read turned out to be in, other than UTF-8.
    pub(crate) fn describe_encodings(&self, terminal: Terminal) {
        let decoded = self.decoded.lock().map(|decoded| decoded.clone()).unwrap_or_default();
        for Decoded { encoding, files, first } in decoded {
            let files = if files == 1 { "1 file was".to_owned() } else { format!("{files} files were") };
            terminal.say(&format!("input: {files} read in {encoding} (first `{first}`); --encoding corrects that"));
        }
    }

    /// What was read in other encodings and what was not read at all, for `run.json`.
    pub(crate) fn oddities(&self) -> InputReport {
        let encodings = self.decoded.lock().map(|decoded| decoded.clone()).unwrap_or_default();
        let skipped = &self.discovery.skipped;
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        skipped.iter().for_each(|skipped| *reasons.entry(skipped.reason.clone()).or_default() += 1);
        let first = skipped.iter().take(LISTED).cloned().collect();
        let skipped = (!skipped.is_empty()).then_some(SkippedFiles { files: skipped.len(), reasons, first });
        InputReport { encodings, skipped }
    }

    /// The input arguments with the digests of what was read, for `run.json`.
    pub(crate) fn report(&self) -> Vec<Input> {
        let digests = self.source_digests.lock().map(|digests| digests.clone()).unwrap_or_default();
        let report = |(index, path): (usize, &String)| {
            let found = self.discovery.found.iter().filter(|found| self.origins[found.input] == index);
            let sources: Vec<&Source> = found.map(|found| &found.source).collect();
            let mut hasher = blake3::Hasher::new();
            for source in &sources {
                hasher.update(source.name().as_bytes()).update(&[0]);
                hasher.update(digests.get(source.name()).map_or("", String::as_str).as_bytes());
            }
            let digest = match sources.as_slice() {
                [one] => digests.get(one.name()).cloned().unwrap_or_default(),
                _ => hasher.finalize().to_hex()[..32].to_owned(),
            };
            let bytes = sources.iter().map(|source| source.location.bytes).sum();
            Input { path: path.clone(), files: sources.len() as u64, bytes, digest }
        };
        self.reading.options.inputs.iter().enumerate().map(report).collect()
    }
}

fn state_of(source: &Source) -> Result<FileState> {
    Ok(files::state(&source.location.path).map_err(engine::Error::from)?)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn write(path: &Path, text: ArrayRef) {
        let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
        let mut writer = ArrowWriter::try_new(fs_err::File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn find(path: &Path) -> Result<Arc<Inputs>> {
        let read = ReadOptions { inputs: vec![path.to_str().unwrap().to_owned()], ..ReadOptions::default() };
        Inputs::find(&read, "none", Labels::Found, UNIT_BYTES).map(Arc::new)
    }

    #[test]
    fn a_failure_keeps_its_kind_on_its_way_to_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]));
        write(&path, Arc::new(StringArray::from(vec!["a"])));
        let inputs = find(&path).unwrap();
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let first = || threads.block_on(async { std::pin::pin!(inputs.units()).next().await.unwrap() });
        assert_eq!(first().unwrap().spec.rows_in, 1);
        // Where the column is no text from the start, the command line is at fault; where it is one no longer, the file is.
        write(&path, lists);
        assert!(find(&path).err().unwrap().is_usage());
        let error = first().unwrap_err();
        assert!(matches!(&error, engine::Error::InputChanged { name } if name.ends_with("a.parquet")), "{error:?}");
    }
}
