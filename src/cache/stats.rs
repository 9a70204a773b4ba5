//! What a unit did and cost: rows, tokens, seconds.
//!
//! A new figure is one line here and one place that fills it: whatever goes over all of them is made from these lines.

use serde::{Deserialize, Serialize};

use crate::schema::RejectCounts;

/// What is summed over units.
trait Figure: Clone {
    /// Adds that of another unit.
    fn add(&mut self, other: &Self);

    /// What stays of it where the unit's rows count no longer.
    fn work(&self) -> Self {
        self.clone()
    }
}

impl Figure for u64 {
    fn add(&mut self, other: &u64) {
        *self += other;
    }
}

impl Figure for f64 {
    fn add(&mut self, other: &f64) {
        *self += other;
    }
}

impl Figure for RejectCounts {
    fn add(&mut self, other: &RejectCounts) {
        self.merge(other);
    }
}

/// Declares figures. The word behind each says what it is of: `rows`, which count only as long as their unit does, or
/// `work`, which has been done whatever becomes of them.
macro_rules! figures {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$what:meta])* pub $field:ident: $kind:ty => $of:ident,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$what])* pub $field: $kind,)*
        }

        impl Figure for $name {
            fn add(&mut self, other: &$name) {
                $(Figure::add(&mut self.$field, &other.$field);)*
            }

            fn work(&self) -> $name {
                $name { $($field: figures!(@$of self.$field),)* }
            }
        }
    };
    (@work $figure:expr) => { Figure::work(&$figure) };
    (@rows $figure:expr) => { Default::default() };
}

figures! {
    /// Seconds of work by its kind. Units overlap, so that the sum may be more than the wall time.
    #[derive(Copy)]
    pub struct StageSeconds {
        /// Reading, unpacking and parsing the input.
        pub read: f64 => work,
        /// Tokenizing.
        pub tokenize: f64 => work,
        /// Sessions running, the mean over them: the device's time, where that is a GPU.
        pub encode: f64 => work,
        /// Writing parts, fsync included.
        pub write: f64 => work,
        /// Micro-batches waiting for a session, summed over them: next to nothing where the encoder starves.
        pub queue: f64 => work,
    }
}

figures! {
    /// What a unit did and cost; sums over units are the totals of `run.json`.
    pub struct UnitStats {
        /// Rows that went on to the stage's main dataset.
        pub rows_out: u64 => rows,
        /// Rows that went to `rejects`.
        pub rows_rejected: u64 => rows,
        /// Rows (inside `rows_out`) whose text had been encoded already.
        pub rows_deduplicated: u64 => rows,
        /// Tokens fed to the encoder, without padding.
        pub tokens: u64 => work,
        /// Rows times width over all micro-batches.
        pub padded_tokens: u64 => work,
        /// Wall seconds of the run between the commit before this one and this one.
        pub seconds: f64 => work,
        /// Of these, seconds in which the encoder had work.
        pub encoder_seconds: f64 => work,
        /// Rows with a true label that the head knows (score with `--label-column`).
        pub labelled: u64 => rows,
        /// Of these, rows whose most probable label is the true one.
        pub correct: u64 => rows,
        /// Sum over these rows of minus the natural logarithm of the true label's probability.
        pub log_loss_sum: f64 => rows,
        /// Rows with a true label that the head does not know.
        pub unknown_labels: u64 => rows,
        /// Rows that score has an answer for, but not one as sure as the head's threshold wants.
        #[serde(default)]
        pub rows_abstained: u64 => rows,
        /// Rows (rejected, or without an answer in score) whose text the encoder failed on.
        #[serde(default)]
        pub rows_failed: u64 => rows,
        /// Micro-batches that failed and were split.
        #[serde(default)]
        pub batches_split: u64 => work,
        /// Texts that were encoded.
        #[serde(default)]
        pub texts: u64 => work,
        /// Of these, texts that have more tokens than the encoder was to see.
        #[serde(default)]
        pub texts_truncated: u64 => work,
        /// `rows_rejected` by reason.
        #[serde(default, skip_serializing_if = "RejectCounts::is_empty")]
        pub rejected: RejectCounts => rows,
        /// Texts whose vectors came from a cache.
        #[serde(default)]
        pub texts_cached: u64 => rows,
        /// Where the time went.
        #[serde(default)]
        pub stage_seconds: StageSeconds => work,
    }
}

