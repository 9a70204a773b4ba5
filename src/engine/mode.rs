//! What a unit becomes: embeddings, or predictions where a head is attached.

/// What `EmbedExec` makes of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Embeddings of `width` values, for the datasets `rows`, `features` and `rejects`.
    Embed {
        /// The length of a vector.
        width: usize,
        /// Whether a row without a label is a reject.
        require_label: bool,
    },
    /// Predictions over `classes` classes, for the dataset `predictions`.
    Score {
        /// The length of a vector.
        width: usize,
        /// Classes of the head.
        classes: usize,
        /// The optional columns of the dataset that are there: `abstained` where the head has a threshold, `true_label`
        /// where the input's label goes along.
        optional: Vec<&'static str>,
    },
}
