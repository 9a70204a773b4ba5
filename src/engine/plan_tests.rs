//! A unit's whole plan, executed: what its receipt says, and what is left of it where it fails.

use std::path::Path;
use std::sync::{Arc, Barrier};

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use datafusion_execution::TaskContext;
use datafusion_physical_plan::display::DisplayableExecutionPlan;
use futures::FutureExt as _;
use hashbrown::HashSet;

use super::ledger::Receipt;
use super::sink::PartSinkExec;
use super::{Executor, Mode, OnDemand, Planner, RunContext, WorkUnit, task_context};
use crate::cache::{Claims, PartMetadata};
use crate::schema::{self, RejectCounts, RejectReason};

/// Each a text and a label.
type Rows<'a> = &'a [(Option<&'a str>, Option<&'a str>)];

const ROWS: Rows<'_> = &[(Some("good"), Some("pos")), (Some("bad"), None), (None, Some("neg"))];

/// A unit of these reviews, and of one record that the parser rejected.
fn unit(rows: Rows<'_>) -> WorkUnit {
    let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let place: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows.len() as u64));
    let columns = vec![
        text(vec![Some("a.csv"); rows.len()]),
        place,
        text(rows.iter().map(|(text, _)| *text).collect()),
        text(rows.iter().map(|(_, label)| *label).collect()),
    ];
    let reviews = RecordBatch::try_new(schema::reviews(&[]), columns).unwrap();
    let row: ArrayRef = Arc::new(UInt64Array::from(vec![rows.len() as u64]));
    let [file, reason, detail] =
        ["a.csv", RejectReason::WrongWidth.name(), "one field"].map(|value| text(vec![Some(value)]));
    let columns = vec![file, Arc::clone(&row), row, reason, detail, Arc::new(BinaryArray::from(vec![None]))];
    let rejects = RecordBatch::try_new(schema::rejects(), columns).unwrap();
    WorkUnit::of_reviews("0123456789abcdef", 7, reviews, rejects)
}

fn plan(out: &Path, unit: &WorkUnit, mode: Option<Mode>) -> Arc<PartSinkExec> {
    let planner =
        Planner { out: out.to_owned(), mode, model: "tiny".to_owned(), metadata: PartMetadata::new(), generation: 0 };
    planner.plan(unit, 0).unwrap()
}

fn embed(require_label: bool) -> Option<Mode> {
    Some(Mode::Embed { width: 4, require_label })
}

/// A run whose encoder cannot be opened.
fn without_encoder() -> Arc<TaskContext> {
    with(OnDemand::new(Box::new(|| Err("there is no model".into()))))
}

fn with(encoder: OnDemand) -> Arc<TaskContext> {
    let executor = Arc::new(Executor::with_encoder(encoder, 0, 1 << 20));
    let claims = Some(Claims::new(HashSet::new()));
    task_context(Some(Arc::new(RunContext { executor, known: None, claims, head: None })))
}

/// The parts by dataset and rows.
fn parts(receipt: &Receipt) -> Vec<(&str, u64)> {
    receipt.parts.iter().map(|part| (part.dataset.as_str(), part.rows)).collect()
}

#[tokio::test]
async fn a_receipt_names_the_parts_and_counts_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = plan(dir.path(), &unit(ROWS), None);
    let receipt = Arc::clone(&sink).run(task_context(None)).await.unwrap();
    assert_eq!(parts(&receipt), [("reviews", 3), ("rejects", 1)]);
    assert_eq!(receipt.parts[0].path, "reviews/part-000007-01234567.parquet");
    assert!(receipt.parts.iter().all(|part| dir.path().join(&part.path).is_file()));
    let stats = &receipt.stats;
    assert_eq!((stats.rows_out, stats.rows_rejected, stats.rejected.with_text()), (3, 1, 1));
    assert!(stats.stage_seconds.write > 0.0 && stats.stage_seconds.read > 0.0 && stats.stage_seconds.encode == 0.0);
    let shown = DisplayableExecutionPlan::with_metrics(sink.as_ref()).indent(false).to_string();
    assert!(shown.contains("rows_out=3") && shown.contains("write_time="), "{shown}");
}

#[tokio::test]
async fn figures_of_one_unit_are_not_in_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(ROWS);
    for _ in 0..2 {
        let receipt = plan(dir.path(), &unit, None).run(task_context(None)).await.unwrap();
        assert_eq!((receipt.stats.rows_out, receipt.parts.len()), (3, 2));
    }
}

#[tokio::test]
async fn shares_of_all_operators_are_in_the_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(&[(None, Some("pos")), (Some(""), Some("pos")), (Some("no label"), None)]);
    // No text is left to encode, so that the encoder is not opened.
    let receipt = plan(dir.path(), &unit, embed(true)).run(without_encoder()).await.unwrap();
    assert_eq!(parts(&receipt), [("rejects", 4)]);
    let reasons =
        [RejectReason::EmptyText, RejectReason::MissingLabel, RejectReason::MissingText, RejectReason::WrongWidth];
    assert_eq!(receipt.stats.rejected, RejectCounts::from_iter(reasons.map(|reason| (reason, 1))));
    // One is the embedding operator's, the other the sink's.
    assert!(receipt.stats.stage_seconds.read > 0.0 && receipt.stats.stage_seconds.write > 0.0);
    assert_eq!((receipt.stats.rows_out, receipt.stats.texts), (0, 0));
}

#[tokio::test]
async fn a_unit_that_fails_hands_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let sink = plan(dir.path(), &unit(ROWS), embed(false));
    let error = Arc::clone(&sink).run(without_encoder()).await.unwrap_err();
    assert!(error.to_string().contains("there is no model"), "{error}");
    assert_eq!(sink.receipt(), Receipt::default());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_unit_that_is_cancelled_hands_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Arc::new(Barrier::new(2));
    let waits = Arc::clone(&opened);
    let encoder = OnDemand::new(Box::new(move || {
        waits.wait();
        Err("too late".into())
    }));
    let sink = plan(dir.path(), &unit(ROWS), embed(false));
    let running = Arc::clone(&sink).run(with(encoder));
    assert!(running.now_or_never().is_none(), "the encoder cannot be open yet");
    opened.wait();
    assert_eq!(sink.receipt(), Receipt::default());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
