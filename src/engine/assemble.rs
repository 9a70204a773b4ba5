//! Puts a unit's vectors back in input order, as the record batch that the sink takes apart.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListArray, Float32Array, RecordBatch,
    StringArray, StringBuilder, UInt32Builder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::Result;

use super::kept;
use super::runtime::Head;
use super::texts::{Counters, Distinct, Encoded};
use crate::schema;

/// One row an input row: its key, and its embedding where this unit encoded the text and the row is the first with it.
pub(super) fn embedding_rows(
    output: &SchemaRef,
    batch: &RecordBatch,
    distinct: &Distinct,
    encoded: &Encoded,
    hidden: usize,
    counters: &Counters,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut keys = FixedSizeBinaryBuilder::with_capacity(rows, schema::KEY_BYTES);
    let mut values = Vec::with_capacity(encoded.vectors.len());
    let (mut first, mut reasons) = (Vec::with_capacity(rows), StringBuilder::new());
    let mut tokens = TokenColumns::default();
    for (row, slot) in distinct.slots.iter().enumerate() {
        let Some(slot) = slot.map(|slot| slot as usize) else {
            keys.append_null();
            let missing = batch["text"].is_null(row);
            reasons.append_value(if missing { "missing_text" } else { "empty_text" });
            push_vector(&mut values, None, hidden);
            first.push(false);
            tokens.append(encoded, None);
            continue;
        };
        keys.append_value(distinct.keys[slot].0)?;
        reasons.append_null();
        let place = encoded.places[slot].filter(|_| distinct.first[slot] == row);
        if place.is_none() {
            counters.rows_deduplicated.add(1);
        }
        push_vector(&mut values, place.map(|place| vector(encoded, place, hidden)), hidden);
        first.push(place.is_some());
        tokens.append(encoded, place);
    }
    let (n_tokens, truncated) = tokens.finish();
    let embedding = vectors(values, hidden, first)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::clone(&batch["source_file"]),
        Arc::clone(&batch["row"]),
        Arc::new(keys.finish()),
        Arc::clone(&batch["label"]),
        embedding,
        n_tokens,
        truncated,
        Arc::new(reasons.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
}

/// One row an input row: the head's answer, null where there is no text.
pub(super) fn predictions(
    output: &SchemaRef,
    batch: &RecordBatch,
    distinct: &Distinct,
    encoded: &Encoded,
    head: &Head,
    counters: &Counters,
) -> Result<RecordBatch> {
    let classes = head.labels.len();
    let scored = head.head.probabilities(&encoded.vectors);
    let true_labels = output.field_with_name("true_label").is_ok().then(|| batch["label"].as_string::<i32>());
    let (mut labels, mut best) = (StringBuilder::new(), Vec::new());
    let (mut values, mut valid) = (Vec::new(), Vec::new());
    let mut tokens = TokenColumns::default();
    for (row, slot) in distinct.slots.iter().enumerate() {
        let place = slot.and_then(|slot| encoded.places[slot as usize]);
        let probabilities = place.map(|place| vector_of(&scored, place, classes));
        let class = probabilities.map(argmax);
        labels.append_option(class.map(|class| head.labels[class].as_str()));
        best.push(probabilities.zip(class).map(|(probabilities, class)| probabilities[class]));
        push_vector(&mut values, probabilities, classes);
        valid.push(probabilities.is_some());
        tokens.append(encoded, place);
        if slot.is_some_and(|slot| distinct.first[slot as usize] != row) {
            counters.rows_deduplicated.add(1);
        }
        if let (Some(truth), Some(probabilities), Some(class)) = (true_labels, probabilities, class) {
            count_truth(truth, row, head, (probabilities, class), counters);
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
    columns.extend(true_labels.map(|_| Arc::clone(&batch["label"])));
    columns.extend(kept::columns(batch));
    Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
}

fn count_truth(truth: &StringArray, row: usize, head: &Head, answer: (&[f32], usize), counters: &Counters) {
    if truth.is_null(row) {
        return;
    }
    match head.labels.iter().position(|label| label == truth.value(row)) {
        None => counters.unknown_labels.add(1),
        Some(class) => {
            let (probabilities, best) = answer;
            counters.labelled.add(1);
            counters.correct.add(usize::from(best == class));
            // The clip of scikit-learn's log_loss for single precision: a certain mistake costs 15.9 nats, not infinity.
            let loss = -f64::from(probabilities[class].max(f32::EPSILON)).ln();
            counters.log_loss_nano.add((loss.max(0.0) * 1e9) as usize);
        }
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
        self.n_tokens.append_option(place.map(|place| encoded.tokenized.n_tokens(place)));
        self.truncated.append_option(place.map(|place| encoded.tokenized.truncated(place)));
    }

    fn finish(mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.n_tokens.finish()), Arc::new(self.truncated.finish()))
    }
}

fn vector(encoded: &Encoded, place: u32, hidden: usize) -> &[f32] {
    vector_of(&encoded.vectors, place, hidden)
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

fn argmax(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (class, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[best] {
            best = class;
        }
    }
    best
}
