//! Trains again and again on parts of the rows: what to expect of a recipe on new texts, and how much of it is chance.
//!
//! The head that a stage leaves is none of these: they are judged and thrown away.

use crate::head::{self, Examples, Metrics, Recipe, Split, Sweeper, Swept, Trainer};
use crate::pipeline::rows::labelled::Subset;
use crate::pipeline::{Result, TrainOptions};
use crate::report::{CrossValidation, Repetitions, Spread, ValidationRun};
use crate::telemetry::Terminal;

/// Runs every fold of every seed; nothing where neither is asked for.
pub(crate) fn cross_validate(
    examples: &Examples<'_>,
    recipe: &Recipe,
    asked: Option<Repetitions>,
    trainer: Trainer,
    terminal: Terminal,
) -> Result<Option<CrossValidation>> {
    let Some(Repetitions { folds, repeats }) = asked else { return Ok(None) };
    let repeats = repeats.unwrap_or(1);
    let mut runs = Vec::new();
    for seed in (0..repeats).map(|repeat| recipe.seed + repeat) {
        let recipe = Recipe { seed, ..recipe.clone() };
        recipe.check()?;
        let splits: Vec<Split> = match folds {
            Some(folds) => head::folds(examples, folds, seed)?,
            None => vec![head::split(examples, &recipe)?],
        };
        let total = splits.len() * repeats as usize;
        for (fold, split) in splits.iter().enumerate() {
            terminal.status(&format!("cross-validation: run {} of {total}", runs.len() + 1));
            let [train, validation] = Subset::sides(examples, split);
            let trained = trainer(&train.examples(), Some(&validation.examples()), &recipe, &mut |_| {})?;
            let (best_epoch, metrics) = (trained.report.best_epoch, trained.report.validation);
            runs.push(ValidationRun { seed, fold: fold + 1, best_epoch, metrics });
        }
    }
    let spread = |figure: fn(&Metrics) -> f64| Spread::of(runs.iter().map(|run| figure(&run.metrics)));
    let found = CrossValidation {
        folds: folds.unwrap_or(1),
        repeats,
        accuracy: spread(|metrics| metrics.accuracy),
        balanced_accuracy: spread(|metrics| metrics.balanced_accuracy),
        macro_f1: spread(|metrics| metrics.macro_f1),
        log_loss: spread(|metrics| metrics.log_loss),
        runs,
    };
    terminal.say(&line(&found));
    Ok(Some(found))
}

/// Folds of a sweep where no other number is asked for.
const SWEEP_FOLDS: usize = 5;
/// Recipes of a sweep that are told.
const TOLD: usize = 5;

/// Tries what is around `recipe`, all at once; returns the best, and all of them, the best first.
pub(crate) fn sweep(
    examples: &Examples<'_>,
    recipe: &Recipe,
    options: &TrainOptions,
    sweeper: Sweeper,
    terminal: Terminal,
) -> Result<(Recipe, Option<Vec<Swept>>)> {
    let folds = head::folds(examples, options.folds.unwrap_or(SWEEP_FOLDS), recipe.seed)?;
    let groups = head::sweep_grid(recipe, options.hidden.is_some());
    let heads: usize = groups.iter().map(Vec::len).sum();
    terminal.say(&format!("sweep: {heads} recipes on {} folds ...", folds.len()));
    let mut all = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let mut progress = |epoch| {
            terminal.status(&format!("sweep: shape {} of {}, epoch {epoch}", number + 1, groups.len()));
        };
        all.extend(sweeper(examples, group, &folds, &mut progress)?);
    }
    all.sort_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
    for Swept { recipe, best_epoch, log_loss, .. } in all.iter().take(TOLD) {
        terminal.say(&format!(
            "sweep: log loss {log_loss:.4} at epoch {best_epoch:>3}: hidden {:?}, learning rate {}, weight decay {}, dropout {}",
            recipe.hidden, recipe.learning_rate, recipe.weight_decay, recipe.dropout
        ));
    }
    Ok((all[0].recipe.clone(), Some(all)))
}

/// What is told of it.
fn line(found: &CrossValidation) -> String {
    let many = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "cross-validation: accuracy {:.4} +- {:.4}, log loss {:.4} +- {:.4} ({}, {})",
        found.accuracy.mean,
        found.accuracy.deviation,
        found.log_loss.mean,
        found.log_loss.deviation,
        many(found.folds as u64, "fold"),
        many(found.repeats, "seed"),
    )
}
