//! Training a head on cached features with libtorch.
//!
//! The validation rows say when to stop. What is reported about a head is measured with the forward pass that will score,
//! not with libtorch's.

mod adamw;
mod all_reduce;
mod device;
mod libtorch;
mod network;
mod run;
mod shard;
mod side;
mod sweep;
mod whiten;

use sweep::sweep;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bertline::head::{
    Dense, EpochMetrics, Error, Examples, Head, HeldOut, Progress, Recipe, Result, Split, Step, Trained, Trainers,
    TrainingReport, evaluate, split,
};

use run::Run;
use side::Side;

/// Of the article's recipe an epoch of 20,000 rows takes 0.40 s with one thread and 0.23 s with two. A fixed number keeps
/// the bits the same.
const THREADS: usize = 2;

/// libtorch has one random generator a process; two trainings at once would draw from each other's.
static GENERATOR: Mutex<()> = Mutex::new(());

/// What trains on a GPU, or on the CPU.
///
/// # Errors
/// Where libtorch cannot compute on that GPU.
pub(crate) fn on(gpu: Option<u32>) -> Result<Trainers> {
    gpu.map_or(Ok(()), device::take_gpu)?;
    Ok(Trainers { train, sweep })
}

/// Trains a head. Without `validation` a stratified share of `examples` is split off by the recipe's seed; `progress` hears
/// of every epoch as it ends, those of a refit excepted. The same call on the same machine gives the same bytes.
///
/// # Errors
/// Where examples, validation set or recipe cannot be trained on as they are, the loss stops being a number, or
/// libtorch fails.
fn train(
    examples: &Examples<'_>,
    validation: Option<&Examples<'_>>,
    recipe: &Recipe,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Trained> {
    recipe.check()?;
    examples.check()?;
    let Sides { train, mut held_out, only_in_train } = Sides::new(examples, validation, recipe)?;

    let _generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(THREADS as i32);
    let train_rows = train.len();
    let Fitted { head, epochs, best_epoch } = fit(train, &mut held_out, recipe, progress)?;
    let (rows, probabilities) = (held_out.rows().collect(), probabilities(&held_out, &head)?);
    let labels: Vec<u32> = held_out.rows().map(|row| held_out.examples.labels[row]).collect();
    let report = TrainingReport {
        recipe: recipe.clone(),
        train_rows,
        validation_rows: labels.len(),
        epochs,
        best_epoch,
        validation: evaluate(&probabilities, &labels, head.classes()),
        only_in_train,
    };
    let held_out = HeldOut { rows, probabilities };
    if !recipe.refit || validation.is_some() {
        return Ok(Trained { head, report, held_out });
    }
    Ok(Trained { head: refit(examples, best_epoch, recipe, progress)?, report, held_out })
}

struct Fitted {
    head: Head,
    epochs: Vec<EpochMetrics>,
    best_epoch: usize,
}

/// Trains on one side until the other gets no better, and keeps the head that did best there.
fn fit(
    train: Side<'_>,
    held_out: &mut Side<'_>,
    recipe: &Recipe,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fitted> {
    let rows = train.len();
    let mut run = Run::new(train, recipe)?;
    run.prepare(held_out)?;
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut best: Option<(usize, f64, Head)> = None;
    for epoch in 1..=recipe.epochs {
        let started = Instant::now();
        let step = Step { refit: false, epoch, epochs: recipe.epochs, rows_done: 0, rows };
        let train_loss = run.epoch(epoch, &mut |rows_done| progress(Progress::Step(Step { rows_done, ..step })))?;
        let (validation_loss, validation_accuracy) = run.validate(held_out)?;
        if !validation_loss.is_finite() {
            return Err(Error::Diverged { epoch, learning_rate: recipe.learning_rate });
        }
        let seconds = started.elapsed().as_secs_f64();
        epochs.push(EpochMetrics { epoch, train_loss, validation_loss, validation_accuracy, seconds });
        progress(Progress::Epoch(&epochs[epoch - 1]));
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
fn refit(
    examples: &Examples<'_>,
    best_epoch: usize,
    recipe: &Recipe,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Head> {
    let all: Vec<usize> = (0..examples.labels.len()).collect();
    let mut run = Run::new(Side::of(examples, &all), recipe)?;
    let epochs = if recipe.anneal { 2 * best_epoch } else { best_epoch };
    if recipe.anneal {
        run.fall_over(epochs);
    }
    for epoch in 1..=epochs {
        let step = Step { refit: true, epoch, epochs, rows_done: 0, rows: all.len() };
        run.epoch(epoch, &mut |rows_done| progress(Progress::Step(Step { rows_done, ..step })))?;
    }
    run.head()
}

/// A head's answers to the rows of a side, in its order.
fn probabilities(side: &Side<'_>, head: &Head) -> Result<Vec<f32>> {
    let mut probabilities = Vec::with_capacity(side.len() * head.classes());
    side.each_step(&mut |values| {
        probabilities.extend(head.probabilities(values));
        Ok(())
    })?;
    Ok(probabilities)
}

/// Which rows are trained on and which are held out, and of which examples.
struct Sides<'a> {
    train: Side<'a>,
    held_out: Side<'a>,
    only_in_train: Vec<u32>,
}

impl<'a> Sides<'a> {
    fn new(examples: &'a Examples<'a>, validation: Option<&'a Examples<'a>>, recipe: &Recipe) -> Result<Self> {
        let Some(held_out) = validation else {
            let Split { train, validation, only_in_train } = split(examples, recipe)?;
            let (train, held_out) = (Side::of(examples, &train), Side::of(examples, &validation));
            return Ok(Self { train, held_out, only_in_train });
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
        let side = |examples: &'a Examples<'a>| {
            let rows: Vec<usize> = (0..examples.labels.len()).collect();
            Side::of(examples, &rows)
        };
        Ok(Self { train: side(examples), held_out: side(held_out), only_in_train: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::noise::noise;
    use bertline::head::{InMemory, Overrides, Vectors};

    const WIDTH: usize = 12;

    /// No text more than once.
    pub(super) fn examples<'a>(features: &'a [f32], labels: &'a [u32], classes: usize) -> Examples<'a> {
        let texts: Vec<u32> = (0..labels.len() as u32).collect();
        let features = Box::leak(Box::new(InMemory(features)));
        Examples { features, width: WIDTH, labels, classes, texts: texts.leak() }
    }

    /// The same vectors in parts, of which few may be in memory.
    struct InParts<'a> {
        values: &'a [f32],
        rows: usize,
        window: usize,
    }

    impl Vectors for InParts<'_> {
        fn parts(&self) -> usize {
            (self.values.len() / WIDTH).div_ceil(self.rows)
        }

        fn place(&self, row: usize) -> (usize, usize) {
            (row / self.rows, row % self.rows)
        }

        fn read(&self, part: usize) -> Result<Cow<'_, [f32]>> {
            let rest = &self.values[part * self.rows * WIDTH..];
            Ok(Cow::Borrowed(&rest[..rest.len().min(self.rows * WIDTH)]))
        }

        fn window(&self) -> usize {
            self.window
        }
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
    fn vectors_that_come_in_windows_train_a_head_as_good() {
        let (features, labels) = blobs(600, 3);
        let in_memory = examples(&features, &labels, 3);
        // Small batches: a window's last one is often short, and would be most of what there is otherwise.
        let recipe = Recipe { batch_size: 10, ..Recipe::default_() };
        let whole = train(&in_memory, None, &recipe, &mut |_| {}).unwrap();
        for window in [50, 200] {
            let parts = InParts { values: &features, rows: 50, window };
            let streamed = Examples { features: &parts, ..in_memory };
            let mut most = 0;
            let trained = train(&streamed, None, &recipe, &mut |progress| {
                if let Progress::Step(step) = progress {
                    assert!(step.rows_done <= step.rows && step.epoch <= step.epochs);
                    most = most.max(step.rows_done);
                }
            });
            let trained = trained.unwrap();
            assert_eq!(most, 600, "the refit sees every row");
            assert_eq!(trained.held_out.rows.len(), 120);
            let (ours, theirs) = (trained.report.validation.log_loss, whole.report.validation.log_loss);
            assert!((ours - theirs).abs() < 0.02, "{ours} is not {theirs}");
            let again = train(&streamed, None, &recipe, &mut |_| {}).unwrap();
            assert_eq!(again.head, trained.head);
        }
        // One window that holds all is the whole in memory, to the bit.
        let parts = InParts { values: &features, rows: 600, window: 600 };
        let one = train(&Examples { features: &parts, ..in_memory }, None, &recipe, &mut |_| {}).unwrap();
        assert_eq!(one.head, whole.head);
    }

    #[test]
    fn a_validation_set_is_used_as_it_is() {
        let (features, labels) = blobs(300, 3);
        let examples = self::examples(&features, &labels, 3);
        let held_out = self::examples(&features[..60 * WIDTH], &labels[..60], 3);
        let mut heard = 0;
        let recipe = Recipe { epochs: 4, ..Recipe::default_() };
        let trained = train(&examples, Some(&held_out), &recipe, &mut |progress| {
            heard += usize::from(matches!(progress, Progress::Epoch(_)));
        });
        let trained = trained.unwrap();
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
        let short = examples(&features[WIDTH..], &labels, 2);
        assert!(matches!(refused(&short, None), Error::FeatureShape { .. }));
        let mut holed = features.clone();
        holed[5 * WIDTH + 3] = f32::NAN;
        let broken = examples(&holed, &labels, 2);
        assert!(matches!(refused(&broken, None), Error::NotFinite { row: 5, column: 3 }));
    }
}
