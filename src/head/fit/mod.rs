//! Training a head on cached features with libtorch.
//!
//! The validation rows say when to stop. What is reported about a head is measured with the forward pass that will score,
//! not with libtorch's.
//!
//! This folder is part of the binary `bertline-train`, not of the library: whatever names `tch` is linked to libtorch, and
//! scoring must run where libtorch is not.

mod network;
#[cfg(test)]
#[path = "../noise.rs"]
mod noise;
mod run;
mod sweep;
mod whiten;

pub(crate) use sweep::sweep;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bertline::head::{
    Dense, EpochMetrics, Error, Examples, Head, HeldOut, Metrics, Recipe, Result, Trained, TrainingReport, evaluate,
    split,
};

use run::Run;

/// A step is a millisecond of small matrices: handing half of it to another thread costs more than it saves (on two busy
/// cores, two threads took twice the time of one), and a fixed number keeps the bits the same.
const THREADS: i32 = 1;

/// libtorch has one random generator a process; two trainings at once would draw from each other's.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Trains a head. Without `validation` a stratified share of `examples` is split off by the recipe's seed; `on_epoch`
/// hears of every epoch as it ends, those of a refit excepted. The same call on the same machine gives the same bytes.
///
/// # Errors
/// Where examples, validation set or recipe cannot be trained on as they are, the loss stops being a number, or
/// libtorch fails.
pub(crate) fn train(
    examples: &Examples<'_>,
    validation: Option<&Examples<'_>>,
    recipe: &Recipe,
    on_epoch: &mut dyn FnMut(&EpochMetrics),
) -> Result<Trained> {
    recipe.check()?;
    examples.check()?;
    let sides = Sides::new(examples, validation, recipe)?;

    let _generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(THREADS);
    let Fitted { head, epochs, best_epoch } = fit(examples, &sides, recipe, on_epoch)?;
    let probabilities = sides.probabilities(&head);
    let report = TrainingReport {
        recipe: recipe.clone(),
        train_rows: sides.train.len(),
        validation_rows: sides.validation.len(),
        epochs,
        best_epoch,
        validation: sides.measure(&probabilities, head.classes()),
        only_in_train: sides.only_in_train,
    };
    let held_out = HeldOut { rows: sides.validation, probabilities };
    if !recipe.refit || validation.is_some() {
        return Ok(Trained { head, report, held_out });
    }
    let all: Vec<usize> = (0..examples.labels.len()).collect();
    Ok(Trained { head: refit(examples, &all, best_epoch, recipe)?, report, held_out })
}

struct Fitted {
    head: Head,
    epochs: Vec<EpochMetrics>,
    best_epoch: usize,
}

/// Trains on one side until the other gets no better, and keeps the head that did best there.
fn fit(
    examples: &Examples<'_>,
    sides: &Sides<'_>,
    recipe: &Recipe,
    on_epoch: &mut dyn FnMut(&EpochMetrics),
) -> Result<Fitted> {
    let mut run = Run::new(examples, &sides.train, recipe)?;
    let held_out = run.rows(sides.held_out, &sides.validation)?;
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut best: Option<(usize, f64, Head)> = None;
    for epoch in 1..=recipe.epochs {
        let started = Instant::now();
        let train_loss = run.epoch(epoch)?;
        let (validation_loss, validation_accuracy) = run.validate(&held_out)?;
        if !validation_loss.is_finite() {
            return Err(Error::Diverged { epoch, learning_rate: recipe.learning_rate });
        }
        let seconds = started.elapsed().as_secs_f64();
        epochs.push(EpochMetrics { epoch, train_loss, validation_loss, validation_accuracy, seconds });
        on_epoch(&epochs[epoch - 1]);
        if best.as_ref().is_none_or(|(_, loss, _)| validation_loss < *loss) {
            best = Some((epoch, validation_loss, run.head()?));
        }
        let since_best = best.as_ref().map_or(0, |(best_epoch, ..)| epoch - best_epoch);
        if recipe.patience.is_some_and(|patience| since_best >= patience) {
            break;
        }
    }
    let (best_epoch, _, head) = best.expect("a checked recipe has an epoch, else this is a bug");
    Ok(Fitted { head, epochs, best_epoch })
}

/// Trains on all rows for a number of epochs that is known to be good.
fn refit(examples: &Examples<'_>, rows: &[usize], epochs: usize, recipe: &Recipe) -> Result<Head> {
    let mut run = Run::new(examples, rows, recipe)?;
    for epoch in 1..=epochs {
        run.epoch(epoch)?;
    }
    run.head()
}

/// Which rows are trained on and which are held out, and of which examples.
struct Sides<'a> {
    train: Vec<usize>,
    held_out: &'a Examples<'a>,
    validation: Vec<usize>,
    only_in_train: Vec<u32>,
}

impl<'a> Sides<'a> {
    fn new(examples: &'a Examples<'a>, validation: Option<&'a Examples<'a>>, recipe: &Recipe) -> Result<Self> {
        let Some(held_out) = validation else {
            let split = split(examples, recipe)?;
            let (train, validation, only_in_train) = (split.train, split.validation, split.only_in_train);
            return Ok(Self { train, held_out: examples, validation, only_in_train });
        };
        if (held_out.width, held_out.classes) != (examples.width, examples.classes) {
            return Err(Error::ValidationMismatch {
                width: held_out.width,
                classes: held_out.classes,
                expected_width: examples.width,
                expected_classes: examples.classes,
            });
        }
        held_out.check()?;
        if held_out.labels.is_empty() {
            return Err(Error::EmptyValidation);
        }
        let rows = examples.labels.len();
        if examples.labels.iter().all(|label| Some(label) == examples.labels.first()) {
            return Err(Error::TooFewClasses { rows, found: usize::from(rows > 1) });
        }
        let validation = (0..held_out.labels.len()).collect();
        Ok(Self { train: (0..rows).collect(), held_out, validation, only_in_train: Vec::new() })
    }

