//! Puts a unit's vectors back in input order, as the record batch that the sink takes apart.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListArray,
    Float32Array, RecordBatch, StringArray, StringBuilder, UInt32Builder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::Result;

use super::context::Head;
use super::texts::{Distinct, Encoded};
use super::{kept, salvage};
use crate::cache::UnitStats;
use crate::evaluate::most_probable;
use crate::ingest::RAW_PREFIX_BYTES;
use crate::schema::{self, RejectReason};

/// One row an input row: its key, and its embedding where this unit encoded the text and the row is the first with it;
/// or why it is a reject.
pub(super) fn embedding_rows(
    output: &SchemaRef,
    batch: &RecordBatch,
    distinct: &Distinct,
    encoded: &Encoded,
    width: usize,
) -> Result<(RecordBatch, UnitStats)> {
    let rows = batch.num_rows();
    let mut keys = FixedSizeBinaryBuilder::with_capacity(rows, schema::KEY_BYTES);
    let mut values = Vec::with_capacity(encoded.vectors.len());
    let (mut first, mut rejects) = (Vec::with_capacity(rows), RejectColumns::default());
    let (mut tokens, mut stats) = (TokenColumns::default(), UnitStats::default());
    let texts = batch["text"].as_string::<i32>();
    let unreadable = Unreadable::of(batch);
    for (row, slot) in distinct.slots.iter().enumerate() {
        let slot = slot.map(|slot| slot as usize);
        let failure = slot.and_then(|slot| encoded.failures[slot].as_deref());
        let mut place = None;
        match (slot, failure) {
            (None, _) => {
                keys.append_null();
                match unreadable.as_ref().and_then(|unreadable| unreadable.at(row)) {
                    Some((reason, detail, raw)) => rejects.append(reason, detail, raw),
                    None => {
                        let (reason, detail) = why_not_embedded(texts, row);
                        rejects.append(reason.name(), detail, None);
                    }
                }
            }
            (Some(_), Some(failure)) => {
                stats.rows_failed += 1;
                keys.append_null();
                rejects.append(RejectReason::EncoderFailed.name(), failure, Some(texts.value(row).as_bytes()));
            }
            (Some(slot), None) => {
                keys.append_value(distinct.keys[slot].0)?;
                rejects.append_none();
                place = encoded.places[slot].filter(|_| distinct.first[slot] == row);
                stats.rows_deduplicated += u64::from(place.is_none());
            }
        }
        push_vector(&mut values, place.map(|place| vector(encoded, place, width)), width);
        first.push(place.is_some());
        tokens.append(encoded, place);
    }
    let (n_tokens, truncated) = tokens.finish();
    let embedding = vectors(values, width, first)?;
    let [reason, detail, raw_prefix] = rejects.finish();
    let columns: Vec<ArrayRef> = vec![
        Arc::clone(&batch["source_file"]),
        Arc::clone(&batch["row"]),
        Arc::new(keys.finish()),
        Arc::clone(&batch["label"]),
        embedding,
        n_tokens,
        truncated,
        reason,
        detail,
        raw_prefix,
    ];
    Ok((RecordBatch::try_new(Arc::clone(output), columns)?, stats))
}

/// Why a row that could be read has no key.
fn why_not_embedded(texts: &StringArray, row: usize) -> (RejectReason, &'static str) {
    match texts.is_valid(row).then(|| texts.value(row)) {
        None => (RejectReason::MissingText, "the record has no text to embed"),
        Some("") => (RejectReason::EmptyText, "the record has no text to embed"),
        Some(_) => (RejectReason::MissingLabel, "the record has no label, and --require-label asks for one"),
    }
}

/// One row an input row: the head's answer, null where there is no text or the encoder failed on it.
pub(super) fn predictions(
    output: &SchemaRef,
    batch: &RecordBatch,
    distinct: &Distinct,
    encoded: &Encoded,
    head: &Head,
) -> Result<(RecordBatch, UnitStats)> {
    let mut stats = UnitStats::default();
    let classes = head.labels.len();
    let scored = head.head.probabilities(&encoded.vectors);
    let true_labels = output.field_with_name("true_label").is_ok().then(|| batch["label"].as_string::<i32>());
    let (mut labels, mut best) = (StringBuilder::new(), Vec::new());
    let (mut values, mut valid) = (Vec::new(), Vec::new());
    let (mut abstained, mut tokens) = (BooleanBuilder::new(), TokenColumns::default());
    for (row, slot) in distinct.slots.iter().enumerate() {
        let slot = slot.map(|slot| slot as usize);
        let failed = slot.is_some_and(|slot| encoded.failures[slot].is_some());
        let place = slot.filter(|_| !failed).and_then(|slot| encoded.places[slot]);
        let probabilities = place.map(|place| vector_of(&scored, place, classes));
        let class = probabilities.map(most_probable);
        labels.append_option(class.map(|class| head.labels[class].as_str()));
        best.push(probabilities.zip(class).map(|(probabilities, class)| probabilities[class]));
        let abstains = best[row].zip(head.least_confidence).map(|(best, least)| f64::from(best) < least);
        abstained.append_option(abstains);
        stats.rows_abstained += u64::from(abstains == Some(true));
        push_vector(&mut values, probabilities, classes);
        valid.push(probabilities.is_some());
        tokens.append(encoded, place);
        stats.rows_failed += u64::from(failed);
        let again = slot.is_some_and(|slot| distinct.first[slot] != row);
        stats.rows_deduplicated += u64::from(again && !failed);
        if let (Some(truth), Some(probabilities), Some(class)) = (true_labels, probabilities, class) {
            count_truth(truth, row, head, (probabilities, class), &mut stats);
        }
    }
    let (n_tokens, truncated) = tokens.finish();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::clone(&batch["source_file"]),
        Arc::clone(&batch["row"]),
        Arc::new(labels.finish()),
        Arc::new(Float32Array::from(best)),
        vectors(values, classes, valid)?,
        n_tokens,
        truncated,
    ];
    if head.least_confidence.is_some() {
        columns.push(Arc::new(abstained.finish()));
    }
    columns.extend(true_labels.map(|_| Arc::clone(&batch["label"])));
    columns.extend(kept::columns(batch));
    columns.extend(salvage::reject_columns(batch).into_iter().flatten().cloned());
    Ok((RecordBatch::try_new(Arc::clone(output), columns)?, stats))
}

