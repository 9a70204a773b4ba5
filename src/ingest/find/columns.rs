//! Decides which column is the text and which the label.
//!
//! Names are compared without case, spaces, `_`, `-` and `.`. An explicit name wins; then the usual names in the order
//! of the lists below; then, for the label, the one column whose name ends in a usual label name
//! (`airline_sentiment`), and for the text the one that ends in a usual text name (`clean_text`).

use crate::ingest::error::quoted;
use crate::ingest::parse::Columns;
use crate::ingest::{Error, Reading, Result};

/// Usual names of the text column, best first.
const TEXT_NAMES: [&str; 24] = [
    "text",
    "review",
    "sentence",
    "content",
    "reviewtext",
    "body",
    "reviewbody",
    "reviewcontent",
    "comment",
    "tweet",
    "comments",
    "reviews",
    "commenttext",
    "tweettext",
    "fulltext",
    "message",
    "document",
    "phrase",
    "utterance",
    "feedback",
    "description",
    "post",
    "passage",
    "sentences",
];
/// Usual names of the label column, best first.
const LABEL_NAMES: [&str; 14] = [
    "label",
    "sentiment",
    "class",
    "target",
    "rating",
    "polarity",
    "labels",
    "stars",
    "starrating",
    "score",
    "overall",
    "category",
    "emotion",
    "sentiments",
];
const TEXT_ENDINGS: [&str; 5] = ["_text", "_review", "_sentence", "_comment", "_tweet"];
const LABEL_ENDINGS: [&str; 4] = ["_label", "_sentiment", "_class", "_rating"];

/// Finds the text and the label among the column names of `source` (a name for error texts).
///
/// # Errors
/// An explicit column that is not there, no usual text column, or two equally usual ones; each lists the columns.
pub fn resolve_columns(names: &[String], reading: &Reading, source: &str) -> Result<Columns> {
    resolve(names, reading, source, "")
}

pub(super) fn resolve(names: &[String], reading: &Reading, source: &str, hint: &'static str) -> Result<Columns> {
    let text = match &reading.options.text_column {
        Some(column) => explicit(names, column, source, hint)?,
        None => {
            // A column that is the label by the user's word is not the text.
            let label = reading
                .options
                .label_column
                .as_ref()
                .map(|column| explicit(names, column, source, hint))
                .transpose()?;
            let free = without(names, label.as_ref());
            usual(&free, &TEXT_NAMES, &TEXT_ENDINGS, Role { name: "text", flag: "--text-column", names, source })?
                .ok_or_else(|| Error::NoTextColumn { name: source.to_owned(), columns: quoted(names), hint })?
        }
    };
    let label = match &reading.options.label_column {
        Some(column) => Some(explicit(names, column, source, hint)?),
        None if !reading.find_label => None,
        None => {
            let free = without(names, Some(&text));
            usual(&free, &LABEL_NAMES, &LABEL_ENDINGS, Role { name: "label", flag: "--label-column", names, source })?
        }
    };
    Ok(Columns::new(names, text, label, false))
}

/// The column that was asked for: by its name, by its name in another case, or by its position.
pub(super) fn explicit(names: &[String], column: &str, source: &str, hint: &'static str) -> Result<String> {
    if let Some(name) = names.iter().find(|name| *name == column) {
        return Ok(name.clone());
    }
    let mut similar = names.iter().filter(|name| name.eq_ignore_ascii_case(column));
    if let (Some(name), None) = (similar.next(), similar.next()) {
        return Ok(name.clone());
    }
    column.parse::<usize>().ok().and_then(|position| names.get(position)).cloned().ok_or_else(|| Error::NoSuchColumn {
        name: source.to_owned(),
        column: column.to_owned(),
        columns: quoted(names),
        hint,
    })
}

/// Whether a name is a usual one for a text or a label.
pub(super) fn is_usual(name: &str) -> bool {
    let plain = plain(name);
    let lower = name.to_lowercase();
    TEXT_NAMES.contains(&plain.as_str())
        || LABEL_NAMES.contains(&plain.as_str())
        || TEXT_ENDINGS.iter().chain(&LABEL_ENDINGS).any(|ending| lower.ends_with(ending) && !lower.contains(' '))
}

struct Role<'a> {
    name: &'static str,
    flag: &'static str,
    names: &'a [String],
    source: &'a str,
}

