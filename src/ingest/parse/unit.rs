//! Collects records into units of work.
//!
//! A unit is a row range of one source, or of several small ones in a row. Where it ends depends on its records alone:
//! on the bytes of text and the rows in it, because the vectors of very short texts weigh more than they do; and, so that
//! millions of rejects or wide kept columns cannot fill the memory, on the bytes it holds in all.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::record::{Record, Reject, Review};
use super::rows::{ParsedRows, Parsing, RecordRange};
use super::source::Source;
use crate::ingest::{Error, Result};

/// What a row weighs beside its text when units are cut, so that units of very short texts stay small in rows too.
pub const ROW_BYTES: u64 = 64;
/// A unit that holds this many times the wanted text is cut whatever it holds.
const MAX_HELD_RATIO: u64 = 4;
/// Arrow's string offsets are 32 bits wide.
const MAX_HELD_BYTES: u64 = 1 << 30;

/// A unit of work: some two MiB of text (or as `--unit-bytes` says) that is committed in one go.
#[derive(Clone, Debug)]
pub struct IngestUnit {
    /// As [`ParsedRows::id`] says.
    pub id: String,
    /// Where its rows are, so that they can be read again.
    pub rows: ParsedRows,
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
    schema: SchemaRef,
    parsing: Parsing,
    ranges: Vec<RecordRange>,
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
    pub digest: &'a str,
    pub encoding: &'static encoding_rs::Encoding,
    pub row: u64,
    /// Where the record before it ended.
    pub from: Option<u64>,
}

impl UnitBuilder {
    pub(super) fn new(parsing: Parsing) -> Self {
        let extra: Vec<Field> = parsing.keep.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let mut builder = Self {
            schema: crate::schema::reviews(&extra),
            parsing,
            ranges: Vec::new(),
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

    /// Whether a unit of `unit_bytes` of text ends here.
    pub(super) fn is_full(&self, unit_bytes: u64) -> bool {
        let wanted = unit_bytes.clamp(1, MAX_HELD_BYTES);
        self.text_bytes + self.rows_in * ROW_BYTES >= wanted
            || self.held_bytes >= (wanted * MAX_HELD_RATIO).min(MAX_HELD_BYTES)
    }

    /// Adds a record.
    pub(super) fn push(&mut self, origin: &RecordOrigin<'_>, record: Record) {
        self.extend_ranges(origin);
        self.rows_in += 1;
        self.held_bytes += ROW_BYTES + origin.source.name().len() as u64;
        match record.content {
            Ok(review) => self.push_review(origin, review),
            Err(reject) => self.push_reject(origin, record.byte_offset, reject),
        }
    }

    fn extend_ranges(&mut self, origin: &RecordOrigin<'_>) {
        let RecordOrigin { source, digest, encoding, row, from } = *origin;
        match self.ranges.last_mut() {
            Some(range) if range.source.name() == source.name() && range.first_row + range.rows == row => {
                range.rows += 1;
            }
            _ => {
                let (source, digest) = (source.clone(), digest.to_owned());
                self.ranges.push(RecordRange { source, digest, encoding, first_row: row, rows: 1, from });
            }
        }
    }

    fn push_review(&mut self, origin: &RecordOrigin<'_>, review: Review) {
        let text = review.text.map(|text| self.parsing.clean.apply(text));
        let own_label = review.label.as_deref().map(str::trim).filter(|label| !label.is_empty());
        let label = own_label.or(origin.source.label_of_records());
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
        let reviews = batch(&self.schema, arrays)?;
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rejects.source_file.finish()),
            Arc::new(rejects.row.finish()),
            Arc::new(rejects.byte_offset.finish()),
            Arc::new(rejects.reason.finish()),
            Arc::new(rejects.detail.finish()),
            Arc::new(rejects.raw_prefix.finish()),
        ];
        let rejects = batch(&crate::schema::rejects(), arrays)?;
        let rows_out = (reviews.num_rows() + rejects.num_rows()) as u64;
        assert_eq!(self.rows_in, rows_out, "records in and rows out differ; this is a bug");
        let rows = ParsedRows { ranges: std::mem::take(&mut self.ranges), parsing: self.parsing.clone() };
        let (id, rows_in, text_bytes) = (rows.id(), self.rows_in, self.text_bytes);
        self.clear();
        Ok(IngestUnit { id, rows, rows_in, text_bytes, reviews, rejects })
    }

    fn clear(&mut self) {
        let n_kept = self.parsing.keep.len();
        self.columns =
            ColumnBuilders { kept: (0..n_kept).map(|_| StringBuilder::new()).collect(), ..ColumnBuilders::default() };
        (self.rows_in, self.text_bytes, self.held_bytes) = (0, 0, 0);
    }
}
