//! Collects records into units of work.
//!
//! A unit is a row range of one source, or of several small ones in a row. Where it ends depends on its records alone:
//! on the bytes of text and the rows in it, because the vectors of very short texts weigh more than they do; and, so that
//! millions of rejects or wide kept columns cannot fill the memory, on the bytes it holds in all.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::SchemaRef;

use super::record::{Record, Reject, Review};
use super::source::Source;
use crate::ingest::{Error, Reading, Result};

/// What a row weighs beside its text when units are cut, so that units of very short texts stay small in rows too.
pub const ROW_BYTES: u64 = 64;
/// A unit that holds this many times the wanted text is cut whatever it holds.
const MAX_HELD_RATIO: u64 = 4;
/// Arrow's string offsets are 32 bits wide.
const MAX_HELD_BYTES: u64 = 1 << 30;

/// A row range of one source.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The source's name.
    pub source: String,
    /// The first record, from 0.
    pub first_row: u64,
    /// Records, rejected ones included.
    pub rows: u64,
}

/// A unit of work: some two MiB of text (or as `--unit-bytes` says) that is committed in one go.
#[derive(Clone, Debug)]
pub struct IngestUnit {
    /// 32 hexadecimal digits: BLAKE3 over the name, content digest, row range and label of each span.
    pub id: String,
    /// The row ranges in it, in the order of the rows.
    pub spans: Vec<Span>,
    /// Records read: the rows of the reviews and of the rejects.
    pub rows_in: u64,
    /// Bytes of text, after cleaning.
    pub text_bytes: u64,
    /// source_file, row, text, label, and the columns to keep.
    pub reviews: RecordBatch,
    /// source_file, row, byte_offset, reason, detail, raw_prefix.
    pub rejects: RecordBatch,
}

/// The unit that is being filled.
pub(super) struct UnitBuilder {
    reviews_schema: SchemaRef,
    rejects_schema: SchemaRef,
    reading: Reading,
    spans: Vec<(Span, Arc<str>, Option<String>)>,
    rows_in: u64,
    text_bytes: u64,
    held_bytes: u64,
    columns: ColumnBuilders,
}

#[derive(Default)]
struct ColumnBuilders {
    source_file: StringBuilder,
    row: UInt64Builder,
    text: StringBuilder,
    label: StringBuilder,
    kept: Vec<StringBuilder>,
    rejects: RejectBuilders,
}

#[derive(Default)]
struct RejectBuilders {
    source_file: StringBuilder,
    row: UInt64Builder,
    byte_offset: UInt64Builder,
    reason: StringBuilder,
    detail: StringBuilder,
    raw_prefix: BinaryBuilder,
}

/// Where a record comes from.
pub(super) struct RecordOrigin<'a> {
    pub source: &'a Source,
    pub digest: &'a Arc<str>,
    pub row: u64,
    /// The label of the source, where its records have none of their own.
    pub label: Option<&'a str>,
}

impl UnitBuilder {
    pub(super) fn new(reviews_schema: SchemaRef, rejects_schema: SchemaRef, reading: Reading) -> Self {
        let mut builder = Self {
            reviews_schema,
            rejects_schema,
            reading,
            spans: Vec::new(),
            rows_in: 0,
            text_bytes: 0,
            held_bytes: 0,
            columns: ColumnBuilders::default(),
        };
        builder.clear();
        builder
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows_in == 0
    }

    /// Whether the unit ends here.
    pub(super) fn is_full(&self) -> bool {
        let wanted = self.reading.unit_bytes.clamp(1, MAX_HELD_BYTES);
        self.text_bytes + self.rows_in * ROW_BYTES >= wanted
            || self.held_bytes >= (wanted * MAX_HELD_RATIO).min(MAX_HELD_BYTES)
    }

    /// Adds a record.
    pub(super) fn push(&mut self, origin: &RecordOrigin<'_>, record: Record) {
        self.extend_span(origin);
        self.rows_in += 1;
        self.held_bytes += ROW_BYTES + origin.source.name().len() as u64;
        match record.content {
            Ok(review) => self.push_review(origin, review),
            Err(reject) => self.push_reject(origin, record.byte_offset, reject),
        }
    }

