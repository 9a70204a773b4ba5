//! Labelled rows of `embed` outputs as a trainer takes them, and what is odd about their texts.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::cache::{FeatureSet, Key, RecordedRun};
use crate::evaluate::RowOrigin;
use crate::head::{self, Examples, Split, Vectors};
use crate::report::TextHygiene;

/// The rows of a feature set that have a label.
pub(crate) struct LabelledRows<'a> {
    set: &'a FeatureSet,
    /// Where each row is among those of the set.
    places: Vec<usize>,
    classes: Vec<u32>,
    texts: Vec<u32>,
    n_classes: usize,
    /// How many vectors may be in memory at a time.
    window: usize,
}

impl<'a> LabelledRows<'a> {
    /// Rows without a label are left out; the error is a label that is not among `labels` (which are sorted).
    pub(crate) fn of(set: &'a FeatureSet, labels: &[String], window: usize) -> Result<LabelledRows<'a>, String> {
        let mut found = LabelledRows {
            set,
            places: Vec::new(),
            classes: Vec::new(),
            texts: Vec::new(),
            n_classes: labels.len(),
            window,
        };
        let mut numbers: HashMap<Key, u32> = HashMap::new();
        for (place, row) in set.rows.iter().enumerate() {
            let Some(label) = &row.label else { continue };
            found.classes.push(labels.binary_search(label).map_err(|_| label.clone())? as u32);
            found.places.push(place);
            let next = numbers.len() as u32;
            found.texts.push(*numbers.entry(set.key(row)).or_insert(next));
        }
        Ok(found)
    }

    pub(crate) fn examples(&self) -> Examples<'_> {
        Examples {
            features: self,
            width: self.set.vectors.width(),
            labels: &self.classes,
            classes: self.n_classes,
            texts: &self.texts,
        }
    }

    /// Where a row came from.
    pub(crate) fn place(&self, row: usize) -> RowOrigin {
        let row = &self.set.rows[self.places[row]];
        let tokens = Some(self.set.tokens[row.vector as usize]);
        RowOrigin { source_file: Arc::clone(&row.source_file), row: row.row, tokens }
    }

    /// The run that made the features.
    pub(crate) fn run(&self) -> &RecordedRun {
        &self.set.run
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// The class of each row.
    pub(crate) fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// What is odd, `validation` being the set that a head trained on these rows is to be judged by.
    pub(crate) fn hygiene(&self, validation: Option<&LabelledRows<'_>>) -> TextHygiene {
        let mut labels: HashMap<u32, u32> = HashMap::new();
        let mut conflicting = HashSet::new();
        for (text, class) in self.texts.iter().zip(&self.classes) {
            if *labels.entry(*text).or_insert(*class) != *class {
                conflicting.insert(*text);
            }
        }
        let leaked = validation.map_or(0, |validation| {
            let known: HashSet<Key> = self.keys().collect();
            validation.keys().filter(|key| known.contains(key)).count()
        });
        TextHygiene {
            duplicate_rows: self.len() - labels.len(),
            texts_with_several_labels: conflicting.len(),
            leaked_rows: leaked,
        }
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.places.iter().map(|place| self.set.key(&self.set.rows[*place]))
    }
}

impl Vectors for LabelledRows<'_> {
    fn parts(&self) -> usize {
        self.set.vectors.parts()
    }

    fn place(&self, row: usize) -> (usize, usize) {
        self.set.vectors.place(self.set.rows[self.places[row]].vector as usize)
    }

    fn read(&self, part: usize) -> head::Result<Cow<'_, [f32]>> {
        self.set.vectors.read(part).map_err(|error| head::Error::Vectors(Box::new(error)))
    }

    fn window(&self) -> usize {
        self.window
    }
}

/// Some of the rows of examples.
pub(crate) struct Subset<'a> {
    examples: &'a Examples<'a>,
    rows: &'a [usize],
    labels: Vec<u32>,
    texts: Vec<u32>,
}

impl<'a> Subset<'a> {
    /// The two sides of a split.
    pub(crate) fn sides(examples: &'a Examples<'a>, split: &'a Split) -> [Subset<'a>; 2] {
        [&split.train, &split.validation].map(|rows| Subset {
            examples,
            rows,
            labels: rows.iter().map(|row| examples.labels[*row]).collect(),
            texts: rows.iter().map(|row| examples.texts[*row]).collect(),
        })
    }

    pub(crate) fn examples(&self) -> Examples<'_> {
        let Examples { width, classes, .. } = *self.examples;
        Examples { features: self, width, labels: &self.labels, classes, texts: &self.texts }
    }
}

impl Vectors for Subset<'_> {
    fn parts(&self) -> usize {
        self.examples.features.parts()
    }

    fn place(&self, row: usize) -> (usize, usize) {
        self.examples.features.place(self.rows[row])
    }

    fn read(&self, part: usize) -> head::Result<Cow<'_, [f32]>> {
        self.examples.features.read(part)
    }

    fn window(&self) -> usize {
        self.examples.features.window()
    }
}
