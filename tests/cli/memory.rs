//! Memory that does not grow with the input: ten times the input within ten percent of the peak.
//!
//! The larger inputs are over 50 MB more than the smaller ones, so that keeping them could not go unseen.

use super::fixtures::csv;
use super::support::{Place, model};

/// A unit takes 2 MiB of text: 700 reviews of 1,100 words are three of them, as many as ever are in flight.
const ROWS: usize = 700;
const WORDS: usize = 1100;

fn peak(place: &Place, out: &str) -> f64 {
    place.json(&format!("{out}/run.json"))["peak_rss_bytes"].as_f64().unwrap()
}

/// What an allocator may keep more or less of from one run to the next, and of the few units that a small run has: ingest
/// was seen to peak at 37, 48 and 51 MB on 1, 10 and 100 times the reviews.
const ALLOCATOR_BYTES: f64 = 18e6;

#[track_caller]
fn assert_bounded(once: f64, ten_times: f64) {
    // Ingest takes so little that ten percent of it would be noise.
    assert!(
        ten_times <= once + (0.1 * once).max(ALLOCATOR_BYTES),
        "{:.0} MB and, ten times the input, {:.0} MB",
        once / 1e6,
        ten_times / 1e6
    );
}

#[test]
fn embedding_ten_times_the_reviews_takes_no_more_memory() {
    let Some(model) = model() else { return };
    let place = Place::new();
    for (name, rows) in [("once", ROWS), ("ten", 10 * ROWS)] {
        place.write(&format!("{name}.csv"), csv(rows, WORDS));
        place.embed(&model, &[&format!("{name}.csv"), "--out", name, "--max-length", "8"]);
    }
    assert_eq!(place.json("ten/run.json")["rows_out"], 10 * ROWS);
    assert_bounded(peak(&place, "once"), peak(&place, "ten"));
}

#[test]
fn ingesting_ten_times_the_reviews_takes_no_more_memory() {
    let place = Place::new();
    for (name, rows) in [("once", 5 * ROWS), ("ten", 50 * ROWS)] {
        place.write(&format!("{name}.csv"), csv(rows, WORDS / 5));
        place.run(&["ingest", &format!("{name}.csv"), "--out", name]).ok();
    }
    assert_bounded(peak(&place, "once"), peak(&place, "ten"));
}
