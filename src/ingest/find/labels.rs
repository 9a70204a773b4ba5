//! Reads labels off the names of folders and files.
//!
//! Text trees carry their labels in their layout (`pos/123.txt`, `rt-polarity.neg`). Only words that clearly say a
//! sentiment count on sight; other folder names count only where [`super::discover`] sees that the layout is a tree of
//! classes.

/// Words that are a label wherever they stand alone.
const WORDS: [&str; 8] = ["pos", "neg", "neu", "positive", "negative", "neutral", "positives", "negatives"];
/// Folder names that say how data was split, never what it is.
const SPLITS: [&str; 22] = [
    "train",
    "training",
    "test",
    "testing",
    "dev",
    "develop",
    "val",
    "valid",
    "validation",
    "eval",
    "holdout",
    "unsup",
    "unlabeled",
    "unlabelled",
    "all",
    "data",
    "raw",
    "texts",
    "txt",
    "text",
    "reviews",
    "docs",
];

/// Whether a whole name is a label.
pub(super) fn is_label_word(name: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// The label that the nearest folder names, from the innermost outwards.
pub(super) fn of_folders(folders: &[String]) -> Option<String> {
    folders.iter().rev().find(|folder| is_label_word(folder)).cloned()
}

/// The label in a file's name: its last extension (`rt-polarity.neg`) or the one such word of its stem (`train_pos.txt`).
pub(super) fn of_file(stem: &str) -> Option<String> {
    let mut words = stem.split(['.', '-', '_', ' ']).filter(|word| is_label_word(word));
    let first = words.next()?;
    words.all(|word| word == first).then(|| first.to_owned())
}

/// Whether a folder's name can be a class: not the name of a split, a fold or a year.
pub(super) fn may_be_class(folder: &str) -> bool {
    let lower = folder.to_lowercase();
    let letters = lower.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '_' | '-'));
    let numbered =
        letters.len() < lower.len() && matches!(letters, "fold" | "part" | "split" | "shard" | "chunk" | "batch");
    let year = lower.len() >= 4 && lower.bytes().all(|byte| byte.is_ascii_digit());
    !(numbered || year || SPLITS.contains(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_whole_words_only() {
        let folders = |names: &[&str]| of_folders(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(folders(&["aclImdb", "train", "pos"]).as_deref(), Some("pos"));
        assert_eq!(folders(&["Negative", "2020"]).as_deref(), Some("Negative"));
        assert_eq!(folders(&["train", "unsup"]), None);
        assert_eq!(of_file("rt-polarity.neg").as_deref(), Some("neg"));
        assert_eq!(of_file("reviews_positive").as_deref(), Some("positive"));
        assert_eq!(of_file("pos_and_neg"), None);
        assert_eq!(of_file("1013_1"), None);
        assert_eq!(of_file("possible"), None);
    }

    #[test]
    fn splits_folds_and_years_are_no_classes() {
        for folder in ["train", "Test", "fold1", "part-2", "2019", "unsup", "data"] {
            assert!(!may_be_class(folder), "{folder}");
        }
        for folder in ["sports", "politics", "5", "comp.graphics", "particles"] {
            assert!(may_be_class(folder), "{folder}");
        }
    }
}
