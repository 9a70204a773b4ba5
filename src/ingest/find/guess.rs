//! Names and guesses the columns of delimited files by what is in them.
//!
//! Without a header the only evidence is the content: the widest column is the text, and a short one with few distinct
//! values is the label. Where two columns are about as wide, that is an error and not a guess.

use std::collections::{BTreeMap, HashSet};

use super::columns;
use crate::ingest::error::quoted;
use crate::ingest::parse::Columns;
use crate::ingest::{Error, Reading, Result};

/// A longer value is no label.
const MAX_LABEL_CHARS: usize = 32;

/// Column names from a header: white space cut off, empty and doubled ones named as pandas does.
pub(super) fn header_names(first: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(first.len());
    let mut taken = HashSet::with_capacity(first.len());
    for (position, field) in first.iter().enumerate() {
        let name = if field.trim().is_empty() { format!("Unnamed: {position}") } else { field.trim().to_owned() };
        let mut unique = name.clone();
        let mut count = 0;
        while !taken.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}.{count}");
        }
        names.push(unique);
    }
    names
}

/// The number of fields that most records have; the larger of equally frequent ones.
pub(super) fn usual_width(records: &[Vec<String>]) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.len()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(width, _)| width)
}

/// What the content of a column looks like.
struct Look {
    chars: usize,
    longest: usize,
    distinct: usize,
}

/// The columns of a file without header; `names` are the positions.
pub(super) fn by_content(
    names: &[String],
    records: &[Vec<String>],
    reading: &Reading,
    source: &str,
) -> Result<Columns> {
    const HINT: &str = " (by position, as the file has no header)";
    let rows: Vec<&Vec<String>> = records.iter().filter(|record| record.len() == names.len()).collect();
    let looks: Vec<Look> = (0..names.len()).map(|at| look(&rows, at)).collect();
    let asked = |column: &Option<String>| {
        column.as_ref().map(|column| columns::explicit(names, column, source, HINT)).transpose()
    };
    let label = asked(&reading.options.label_column)?;
    let text = match asked(&reading.options.text_column)? {
        Some(text) => text,
        None => widest(names, &looks, label.as_ref(), source)?,
    };
    let label = match label {
        None if reading.find_label => label_like(names, &looks, rows.len(), &text),
        asked => asked,
    };
    Ok(Columns::new(names, text, label, true))
}

fn look(rows: &[&Vec<String>], at: usize) -> Look {
    let lengths = || rows.iter().map(|row| row[at].chars().count());
    Look {
        chars: lengths().sum(),
        longest: lengths().max().unwrap_or(0),
        distinct: rows.iter().map(|row| row[at].trim()).collect::<HashSet<_>>().len(),
    }
}

fn widest(names: &[String], looks: &[Look], label: Option<&String>, source: &str) -> Result<String> {
    let mut by_width: Vec<(usize, &String)> = looks
        .iter()
        .zip(names)
        .filter(|(_, name)| Some(*name) != label)
        .map(|(look, name)| (look.chars, name))
        .collect();
    by_width.sort_by_key(|(chars, _)| std::cmp::Reverse(*chars));
    match by_width.as_slice() {
        [] => Err(Error::NoTextColumn { name: source.to_owned(), columns: quoted(names), hint: "" }),
        [first, second, ..] if second.0 * 5 > first.0 * 4 => Err(Error::AmbiguousColumn {
            name: source.to_owned(),
            role: "text",
            candidates: quoted(&[first.1, second.1]),
            columns: quoted(names),
            flag: "--text-column",
        }),
        [first, ..] => Ok(first.1.clone()),
    }
}

/// The one short column with few distinct values; of two columns the other one even if the sample shows one value only
/// (files sorted by label).
fn label_like(names: &[String], looks: &[Look], n_rows: usize, text: &str) -> Option<String> {
    let short = || looks.iter().zip(names).filter(|(look, name)| *name != text && look.longest <= MAX_LABEL_CHARS);
    let few = |look: &Look| look.distinct >= 2 && (look.distinct == 2 || look.distinct * 4 <= n_rows);
    let mut candidates = short().filter(|(look, _)| few(look));
    match (candidates.next(), candidates.next()) {
        (Some((_, only)), None) => Some(only.clone()),
        (None, _) if names.len() == 2 && n_rows > 1 => {
            short().find(|(look, _)| look.distinct == 1 && look.longest > 0).map(|(_, name)| name.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[&[&str]]) -> Vec<Vec<String>> {
        list.iter().map(|row| row.iter().map(|field| (*field).to_owned()).collect()).collect()
    }

    fn guessed(list: &[&[&str]]) -> Result<Columns> {
        let records = rows(list);
        let names: Vec<String> = (0..usual_width(&records)).map(|at| at.to_string()).collect();
        by_content(&names, &records, &Reading::default(), "x.tsv")
    }

    #[test]
    fn header_names_are_unique_and_never_empty() {
        assert_eq!(
            header_names(&rows(&[&["", " text ", "text", "text"]])[0]),
            ["Unnamed: 0", "text", "text.1", "text.2"]
        );
    }

    #[test]
    fn the_widest_is_text_and_the_repeating_one_is_label() {
        let columns =
            guessed(&[&["7", "pos", "a long text"], &["8", "neg", "another one"], &["9", "pos", "the third"]]);
        let columns = columns.unwrap();
        assert_eq!(
            (columns.text.as_str(), columns.label.as_deref(), columns.others),
            ("2", Some("1"), vec!["0".to_owned()])
        );
    }

    #[test]
    fn a_file_of_one_class_keeps_its_label() {
        let columns = guessed(&[&["1", "a long text"], &["1", "another one"]]).unwrap();
        assert_eq!(columns.label.as_deref(), Some("0"));
    }

    #[test]
    fn two_wide_columns_are_an_error() {
        let error = guessed(&[&["some sentence", "other sentence"]]).unwrap_err();
        assert!(error.to_string().contains("--text-column"), "{error}");
    }
}
