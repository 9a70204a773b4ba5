//! The section on how a head came about: its losses by epoch, the recipe, what cross-validation says.

use maud::{Markup, html};
use serde_json::Value;

use super::plot::{Frame, Line, lines, up_to};
use super::{card, count, table};
use crate::head::TrainingReport;
use crate::report::{CrossValidation, RunReport, Spread, StageReport, TextHygiene};

pub(super) fn section(training: &TrainingReport, run: &RunReport) -> Markup {
    let own = match &run.stage {
        StageReport::Train(own) => Some(own),
        _ => None,
    };
    html! {
        section {
            h2 { "Training" }
            div.cards {
                (card(&count(training.train_rows as u64), "rows trained on"))
                (card(&count(training.validation_rows as u64), "rows validated on"))
                (card(&format!("{} of {}", training.best_epoch, training.epochs.len()), "best epoch"))
                (card(&format!("{:.3}", own.map_or(1.0, |own| own.temperature)), "temperature"))
            }
            @if training.recipe.refit {
                p.note {
                    "The figures are of the head that was trained without the validation rows; the one that is kept was
                     then trained on all rows for as long."
                }
            }
            div.plots { (losses(training)) (accuracies(training)) }
            h3 { "Recipe" }
            (recipe(training))
            @if let Some(own) = own {
                (texts(own.text_hygiene))
                @if let Some(found) = &own.cross_validation { (crossed(found)) }
            }
        }
    }
}

fn losses(training: &TrainingReport) -> Markup {
    let epochs = &training.epochs;
    let points = |loss: fn(&crate::head::EpochMetrics) -> f64| -> Vec<(f64, f64)> {
        epochs.iter().map(|epoch| (epoch.epoch as f64, loss(epoch))).collect()
    };
    let (train, validation) = (points(|epoch| epoch.train_loss), points(|epoch| epoch.validation_loss));
    let all = || train.iter().chain(&validation).map(|(_, loss)| *loss);
    let lowest = all().fold(f64::INFINITY, f64::min);
    let frame = Frame {
        caption: "Loss by epoch",
        alt: format!(
            "validation loss from {:.4} to {:.4} at epoch {}",
            validation.first().map_or(f64::NAN, |(_, loss)| *loss),
            validation.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min),
            training.best_epoch
        ),
        x: "epoch",
        y: "cross-entropy",
        x_range: 0.0..epochs.len() as f64 + 1.0,
        y_range: lowest.min(1e9) * 0.95..up_to(all()).end,
    };
    let series = [
        Line { name: "training".to_owned(), points: train.clone() },
        Line { name: "validation".to_owned(), points: validation.clone() },
    ];
    lines(&frame, &series, false)
}

fn accuracies(training: &TrainingReport) -> Markup {
    let points: Vec<(f64, f64)> =
        training.epochs.iter().map(|epoch| (epoch.epoch as f64, epoch.validation_accuracy)).collect();
    let lowest = points.iter().map(|(_, accuracy)| *accuracy).fold(1.0, f64::min);
    let frame = Frame {
        caption: "Validation accuracy by epoch",
        alt: format!("validation accuracy reaches {:.4}", training.validation.accuracy),
        x: "epoch",
        y: "accuracy",
        x_range: 0.0..points.len() as f64 + 1.0,
        y_range: (lowest - 0.05).max(0.0)..1.0,
    };
    lines(&frame, &[Line { name: "validation".to_owned(), points }], false)
}

fn recipe(training: &TrainingReport) -> Markup {
    let recipe = serde_json::to_value(&training.recipe).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let settings = recipe.as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = settings.map(|(name, value)| vec![name.replace('_', " "), text(value)]).collect();
    table(&["setting", "value"], &rows)
}

fn texts(hygiene: TextHygiene) -> Markup {
    let TextHygiene { duplicate_rows, texts_with_several_labels, leaked_rows } = hygiene;
    let number = |rows: usize| count(rows as u64);
    html! {
        @if duplicate_rows + leaked_rows > 0 {
            p {
                (number(duplicate_rows)) " rows repeat the text of another; "
                (number(texts_with_several_labels)) " texts have more than one label; "
                (number(leaked_rows)) " validation rows have a text that was trained on."
            }
        }
    }
}

fn crossed(found: &CrossValidation) -> Markup {
    let rows = [
        ("accuracy", found.accuracy),
        ("balanced accuracy", found.balanced_accuracy),
        ("macro f1", found.macro_f1),
        ("log loss", found.log_loss),
    ];
    let rows = rows.map(|(name, Spread { mean, deviation })| {
        vec![name.to_owned(), format!("{mean:.4}"), format!("{deviation:.4}")]
    });
    html! {
        h3 { "Cross-validation: " (found.folds) " folds, " (found.repeats) " seeds" }
        (table(&["figure", "mean", "deviation"], &rows))
    }
}
