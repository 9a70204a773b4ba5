//! The section on how good a head is: figures with intervals, confusion, curves, calibration, slices, mistakes.

use maud::{Markup, html};

use super::plot::{Bars, Frame, Line, bars, lines, up_to};
use super::{card, count, percent, table};
use crate::evaluate::{Evaluation, Interval, Mistake, NAMES, Slice};

/// Characters of a text that are shown.
const SHOWN: usize = 280;
/// Classes whose confusion is drawn.
const CLASSES: usize = 30;
/// Curves in one plot.
const CURVES: usize = 6;

pub(super) fn section(evaluation: &Evaluation) -> Markup {
    let value = |name: &str| evaluation.metrics.get(name).and_then(|figure| figure.value);
    let shown = |name: &str| value(name).map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    html! {
        section {
            h2 { "Quality on " (count(evaluation.rows)) " labelled rows" }
            div.cards {
                (card(&shown("accuracy"), "accuracy"))
                (card(&shown("log_loss"), "log loss"))
                (card(&shown("roc_auc"), "ROC AUC"))
                (card(&shown("macro_f1"), "macro F1"))
                (card(&shown("expected_calibration_error"), "calibration error"))
            }
            (figures(evaluation))
            (threshold(evaluation))
            h3 { "Confusion" }
            (confusion(evaluation))
            h3 { "Each class" }
            (classes(evaluation))
            div.plots { (curves(evaluation)) (reliability(evaluation)) (histogram(evaluation)) }
            (slices(evaluation))
            (mistakes(&evaluation.mistakes))
        }
    }
}

fn figures(evaluation: &Evaluation) -> Markup {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let row = |name: &&str| {
        let Interval { value, low, high } = *evaluation.metrics.get(*name)?;
        Some(vec![name.replace('_', " "), cell(value), cell(low), cell(high)])
    };
    let rows: Vec<Vec<String>> = NAMES.iter().filter_map(row).collect();
    html! {
        (table(&["figure", "value", "95 % from", "to"], &rows))
        p.note { "Intervals by " (count(evaluation.resamples as u64)) " bootstrap resamples of the rows." }
    }
}

fn threshold(evaluation: &Evaluation) -> Markup {
    html! {
        @if let Some(found) = evaluation.threshold {
            p {
                "For a precision of " (percent(found.target_precision)) ": "
                @match (found.confidence, found.precision) {
                    (Some(confidence), Some(precision)) => {
                        "answer where the probability is at least " (format!("{confidence:.4}")) ". That covers "
                        (percent(found.coverage)) " of the rows; " (percent(precision)) " of these answers are right."
                    }
                    _ => "no confidence is high enough on these rows."
                }
            }
        }
    }
}

