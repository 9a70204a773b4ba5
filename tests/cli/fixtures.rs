//! Inputs that several tests share: a trained head, generated reviews, a Parquet file with awkward columns.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::support::{Place, model, project, session};

/// A head of two classes, `neg` and `pos`, trained once a process on the demo's reviews; `None` where no model is.
pub(crate) fn head() -> Option<&'static str> {
    static HEAD: OnceLock<String> = OnceLock::new();
    let model = model()?;
    let trained = HEAD.get_or_init(|| {
        let place = Place::new();
        let out = session().join("head");
        let out = out.to_str().unwrap();
        place.embed(&model, &[&project("tests/demo/tree"), "--out", "features"]);
        place.run(&["train", "features", "--out", out]).ok();
        out.to_owned()
    });
    Some(trained)
}

const WORDS: [&str; 24] = [
    "kettle", "train", "opera", "garden", "tent", "recipe", "harbour", "violin", "printer", "bicycle", "museum",
    "coffee", "winter", "lantern", "carpet", "novel", "bridge", "pillow", "market", "radio", "glove", "castle",
    "pepper", "island",
];

/// A text of `words` words that no other `number` gives.
pub(crate) fn distinct_text(number: usize, words: usize) -> String {
    let mut text = format!("number {number}");
    let mut state = number.wrapping_mul(2_654_435_761) + 1;
    for _ in 2..words {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(text, " {}", WORDS[(state >> 33) % WORDS.len()]).unwrap();
    }
    text
}

/// A CSV of `rows` distinct texts of `words` words with a label each.
pub(crate) fn csv(rows: usize, words: usize) -> String {
    let mut csv = "text,label\n".to_owned();
    for row in 0..rows {
        writeln!(csv, "{},{}", distinct_text(row, words), if row % 2 == 0 { "pos" } else { "neg" }).unwrap();
    }
    csv
}

/// Rows of [`parquet`].
pub(crate) const PARQUET_ROWS: usize = 40;

/// The texts of [`parquet`]: row 5 is null, row 11 is empty.
pub(crate) fn parquet_texts() -> Vec<Option<String>> {
    let text = |row| match row {
        5 => None,
        11 => Some(String::new()),
        // Long and short by turns, so that the encoder's order is not the file's.
        _ => Some(distinct_text(row, if row % 3 == 0 { 40 } else { 4 + row % 5 })),
    };
    (0..PARQUET_ROWS).map(text).collect()
}

/// A Parquet file of six row groups with a dictionary, large strings, integers with nulls and two names that collide
/// with columns of the predictions.
pub(crate) fn parquet(path: &Path) {
    let rows = 0..PARQUET_ROWS;
    let product: DictionaryArray<Int32Type> = rows.clone().map(|row| (row % 4 != 3).then(|| WORDS[row % 4])).collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from_iter(rows.clone().map(|row| (row != 2).then_some(row as i64 * 7))))),
        ("review", Arc::new(StringArray::from(parquet_texts()))),
        ("product", Arc::new(product)),
        ("notes", Arc::new(LargeStringArray::from_iter_values(rows.clone().map(|row| format!("note {row}"))))),
        ("probability", Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| row as f64 / 8.0)))),
        ("row", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| 1000 - row as i64)))),
        ("sentiment", Arc::new(StringArray::from_iter_values(rows.map(|row| ["pos", "neg", "meh"][row % 3])))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(7)).build();
    let file = fs_err::File::create(path).unwrap().into_file();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!(writer.close().unwrap().num_row_groups(), PARQUET_ROWS.div_ceil(7));
}