fn count_truth(truth: &StringArray, row: usize, head: &Head, answer: (&[f32], usize), stats: &mut UnitStats) {
    if truth.is_null(row) {
        return;
    }
    match head.labels.iter().position(|label| label == truth.value(row)) {
        None => stats.unknown_labels += 1,
        Some(class) => {
            let (probabilities, best) = answer;
            stats.labelled += 1;
            stats.correct += u64::from(best == class);
            // The clip of scikit-learn's log_loss for single precision: a certain mistake costs 15.9 nats, not infinity.
            let loss = -f64::from(probabilities[class].max(f32::EPSILON)).ln();
            stats.log_loss_sum += loss.max(0.0);
        }
    }
}

/// What the scan says of rows that it could not read.
struct Unreadable<'a> {
    reason: &'a StringArray,
    detail: &'a StringArray,
    raw_prefix: &'a BinaryArray,
}

impl<'a> Unreadable<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Unreadable<'a>> {
        let [reason, detail, raw_prefix] = salvage::reject_columns(batch)?;
        Some(Unreadable { reason: reason.as_string(), detail: detail.as_string(), raw_prefix: raw_prefix.as_binary() })
    }

    fn at(&self, row: usize) -> Option<(&str, &str, Option<&[u8]>)> {
        let raw = self.raw_prefix.is_valid(row).then(|| self.raw_prefix.value(row));
        self.reason.is_valid(row).then(|| (self.reason.value(row), self.detail.value(row), raw))
    }
}

#[derive(Default)]
struct RejectColumns {
    reason: StringBuilder,
    detail: StringBuilder,
    raw_prefix: BinaryBuilder,
}

impl RejectColumns {
    fn append(&mut self, reason: &str, detail: &str, text: Option<&[u8]>) {
        self.reason.append_value(reason);
        self.detail.append_value(detail);
        self.raw_prefix.append_option(text.map(|text| &text[..text.len().min(RAW_PREFIX_BYTES)]));
    }

    fn append_none(&mut self) {
        self.reason.append_null();
        self.detail.append_null();
        self.raw_prefix.append_null();
    }

    fn finish(mut self) -> [ArrayRef; 3] {
        [Arc::new(self.reason.finish()), Arc::new(self.detail.finish()), Arc::new(self.raw_prefix.finish())]
    }
}

#[derive(Default)]
struct TokenColumns {
    n_tokens: UInt32Builder,
    truncated: BooleanBuilder,
}

impl TokenColumns {
    fn append(&mut self, encoded: &Encoded, place: Option<u32>) {
        let place = place.map(|place| place as usize);
        self.n_tokens.append_option(place.map(|place| encoded.tokens[place].0));
        self.truncated.append_option(place.map(|place| encoded.tokens[place].1));
    }

    fn finish(mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.n_tokens.finish()), Arc::new(self.truncated.finish()))
    }
}

fn vector(encoded: &Encoded, place: u32, width: usize) -> &[f32] {
    vector_of(&encoded.vectors, place, width)
}

fn vector_of(values: &[f32], place: u32, width: usize) -> &[f32] {
    let start = place as usize * width;
    &values[start..start + width]
}

fn push_vector(values: &mut Vec<f32>, vector: Option<&[f32]>, width: usize) {
    match vector {
        Some(vector) => values.extend_from_slice(vector),
        None => values.resize(values.len() + width, 0.0),
    }
}

