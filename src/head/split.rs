//! The stratified split of labelled rows into training and validation, once or in folds.
//!
//! Of rows it is scikit-learn's `train_test_split(rows, test_size=fraction, random_state=seed, stratify=labels)`, index for index
//! and in its order, so that a head trained here and one trained in Python see the same rows. Of texts it is
//! the same for distinct texts, each with the label that most of its rows have: what a head is judged by, it has not seen.

use std::collections::BTreeMap;

use super::numpy_random::RandomState;
use super::{Error, Examples, Recipe, Result, SplitBy};

/// Row indices of the two sides; every row is on exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on, in scikit-learn's order; rows of `only_in_train` classes come last.
    pub train: Vec<usize>,
    /// Rows to validate on, in scikit-learn's order.
    pub validation: Vec<usize>,
    /// Classes with a single example, which scikit-learn refuses: here their row is trained on and never validated.
    pub only_in_train: Vec<u32>,
}

/// Splits rows so that each class has the same share on both sides.
///
/// # Errors
/// Where `val_fraction` is not strictly between 0 and 1, `seed` does not fit NumPy's 32 bits, fewer than two classes
/// have two examples, or a side is too small to hold every class.
pub(super) fn stratified_split(labels: &[u32], classes: usize, val_fraction: f64, seed: u64) -> Result<Split> {
    if !(val_fraction > 0.0 && val_fraction < 1.0) {
        let expected = "above 0 and below 1";
        return Err(Error::RecipeValue { name: "--val-fraction", value: val_fraction.to_string(), expected });
    }
    let seed = seed_of(seed)?;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (row, &label) in labels.iter().enumerate() {
        members.get_mut(label as usize).ok_or(Error::LabelRange { row, label, classes })?.push(row);
    }
    let alone: Vec<u32> =
        members.iter().enumerate().filter(|(_, rows)| rows.len() == 1).map(|(class, _)| class as u32).collect();
    let mut alone_rows: Vec<usize> = alone.iter().map(|&class| members[class as usize][0]).collect();
    alone_rows.sort_unstable();
    members.retain(|rows| rows.len() > 1);
    if members.len() < 2 {
        return Err(Error::TooFewClasses { rows: labels.len(), found: members.len() });
    }

    let rows = labels.len() - alone_rows.len();
    let validation_rows = (val_fraction * rows as f64).ceil() as usize;
    let train_rows = rows - validation_rows;
    if train_rows < members.len() || validation_rows < members.len() {
        return Err(Error::SplitTooSmall {
            fraction: val_fraction,
            train: train_rows,
            validation: validation_rows,
            classes: members.len(),
        });
    }
    let (mut train, validation) = draw(&members, train_rows, validation_rows, RandomState::new(seed));
    train.extend(alone_rows);
    Ok(Split { train, validation, only_in_train: alone })
}

/// Splits examples as the recipe says.
///
/// # Errors
/// As [`stratified_split`], of rows or of texts.
pub fn split(examples: &Examples<'_>, recipe: &Recipe) -> Result<Split> {
    let (fraction, seed) = (recipe.val_fraction, recipe.seed);
    if recipe.split == SplitBy::Rows {
        return stratified_split(examples.labels, examples.classes, fraction, seed);
    }
    let texts = Texts::of(examples);
    let split = stratified_split(&texts.labels, examples.classes, fraction, seed)?;
    Ok(Split { train: texts.rows(&split.train), validation: texts.rows(&split.validation), ..split })
}

/// Splits examples into `count` folds of texts, each class spread evenly over them: in each of the splits another fold
/// is validated on, and every row is validated on once.
///
/// # Errors
/// Where `count` is below 2, or fewer than two classes have so many texts.
pub fn folds(examples: &Examples<'_>, count: usize, seed: u64) -> Result<Vec<Split>> {
    let seed = seed_of(seed)?;
    let texts = Texts::of(examples);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); examples.classes];
    for (text, &label) in texts.labels.iter().enumerate() {
        members[label as usize].push(text);
    }
    let common = members.iter().filter(|texts| texts.len() >= count).count();
    if count < 2 || common < 2 {
        let expected = "at least 2, and at most the number of texts of the second largest class";
        return Err(Error::RecipeValue { name: "--folds", value: count.to_string(), expected });
    }
    let mut random = RandomState::new(seed);
    let mut fold_of = vec![0; texts.labels.len()];
    let mut next = 0;
    for members in &members {
        for place in random.permutation(members.len()) {
            fold_of[members[place]] = next % count;
            next += 1;
        }
    }
    let side = |fold: usize, held_out: bool| -> Vec<usize> {
        (0..fold_of.len()).filter(|text| (fold_of[*text] == fold) == held_out).collect()
    };
    let split = |fold| Split {
        train: texts.rows(&side(fold, false)),
        validation: texts.rows(&side(fold, true)),
        only_in_train: Vec::new(),
    };
    Ok((0..count).map(split).collect())
}