    fn extend_span(&mut self, origin: &RecordOrigin<'_>) {
        match self.spans.last_mut() {
            Some((span, ..)) if span.source == origin.source.name() && span.first_row + span.rows == origin.row => {
                span.rows += 1
            }
            _ => {
                let span = Span { source: origin.source.name().to_owned(), first_row: origin.row, rows: 1 };
                self.spans.push((span, Arc::clone(origin.digest), origin.label.map(str::to_owned)));
            }
        }
    }

    fn push_review(&mut self, origin: &RecordOrigin<'_>, review: Review) {
        let text = review.text.map(|text| self.reading.options.clean.apply(text));
        let own_label = review.label.as_deref().map(str::trim).filter(|label| !label.is_empty());
        let label = own_label.or(origin.label);
        let bytes = |text: Option<&str>| text.map_or(0, str::len) as u64;
        self.text_bytes += bytes(text.as_deref());
        self.held_bytes += bytes(text.as_deref()) + bytes(label);
        self.columns.source_file.append_value(origin.source.name());
        self.columns.row.append_value(origin.row);
        self.columns.text.append_option(text);
        self.columns.label.append_option(label);
        let mut values = review.kept.into_iter();
        for column in &mut self.columns.kept {
            let value = values.next().flatten();
            self.held_bytes += bytes(value.as_deref());
            column.append_option(value);
        }
    }

    fn push_reject(&mut self, origin: &RecordOrigin<'_>, byte_offset: u64, reject: Reject) {
        self.held_bytes += (reject.detail.len() + reject.raw_prefix.len()) as u64;
        let columns = &mut self.columns.rejects;
        columns.source_file.append_value(origin.source.name());
        columns.row.append_value(origin.row);
        columns.byte_offset.append_value(byte_offset);
        columns.reason.append_value(reject.reason.name());
        columns.detail.append_value(reject.detail);
        columns.raw_prefix.append_value(reject.raw_prefix);
    }

    /// The unit so far, leaving an empty one.
    ///
    /// # Panics
    /// Where a record was lost or doubled: row conservation is what this room is for.
    pub(super) fn finish(&mut self) -> Result<IngestUnit> {
        let columns = std::mem::take(&mut self.columns);
        let batch = |schema: &SchemaRef, arrays| {
            RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|source| Error::Batch { source })
        };
        let ColumnBuilders { mut source_file, mut row, mut text, mut label, kept, mut rejects } = columns;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(source_file.finish()),
            Arc::new(row.finish()),
            Arc::new(text.finish()),
            Arc::new(label.finish()),
        ];
        arrays.extend(kept.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef));
        let reviews = batch(&self.reviews_schema, arrays)?;
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rejects.source_file.finish()),
            Arc::new(rejects.row.finish()),
            Arc::new(rejects.byte_offset.finish()),
            Arc::new(rejects.reason.finish()),
            Arc::new(rejects.detail.finish()),
            Arc::new(rejects.raw_prefix.finish()),
        ];
        let rejects = batch(&self.rejects_schema, arrays)?;
        let rows_out = (reviews.num_rows() + rejects.num_rows()) as u64;
        assert_eq!(self.rows_in, rows_out, "records in and rows out differ; this is a bug");
        let id = self.id();
        let spans = std::mem::take(&mut self.spans).into_iter().map(|(span, ..)| span).collect();
        let unit = IngestUnit { id, spans, rows_in: self.rows_in, text_bytes: self.text_bytes, reviews, rejects };
        self.clear();
        Ok(unit)
    }

    fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (Span { source, first_row, rows }, digest, label) in &self.spans {
            hasher.update(&(source.len() as u64).to_le_bytes());
            hasher.update(source.as_bytes());
            hasher.update(digest.as_bytes());
            hasher.update(&first_row.to_le_bytes());
            hasher.update(&rows.to_le_bytes());
            // A label that comes from a folder depends on the folders beside it.
            hasher
                .update(label.as_ref().map_or(&[0], |_| &[1]))
                .update(label.as_deref().unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    fn clear(&mut self) {
        let n_kept = self.reviews_schema.fields().len() - 4;
        self.columns =
            ColumnBuilders { kept: (0..n_kept).map(|_| StringBuilder::new()).collect(), ..ColumnBuilders::default() };
        (self.rows_in, self.text_bytes, self.held_bytes) = (0, 0, 0);
    }
}
