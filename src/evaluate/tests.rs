//! Figures held against scikit-learn's on the same made-up predictions, and what holds of any.

use proptest::prelude::*;

use super::*;

/// Predictions by a formula, as the Python script that gave the expected figures made them.
fn data(rows: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let raw = |i: usize, k: usize| ((i * 37 + k * 53 + i * i * k) % 29 + 1) as f32;
    let mut probabilities = Vec::new();
    for i in 0..rows {
        let sum: f32 = (0..classes).map(|k| raw(i, k)).sum();
        probabilities.extend((0..classes).map(|k| raw(i, k) / sum));
    }
    let odd = |i: usize| if i.is_multiple_of(3) { i } else { 0 };
    let labels = (0..rows).map(|i| ((i * i * 31 + i / 7 + odd(i)) % classes) as u32).collect();
    (probabilities, labels)
}

fn origins(rows: usize) -> Vec<RowOrigin> {
    let origin = |row: usize| RowOrigin {
        source_file: format!("{}.csv", row % 3).into(),
        row: row as u64,
        tokens: Some((row as u32 + 1, row >= 50)),
    };
    (0..rows).map(origin).collect()
}

fn evaluation(rows: usize, classes: usize, target: Option<f64>) -> Evaluation {
    let (probabilities, labels) = data(rows, classes);
    let names: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
    let judged = Judged { probabilities: &probabilities, labels: &labels, classes };
    evaluate(judged, &origins(rows), &names, target, 42)
}

#[track_caller]
fn assert_figures(found: &Evaluation, expected: [(&str, f64); 9]) {
    for (name, expected) in expected {
        let value = found.metrics[name].value.unwrap();
        assert!((value - expected).abs() < 1e-6, "{name} is {value}, scikit-learn says {expected}");
    }
}

#[test]
fn the_figures_of_two_classes_are_scikit_learns() {
    let found = evaluation(60, 2, None);
    assert_figures(
        &found,
        [
            ("accuracy", 0.483_333_333),
            ("balanced_accuracy", 0.467_194_570),
            ("macro_f1", 0.465_363_610),
            ("micro_f1", 0.483_333_333),
            ("roc_auc", 0.454_185_520),
            ("pr_auc", 0.422_762_657),
            ("log_loss", 0.892_512_824),
            ("brier", 0.314_928_412),
            ("expected_calibration_error", 0.189_501_883),
        ],
    );
    let second = &found.classes[1];
    assert!((second.precision - 0.391_304_35).abs() < 1e-6 && (second.recall - 0.346_153_85).abs() < 1e-6);
    assert_eq!(found.classes.iter().map(|class| class.support).sum::<u64>(), 60);
}

#[test]
fn the_figures_of_three_classes_are_scikit_learns_one_against_all_others() {
    let found = evaluation(90, 3, None);
    assert_figures(
        &found,
        [
            ("accuracy", 0.3),
            ("balanced_accuracy", 0.300_420_168),
            ("macro_f1", 0.278_732_179),
            ("micro_f1", 0.3),
            ("roc_auc", 0.486_265_474),
            ("pr_auc", 0.340_832_360),
            ("log_loss", 1.286_207_043),
            ("brier", 0.748_229_345),
            ("expected_calibration_error", 0.197_904_791),
        ],
    );
    assert_eq!(found.curves.len(), 3);
}

#[test]
fn intervals_hold_their_figure_and_are_the_same_for_the_same_seed() {
    let found = evaluation(90, 3, None);
    assert_eq!(found, evaluation(90, 3, None));
    assert_eq!(found.resamples, 1000);
    for name in NAMES {
        let Interval { value: Some(value), low: Some(low), high: Some(high) } = found.metrics[name] else {
            panic!("{name} has no interval")
        };
        // Resampling makes a calibration error larger, never smaller: its interval may lie above it.
        assert!(low < high && (low..=high).contains(&value) || name == "expected_calibration_error", "{name}");
    }
    // Of a share of 0.3 over 90 rows, the normal approximation says 0.3 +- 0.095.
    let accuracy = found.metrics["accuracy"];
    assert!((accuracy.low.unwrap() - 0.205).abs() < 0.03 && (accuracy.high.unwrap() - 0.395).abs() < 0.03);
}

#[test]
fn one_class_alone_has_no_curve_and_no_area() {
    let judged = Judged { probabilities: &[0.4, 0.6, 0.7, 0.3], labels: &[1, 1], classes: 2 };
    let found = evaluate(judged, &origins(2), &["a".to_owned(), "b".to_owned()], None, 1);
    assert_eq!(found.metrics["roc_auc"], Interval { value: None, low: None, high: None });
    assert!(found.curves.is_empty());
    assert_eq!(found.metrics["accuracy"].value, Some(0.5));
}

#[test]
fn mistakes_are_the_surest_wrong_answers_and_slices_cover_all_rows() {
    let found = evaluation(60, 2, None);
    assert_eq!(found.mistakes.len(), 20);
    assert!(found.mistakes.is_sorted_by(|a, b| a.probability >= b.probability));
    assert!(found.mistakes.iter().all(|mistake| mistake.label != mistake.predicted));
    for slices in [&found.slices.length, &found.slices.truncated, &found.slices.source] {
        assert_eq!(slices.iter().map(|slice| slice.rows).sum::<u64>(), 60);
    }
    let names: Vec<&str> = found.slices.length.iter().map(|slice| slice.name.as_str()).collect();
    assert_eq!(names, ["1-16 tokens", "17-32 tokens", "33-64 tokens"]);
    assert_eq!(found.slices.truncated[1].rows, 10);
}

proptest! {
    #[test]
    fn no_other_threshold_answers_more_rows_at_the_wanted_precision(
        rows in prop::collection::vec((1u8..20, any::<bool>()), 1..80),
        target in 0.3f64..1.0,
    ) {
        // Confidences of 0.5 and more, many of them equal.
        let probabilities: Vec<f32> = rows.iter().flat_map(|(tenth, _)| {
            let confidence = 0.5 + f32::from(*tenth) / 40.0;
            [1.0 - confidence, confidence]
        }).collect();
        let labels: Vec<u32> = rows.iter().map(|(_, right)| u32::from(*right)).collect();
        let judged = Judged { probabilities: &probabilities, labels: &labels, classes: 2 };
        let found = threshold::threshold(&measures::Prepared::new(judged), target);
        let mut best = 0.0;
        for least in 1..20 {
            let answered: Vec<bool> = rows.iter().filter(|(tenth, _)| *tenth >= least).map(|(_, right)| *right).collect();
            let right = answered.iter().filter(|right| **right).count();
            if !answered.is_empty() && right as f64 / answered.len() as f64 >= target {
                best = f64::max(best, answered.len() as f64 / rows.len() as f64);
            }
        }
        prop_assert!((found.coverage - best).abs() < 1e-9);
    }
}