/// The distinct texts of examples: their rows, and the label that most of these have (the first of equals).
struct Texts {
    members: Vec<Vec<usize>>,
    labels: Vec<u32>,
}

impl Texts {
    fn of(examples: &Examples<'_>) -> Texts {
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (row, text) in examples.texts.iter().enumerate() {
            let place = *places.entry(*text).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[place].push(row);
        }
        let usual = |rows: &Vec<usize>| {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            rows.iter().for_each(|row| *counts.entry(examples.labels[*row]).or_default() += 1);
            let most = counts.iter().max_by_key(|(label, count)| (**count, std::cmp::Reverse(**label)));
            most.map_or(0, |(label, _)| *label)
        };
        let labels = members.iter().map(usual).collect();
        Texts { members, labels }
    }

    fn rows(&self, texts: &[usize]) -> Vec<usize> {
        texts.iter().flat_map(|text| &self.members[*text]).copied().collect()
    }
}

fn seed_of(seed: u64) -> Result<u32> {
    let refuse =
        |_| Error::RecipeValue { name: "--seed", value: seed.to_string(), expected: "at most 4294967295, as in NumPy" };
    u32::try_from(seed).map_err(refuse)
}

/// `StratifiedShuffleSplit._iter_indices`, one round of it.
fn draw(
    members: &[Vec<usize>],
    train_rows: usize,
    validation_rows: usize,
    mut random: RandomState,
) -> (Vec<usize>, Vec<usize>) {
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let train_counts = approximate_mode(&counts, train_rows, &mut random);
    let remaining: Vec<usize> = counts.iter().zip(&train_counts).map(|(count, taken)| count - taken).collect();
    let validation_counts = approximate_mode(&remaining, validation_rows, &mut random);
    let (mut train, mut validation) = (Vec::with_capacity(train_rows), Vec::with_capacity(validation_rows));
    for (class, rows) in members.iter().enumerate() {
        let order = random.permutation(rows.len());
        let (head, tail) = order.split_at(train_counts[class]);
        train.extend(head.iter().map(|&index| rows[index]));
        validation.extend(tail[..validation_counts[class]].iter().map(|&index| rows[index]));
    }
    random.shuffle(&mut train);
    random.shuffle(&mut validation);
    (train, validation)
}