fn vectors(values: Vec<f32>, width: usize, valid: Vec<bool>) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let width = i32::try_from(width).unwrap_or(i32::MAX);
    let nulls = NullBuffer::from(valid);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), nulls)?))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Float32Type;

    use super::*;
    use crate::head::Dense;

    /// Two classes whose scores are the vector itself; it abstains below 0.6.
    fn head() -> Head {
        let layer = Dense { weight: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2], inputs: 2, outputs: 2 };
        let labels = ["neg", "pos"].map(str::to_owned).to_vec();
        Head { head: crate::head::Head { layers: vec![layer] }, labels, least_confidence: Some(0.6) }
    }

    fn reviews(rows: &[(Option<&str>, Option<&str>)]) -> RecordBatch {
        let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let columns = vec![
            text(vec![Some("a.csv"); rows.len()]),
            Arc::new(arrow::array::UInt64Array::from_iter_values(0..rows.len() as u64)),
            text(rows.iter().map(|(text, _)| *text).collect()),
            text(rows.iter().map(|(_, label)| *label).collect()),
        ];
        RecordBatch::try_new(schema::reviews(&[]), columns).unwrap()
    }

    /// What the encoder made of the distinct texts: a vector each, or a failure.
    fn encoded(vectors: &[Option<[f32; 2]>]) -> Encoded {
        let mut encoded = Encoded::of(vectors.len());
        for (slot, vector) in vectors.iter().enumerate() {
            match vector {
                Some(vector) => {
                    encoded.places[slot] = Some(encoded.tokens.len() as u32);
                    encoded.tokens.push((5, false));
                    encoded.vectors.extend(vector);
                }
                None => encoded.failures[slot] = Some("too odd".into()),
            }
        }
        encoded
    }

    fn loss(scores: [f32; 2], class: usize) -> f64 {
        let exp = scores.map(|score| f64::from(score).exp());
        -(exp[class] / (exp[0] + exp[1])).ln()
    }

    #[test]
    fn answers_are_counted_as_right_wrong_unsure_unknown_and_failed() {
        let batch = reviews(&[
            (Some("sure"), Some("pos")),
            (Some("unsure"), Some("pos")),
            (None, Some("neg")),
            (Some("odd"), Some("neg")),
            (Some("sure"), Some("meh")),
            (Some("sure"), Some("neg")),
        ]);
        let distinct = Distinct::of(batch["text"].as_string());
        let (sure, unsure) = ([-1.0, 2.0], [0.1, 0.0]);
        let output = schema::predictions(2, &["abstained", "true_label"]);
        let made = encoded(&[Some(sure), Some(unsure), None]);
        let (rows, stats) = predictions(&output, &batch, &distinct, &made, &head()).unwrap();
        assert_eq!((stats.labelled, stats.correct, stats.unknown_labels), (3, 1, 1));
        assert_eq!((stats.rows_abstained, stats.rows_failed, stats.rows_deduplicated), (1, 1, 2));
        let expected = loss(sure, 1) + loss(unsure, 1) + loss(sure, 0);
        assert!((stats.log_loss_sum - expected).abs() < 1e-6, "{} {expected}", stats.log_loss_sum);
        let labels: Vec<Option<&str>> = rows["label"].as_string::<i32>().iter().collect();
        assert_eq!(labels, [Some("pos"), Some("neg"), None, None, Some("pos"), Some("pos")]);
        assert_eq!(rows["probability"].as_primitive::<Float32Type>().null_count(), 2);
    }

    #[test]
    fn a_certain_mistake_costs_no_infinity() {
        let batch = reviews(&[(Some("sure"), Some("neg"))]);
        let distinct = Distinct::of(batch["text"].as_string());
        let output = schema::predictions(2, &["abstained", "true_label"]);
        let (_, stats) = predictions(&output, &batch, &distinct, &encoded(&[Some([-90.0, 90.0])]), &head()).unwrap();
        assert_eq!(stats.log_loss_sum, -f64::from(f32::EPSILON).ln());
    }

    #[test]
    fn a_vector_stands_in_the_first_row_with_its_text_alone() {
        let batch = reviews(&[(Some("a"), None), (Some("odd"), None), (Some("a"), None), (Some(""), None)]);
        let distinct = Distinct::of(batch["text"].as_string());
        let vector = Field::new_list_field(DataType::Float32, true);
        let fields = vec![
            Field::new("source_file", DataType::Utf8, false),
            Field::new("row", DataType::UInt64, false),
            Field::new("key", DataType::FixedSizeBinary(schema::KEY_BYTES), true),
            Field::new("label", DataType::Utf8, true),
            Field::new("embedding", DataType::FixedSizeList(Arc::new(vector), 2), true),
            Field::new("n_tokens", DataType::UInt32, true),
            Field::new("truncated", DataType::Boolean, true),
        ];
        let fields: Vec<Field> = fields.into_iter().chain(salvage::reject_fields()).collect();
        let output = Arc::new(arrow::datatypes::Schema::new(fields));
        let made = encoded(&[Some([1.0, 2.0]), None]);
        let (rows, stats) = embedding_rows(&output, &batch, &distinct, &made, 2).unwrap();
        let given = |column: &str| (0..rows.num_rows()).map(|row| rows[column].is_valid(row)).collect::<Vec<_>>();
        assert_eq!(given("embedding"), [true, false, false, false]);
        assert_eq!(given("key"), [true, false, true, false]);
        assert_eq!(given(salvage::REASON), [false, true, false, true]);
        assert_eq!((stats.rows_deduplicated, stats.rows_failed), (1, 1));
    }
}