fn usual(free: &[&String], usual_names: &[&str], endings: &[&str], role: Role<'_>) -> Result<Option<String>> {
    for usual_name in usual_names {
        let candidates: Vec<&String> = free.iter().filter(|name| plain(name) == *usual_name).copied().collect();
        match candidates.as_slice() {
            [] => {}
            [only] => return Ok(Some((*only).clone())),
            several => {
                return Err(Error::AmbiguousColumn {
                    name: role.source.to_owned(),
                    role: role.name,
                    candidates: quoted(several),
                    columns: quoted(role.names),
                    flag: role.flag,
                });
            }
        }
    }
    let mut ending = free.iter().filter(|name| endings.iter().any(|ending| name.to_lowercase().ends_with(ending)));
    Ok(match (ending.next(), ending.next()) {
        (Some(only), None) => Some((*only).clone()),
        _ => None,
    })
}

fn without<'a>(names: &'a [String], taken: Option<&String>) -> Vec<&'a String> {
    names.iter().filter(|name| Some(*name) != taken).collect()
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace([' ', '_', '-', '.'], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::ReadOptions;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn found(list: &[&str]) -> (String, Option<String>) {
        let columns = resolve_columns(&names(list), &Reading::default(), "x.csv").unwrap();
        (columns.text, columns.label)
    }

    #[test]
    fn a_label_that_is_not_looked_for_is_an_ordinary_column() {
        let reading = Reading { find_label: false, ..Reading::default() };
        let columns = resolve_columns(&names(&["review", "sentiment"]), &reading, "x.csv").unwrap();
        assert_eq!((columns.label, columns.others), (None, names(&["sentiment"])));
    }

    #[test]
    fn usual_names_are_found_in_order_of_preference() {
        let pair = |text: &str, label: &str| (text.to_owned(), Some(label.to_owned()));
        assert_eq!(found(&["review", "sentiment"]), pair("review", "sentiment"));
        assert_eq!(found(&["Label", "Body", "TEXT"]), pair("TEXT", "Label"));
        assert_eq!(found(&["overall", "summary", "reviewText"]), pair("reviewText", "overall"));
        assert_eq!(found(&["star_rating", "review_headline", "review_body"]), pair("review_body", "star_rating"));
        let tweets =
            ["tweet_id", "airline_sentiment", "airline_sentiment_confidence", "airline_sentiment_gold", "text"];
        assert_eq!(found(&tweets), pair("text", "airline_sentiment"));
        assert_eq!(found(&["id", "clean_text"]), ("clean_text".to_owned(), None));
    }

    #[test]
    fn explicit_names_must_exist_and_the_error_lists_what_does() {
        let reading = Reading::from(ReadOptions { text_column: Some("coment".into()), ..ReadOptions::default() });
        let error = resolve_columns(&names(&["comment", "stars"]), &reading, "x.csv").unwrap_err();
        assert_eq!(error.to_string(), "`x.csv` has no column `coment`; its columns are `comment`, `stars`");
        assert!(error.is_usage());
        let reading = Reading::from(ReadOptions { text_column: Some("1".into()), ..ReadOptions::default() });
        assert_eq!(resolve_columns(&names(&["label", "b"]), &reading, "x").unwrap().text, "b");
    }

    #[test]
    fn doubt_is_an_error_that_names_the_flag() {
        let reading = Reading::default();
        let error = resolve_columns(&names(&["review_text", "reviewText"]), &reading, "x.csv").unwrap_err().to_string();
        assert!(error.contains("equally likely") && error.contains("--text-column"), "{error}");
        let error = resolve_columns(&names(&["sentence1", "sentence2"]), &reading, "x.csv").unwrap_err().to_string();
        assert!(error.contains("`sentence1`, `sentence2`") && error.contains("--text-column"), "{error}");
    }

    #[test]
    fn text_and_label_are_never_the_same_column() {
        let reading = Reading::from(ReadOptions { label_column: Some("review".into()), ..ReadOptions::default() });
        let columns = resolve_columns(&names(&["review", "body"]), &reading, "x").unwrap();
        assert_eq!((columns.text.as_str(), columns.label.as_deref()), ("body", Some("review")));
        assert!(columns.others.is_empty());
    }
}