/// How many of each class to draw so that `draws` keeps their shares, ties broken at random
/// (`sklearn.utils.extmath._approximate_mode`, in its order of floating-point operations).
fn approximate_mode(counts: &[usize], draws: usize, random: &mut RandomState) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let exact: Vec<f64> = counts.iter().map(|&count| count as f64 / total as f64 * draws as f64).collect();
    let mut taken: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
    let mut missing = draws - taken.iter().sum::<usize>();
    let remainders: Vec<f64> = exact.iter().map(|share| share - share.floor()).collect();
    let mut values = remainders.clone();
    values.sort_by(|a, b| b.total_cmp(a));
    values.dedup();
    for value in values {
        if missing == 0 {
            break;
        }
        let tied: Vec<usize> = (0..remainders.len()).filter(|&class| remainders[class] == value).collect();
        let now = tied.len().min(missing);
        for &choice in &random.permutation(tied.len())[..now] {
            taken[tied[choice]] += 1;
        }
        missing -= now;
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::InMemory;
    use super::*;

    /// Labels by a formula, as the Python script that gave the expected sums made them.
    fn labels(rows: u64, classes: u64) -> Vec<u32> {
        (0..rows).map(|i| ((i * i * 31 + i / 7) % classes) as u32).collect()
    }

    fn weighted_sum(rows: &[usize]) -> u64 {
        rows.iter().enumerate().map(|(position, &row)| row as u64 * (position as u64 + 1)).sum::<u64>() % 1_000_003
    }

    #[test]
    fn small_splits_equal_scikit_learns() {
        let split = stratified_split(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0], 2, 0.2, 42).unwrap();
        assert_eq!(split.train, [0, 1, 3, 2, 5, 10, 12, 4, 8, 7]);
        assert_eq!(split.validation, [6, 9, 11]);

        let split = stratified_split(&[0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 1, 0, 0, 2, 1, 1, 0], 3, 0.3, 7).unwrap();
        assert_eq!(split.train, [10, 15, 16, 9, 14, 13, 0, 2, 8, 6, 11]);
        assert_eq!(split.validation, [4, 5, 12, 3, 7, 1]);

        // Every class ties with every other.
        let split = stratified_split(&[2, 2, 1, 1, 0, 0, 3, 3], 4, 0.5, 0).unwrap();
        assert_eq!(split.train, [5, 0, 2, 7]);
        assert_eq!(split.validation, [6, 4, 1, 3]);
    }

    #[test]
    fn large_splits_equal_scikit_learns() {
        for (rows, classes, fraction, seed, sizes, firsts, sums) in [
            (25_000, 2, 0.2, 42, (20_000, 5_000), (11_672, 23_288), (122_981, 598_674)),
            (14_640, 3, 0.2, 42, (11_712, 2_928), (6_322, 13_590), (491_500, 374_003)),
            (1_003, 7, 0.15, 123_456_789, (852, 151), (211, 803), (137_243, 757_693)),
        ] {
            let split = stratified_split(&labels(rows, classes), classes as usize, fraction, seed).unwrap();
            assert_eq!((split.train.len(), split.validation.len()), sizes);
            assert_eq!((split.train[0], split.validation[0]), firsts);
            assert_eq!((weighted_sum(&split.train), weighted_sum(&split.validation)), sums);
        }
    }

    #[test]
    fn a_class_of_one_is_trained_on_and_named() {
        let split = stratified_split(&[0, 1, 2, 0, 1, 0, 1, 0, 1], 4, 0.25, 42).unwrap();
        assert_eq!(split.only_in_train, [2]);
        assert_eq!(split.train.last(), Some(&2));
        let mut all: Vec<usize> = split.train.iter().chain(&split.validation).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
    }

    /// Rows whose vectors nobody looks at.
    fn examples<'a>(labels: &'a [u32], texts: &'a [u32]) -> Examples<'a> {
        Examples { features: &InMemory(&[]), width: 1, labels, classes: 3, texts }
    }

    proptest! {
        #[test]
        fn a_text_is_on_one_side_and_every_row_on_exactly_one(
            rows in prop::collection::vec((0u32..3, 0u32..40), 60..200),
            seed in 0u64..1000,
            count in 2usize..5,
        ) {
            let (labels, texts): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
            let examples = examples(&labels, &texts);
            let recipe = Recipe { seed, ..Recipe::default_() };
            let Ok(once) = split(&examples, &recipe) else { return Ok(()) };
            let Ok(in_folds) = folds(&examples, count, seed) else { return Ok(()) };
            let mut validated: Vec<usize> = Vec::new();
            for found in in_folds.iter().chain([&once]) {
                let of = |rows: &[usize]| rows.iter().map(|row| texts[*row]).collect::<BTreeSet<_>>();
                prop_assert!(of(&found.train).is_disjoint(&of(&found.validation)));
                let mut all: Vec<usize> = found.train.iter().chain(&found.validation).copied().collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            }
            in_folds.iter().for_each(|found| validated.extend(&found.validation));
            validated.sort_unstable();
            prop_assert_eq!(validated, (0..labels.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn distinct_texts_are_split_as_rows_are_and_folds_share_classes_evenly() {
        let labels = labels(300, 3);
        let texts: Vec<u32> = (0..300).collect();
        let examples = examples(&labels, &texts);
        let by_texts = split(&examples, &Recipe::default_()).unwrap();
        assert_eq!(by_texts, stratified_split(&labels, 3, 0.2, 42).unwrap());
        for found in folds(&examples, 4, 42).unwrap() {
            for class in 0..3 {
                let share = |rows: &[usize]| rows.iter().filter(|row| labels[**row] == class).count();
                assert!(share(&found.validation).abs_diff(share(&found.train) / 3) <= 1);
            }
        }
        for count in [0, 1, 200] {
            assert!(folds(&examples, count, 42).unwrap_err().to_string().contains("--folds"));
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let usage = |result: Result<Split>| result.unwrap_err().is_usage();
        assert!(usage(stratified_split(&[0, 0, 1, 1], 2, 0.0, 1)));
        assert!(usage(stratified_split(&[0, 0, 1, 1], 2, f64::NAN, 1)));
        assert!(usage(stratified_split(&[0, 0, 1, 1], 2, 0.5, 1 << 32)));
        assert!(matches!(stratified_split(&[0, 0, 1, 1], 2, 0.2, 1), Err(Error::SplitTooSmall { validation: 1, .. })));
        assert!(matches!(stratified_split(&[0, 0, 0, 1], 2, 0.5, 1), Err(Error::TooFewClasses { found: 1, .. })));
        assert!(matches!(stratified_split(&[0, 5], 2, 0.5, 1), Err(Error::LabelRange { row: 1, .. })));
    }
}