impl StageSeconds {
    /// The kind of work that took the longest, if any was done: what to make faster first.
    pub fn limiting(&self) -> Option<&'static str> {
        let kinds = [("read", self.read), ("tokenize", self.tokenize), ("encode", self.encode), ("write", self.write)];
        let (kind, seconds) = kinds.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (seconds > 0.0).then_some(kind)
    }
}

impl UnitStats {
    /// Adds the figures of another unit, or of another operator of the same.
    pub fn add(&mut self, other: &UnitStats) {
        Figure::add(self, other);
    }

    /// What went into vectors, without the rows that came of it.
    pub(super) fn work(&self) -> UnitStats {
        Figure::work(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::schema::RejectReason;

    /// Every figure with a value of its own, the first being `first`.
    fn numbered(first: u64) -> UnitStats {
        fn fill(value: &mut Value, next: &mut u64) {
            match value {
                Value::Object(figures) => figures.values_mut().for_each(|figure| fill(figure, next)),
                number => {
                    *number = if number.is_f64() { json!(*next as f64) } else { json!(*next) };
                    *next += 1;
                }
            }
        }
        let rejected = RejectCounts::from_iter([(RejectReason::BadJson, 1)]);
        let reason = UnitStats { rejected, ..UnitStats::default() };
        let mut value = json!(reason);
        fill(&mut value, &mut first.clone());
        serde_json::from_value(value).unwrap()
    }

    fn flat(stats: &UnitStats) -> Vec<f64> {
        fn numbers(figures: &Map<String, Value>) -> Vec<f64> {
            let number = |value: &Value| match value {
                Value::Object(figures) => numbers(figures),
                number => vec![number.as_f64().unwrap()],
            };
            figures.values().flat_map(number).collect()
        }
        numbers(json!(stats).as_object().unwrap())
    }

    #[test]
    fn a_sum_is_the_sum_of_every_figure() {
        let (mut sum, other) = (numbered(1), numbered(100));
        let expected: Vec<f64> = flat(&sum).into_iter().zip(flat(&other)).map(|(a, b)| a + b).collect();
        sum.add(&other);
        assert_eq!(flat(&sum), expected);
        assert!(expected.len() > 20 && sum.rejected.with_text() > 100);
    }

    #[test]
    fn reasons_of_either_side_are_in_the_sum() {
        let stats = |reason, rows| UnitStats {
            rejected: RejectCounts::from_iter([(reason, rows), (RejectReason::BadJson, 1)]),
            ..UnitStats::default()
        };
        let mut sum = stats(RejectReason::EmptyText, 2);
        sum.add(&stats(RejectReason::TooLarge, 3));
        let expected = [(RejectReason::EmptyText, 2), (RejectReason::TooLarge, 3), (RejectReason::BadJson, 2)];
        assert_eq!(sum.rejected, RejectCounts::from_iter(expected));
    }

    #[test]
    fn work_stays_and_rows_do_not() {
        let stats = numbered(1);
        let work = stats.work();
        assert_eq!((work.tokens, work.stage_seconds), (stats.tokens, stats.stage_seconds));
        assert_eq!((work.rows_out, work.rows_rejected, work.labelled, work.log_loss_sum), (0, 0, 0, 0.0));
        assert!(work.rejected.is_empty());
    }

    #[test]
    fn a_line_of_an_older_manifest_lacks_the_newer_figures() {
        let line = r#"{"rows_out":3,"rows_rejected":1,"rows_deduplicated":0,"tokens":30,"padded_tokens":32,
            "seconds":0.5,"encoder_seconds":0.25,"labelled":0,"correct":0,"log_loss_sum":0.0,"unknown_labels":0}"#;
        let stats: UnitStats = serde_json::from_str(line).unwrap();
        assert_eq!((stats.rows_out, stats.padded_tokens, stats.texts), (3, 32, 0));
        assert!(!json!(stats).as_object().unwrap().contains_key("rejected"));
    }
}