fn confusion(evaluation: &Evaluation) -> Markup {
    if evaluation.labels.len() > CLASSES {
        return html! { p.note { "More than " (CLASSES) " classes: see confusion in evaluation.json." } };
    }
    let share = |row: &[u64], cell: u64| cell as f64 / row.iter().sum::<u64>().max(1) as f64;
    html! {
        div.scroll {
            table {
                thead { tr { th { "true \\ predicted" } @for label in &evaluation.labels { th { (label) } } } }
                tbody {
                    @for (label, row) in evaluation.labels.iter().zip(&evaluation.confusion) {
                        tr {
                            th { (label) }
                            @for cell in row {
                                td.heat style=(format!("--share: {:.3}", share(row, *cell))) { (count(*cell)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn classes(evaluation: &Evaluation) -> Markup {
    let rows: Vec<Vec<String>> = evaluation
        .classes
        .iter()
        .map(|class| {
            let share = |value: f64| format!("{value:.4}");
            vec![
                class.label.clone(),
                share(class.precision),
                share(class.recall),
                share(class.f1),
                count(class.support),
            ]
        })
        .collect();
    table(&["class", "precision", "recall", "F1", "rows"], &rows)
}

fn curves(evaluation: &Evaluation) -> Markup {
    let shown = || evaluation.curves.iter().take(CURVES);
    let unit = |caption, alt, x, y| Frame { caption, alt, x, y, x_range: 0.0..1.0, y_range: 0.0..1.0 };
    let area = |name: &str| {
        let value = evaluation.metrics.get(name).and_then(|figure| figure.value);
        value.map_or_else(String::new, |value| format!("{value:.3}"))
    };
    let roc: Vec<Line> = shown().map(|curve| Line { name: curve.label.clone(), points: curve.roc.clone() }).collect();
    let precision: Vec<Line> =
        shown().map(|curve| Line { name: curve.label.clone(), points: curve.precision_recall.clone() }).collect();
    html! {
        @if !roc.is_empty() {
            (lines(&unit("ROC curve", format!("ROC curve, area {}", area("roc_auc")),
                "false positive rate", "true positive rate"), &roc, true))
            (lines(&unit("Precision and recall", format!("precision over recall, area {}", area("pr_auc")),
                "recall", "precision"), &precision, false))
        }
    }
}

fn reliability(evaluation: &Evaluation) -> Markup {
    let frame = Frame {
        caption: "Reliability: on the diagonal, confidence is what it says",
        alt: format!(
            "accuracy over confidence in {} bins, calibration error {:.3}",
            evaluation.reliability.len(),
            evaluation.metrics.get("expected_calibration_error").and_then(|figure| figure.value).unwrap_or(f64::NAN)
        ),
        x: "mean confidence",
        y: "accuracy",
        x_range: 0.0..1.0,
        y_range: 0.0..1.0,
    };
    let points = evaluation.reliability.iter().map(|bin| (bin.confidence, bin.accuracy)).collect();
    lines(&frame, &[Line { name: "rows".to_owned(), points }], true)
}

fn histogram(evaluation: &Evaluation) -> Markup {
    let (right, wrong) = (&evaluation.histogram.right, &evaluation.histogram.wrong);
    let width = 1.0 / right.len() as f64;
    let place = |at: usize| at as f64 * width..(at + 1) as f64 * width;
    let lower = right.iter().enumerate().map(|(at, rows)| (place(at), 0.0..*rows as f64)).collect();
    let upper = right.iter().zip(wrong).enumerate();
    let upper = upper.map(|(at, (right, wrong))| (place(at), *right as f64..(right + wrong) as f64)).collect();
    let frame = Frame {
        caption: "Confidence of right and wrong answers",
        alt: "histogram of the largest probability, right answers below, wrong ones on top".to_owned(),
        x: "confidence",
        y: "rows",
        x_range: 0.0..1.0,
        y_range: up_to(right.iter().zip(wrong).map(|(right, wrong)| (right + wrong) as f64)),
    };
    let series = [Bars { name: "right".to_owned(), bars: lower }, Bars { name: "wrong".to_owned(), bars: upper }];
    bars(&frame, &series, None)
}

fn slices(evaluation: &Evaluation) -> Markup {
    let rows = |slices: &[Slice]| -> Vec<Vec<String>> {
        let row = |slice: &Slice| {
            vec![slice.name.clone(), count(slice.rows), percent(slice.accuracy), format!("{:.4}", slice.log_loss)]
        };
        slices.iter().map(row).collect()
    };
    let parts = [
        ("length", "By length", &evaluation.slices.length),
        ("cut", "By truncation", &evaluation.slices.truncated),
        ("source", "By source", &evaluation.slices.source),
    ];
    html! {
        @for (name, title, slices) in parts {
            @if slices.len() > 1 {
                h3 { (title) }
                (table(&[name, "rows", "accuracy", "log loss"], &rows(slices)))
            }
        }
    }
}

fn mistakes(mistakes: &[Mistake]) -> Markup {
    html! {
        @if !mistakes.is_empty() {
            h3 { "The surest mistakes" }
            @for mistake in mistakes {
                blockquote {
                    p {
                        @match &mistake.text {
                            Some(text) => (shortened(text)),
                            None => { em { "(the text is no longer where it was read)" } }
                        }
                    }
                    footer {
                        "is " strong { (mistake.label) } ", was called " strong { (mistake.predicted) } " at "
                        (percent(f64::from(mistake.probability))) " · " (mistake.source_file) ", row " (mistake.row)
                    }
                }
            }
        }
    }
}

/// The beginning of a text, on one line.
fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN + 1).collect();
    if line.chars().count() > SHOWN { line.chars().take(SHOWN).chain(" ...".chars()).collect() } else { line }
}