    fn probabilities(&self, head: &Head) -> Vec<f32> {
        let width = self.held_out.width;
        let mut probabilities = Vec::with_capacity(self.validation.len() * head.classes());
        for rows in self.validation.chunks(256) {
            let features: Vec<f32> =
                rows.iter().flat_map(|row| &self.held_out.features[row * width..][..width]).copied().collect();
            probabilities.extend(head.probabilities(&features));
        }
        probabilities
    }

    fn measure(&self, probabilities: &[f32], classes: usize) -> Metrics {
        let labels: Vec<u32> = self.validation.iter().map(|&row| self.held_out.labels[row]).collect();
        evaluate(probabilities, &labels, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::noise::noise;
    use super::*;
    use bertline::head::Overrides;

    const WIDTH: usize = 12;

    /// No text more than once.
    pub(super) fn examples<'a>(features: &'a [f32], labels: &'a [u32], classes: usize) -> Examples<'a> {
        let texts: Vec<u32> = (0..labels.len() as u32).collect();
        Examples { features, width: WIDTH, labels, classes, texts: texts.leak() }
    }

    /// Rows around one centre a class, far enough apart to be told from one another.
    pub(super) fn blobs(rows: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
        let centres = noise(classes * WIDTH, 77);
        let labels: Vec<u32> = (0..rows).map(|row| (row * 7 % 13 % classes) as u32).collect();
        let mut features = noise(rows * WIDTH, 3);
        for (row, label) in features.chunks_exact_mut(WIDTH).zip(&labels) {
            let centre = &centres[*label as usize * WIDTH..][..WIDTH];
            row.iter_mut().zip(centre).for_each(|(value, centre)| *value = 0.5 * *value + 2.0 * centre);
        }
        (features, labels)
    }

    fn fit(rows: usize, classes: usize, recipe: &Recipe) -> Result<Trained> {
        let (features, labels) = blobs(rows, classes);
        train(&examples(&features, &labels, classes), None, recipe, &mut |_| {})
    }

    #[test]
    fn separable_classes_are_told_apart() {
        for classes in [2, 3] {
            let hidden = Overrides { learning_rate: Some(3e-3), epochs: Some(20), ..Overrides::default() };
            for recipe in [Recipe::default_(), Recipe::article().with(hidden).unwrap()] {
                let trained = fit(400, classes, &recipe).unwrap();
                let report = &trained.report;
                assert!(report.validation.accuracy > 0.95, "{classes} classes: {:?}", report.validation);
                assert_eq!((report.train_rows, report.validation_rows), (320, 80));
                let best = &report.epochs[report.best_epoch - 1];
                assert!(report.epochs.iter().all(|epoch| epoch.validation_loss >= best.validation_loss));
                assert!((best.validation_loss - report.validation.log_loss).abs() < 1e-4);
                assert_eq!(best.validation_accuracy, report.validation.accuracy);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        let recipe = Recipe { epochs: 3, ..Recipe::article() };
        let first = fit(200, 2, &recipe).unwrap();
        assert_eq!(first.head, fit(200, 2, &recipe).unwrap().head);
        assert_ne!(first.head, fit(200, 2, &Recipe { seed: 43, ..recipe }).unwrap().head);
    }

    #[test]
    fn a_validation_set_is_used_as_it_is() {
        let (features, labels) = blobs(300, 3);
        let examples = self::examples(&features, &labels, 3);
        let held_out = self::examples(&features[..60 * WIDTH], &labels[..60], 3);
        let mut heard = 0;
        let recipe = Recipe { epochs: 4, ..Recipe::default_() };
        let trained = train(&examples, Some(&held_out), &recipe, &mut |_| heard += 1).unwrap();
        assert_eq!((trained.report.train_rows, trained.report.validation_rows, heard), (300, 60, 4));
        let other = Examples { classes: 4, ..held_out };
        let error = train(&examples, Some(&other), &recipe, &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::ValidationMismatch { classes: 4, .. }) && error.is_usage());
    }

    #[test]
    fn training_stops_when_nothing_gets_better() {
        let (features, _) = blobs(200, 2);
        // Labels that the features say nothing about.
        let labels: Vec<u32> = noise(200, 5).iter().map(|value| u32::from(*value > 0.0)).collect();
        let examples = self::examples(&features, &labels, 2);
        let recipe = Recipe { patience: Some(2), epochs: 200, learning_rate: 0.05, ..Recipe::default_() };
        let report = train(&examples, None, &recipe, &mut |_| {}).unwrap().report;
        assert!(report.epochs.len() == report.best_epoch + 2 && report.epochs.len() < 200, "{}", report.epochs.len());
    }

    #[test]
    fn what_cannot_be_trained_on_is_refused() {
        let (features, labels) = blobs(40, 2);
        let one_class = examples(&features, &[0; 40], 1);
        let recipe = Recipe::default_();
        let refused =
            |examples: &Examples<'_>, validation| train(examples, validation, &recipe, &mut |_| {}).unwrap_err();
        assert!(matches!(refused(&one_class, None), Error::TooFewClasses { found: 1, .. }));
        assert!(matches!(refused(&one_class, Some(&one_class)), Error::TooFewClasses { .. }));
        let short = examples(&features[1..], &labels, 2);
        assert!(matches!(refused(&short, None), Error::FeatureShape { .. }));
        let mut holed = features.clone();
        holed[5 * WIDTH + 3] = f32::NAN;
        let broken = examples(&holed, &labels, 2);
        assert!(matches!(refused(&broken, None), Error::NotFinite { row: 5, column: 3 }));
    }
}
