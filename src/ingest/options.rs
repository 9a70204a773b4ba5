//! What the user may say about how inputs are read.
//!
//! Everything here decides *what* is computed, so it belongs to the resolved run; nothing here says how fast.

use std::fmt;

use clap::{ArgAction, Args, ValueEnum, ValueHint};
use serde::{Deserialize, Serialize};

use super::Encoding;

/// How a file is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By the file's name, and what it looks like.
    Auto,
    /// Comma-separated (or, where the first line says so, semicolons or tabs), quoted as RFC 4180 says.
    Csv,
    /// Tab-separated; quotes are quotes only where the file shows that it uses them so.
    Tsv,
    /// One JSON object a line, or one array of objects.
    Jsonl,
    /// Apache Parquet.
    // Found here, read by the engine.
    Parquet,
    /// One review a file.
    Text,
    /// One review a line; only LF ends a line.
    Lines,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What is done to a text before it is counted, hashed and tokenised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// Nothing: the text is what the input holds.
    None,
    /// A run of `<br>`, `<br/>` or `<br />` (any case) becomes one space.
    Html,
}

impl fmt::Display for Clean {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl Clean {
    /// The text after cleaning.
    pub fn apply(self, text: String) -> String {
        match self {
            Self::None => text,
            Self::Html if !text.contains('<') => text,
            Self::Html => without_breaks(&text),
        }
    }
}

fn without_breaks(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        cleaned.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut run = 0;
        while let Some(length) = break_length(&rest[run..]) {
            run += length;
        }
        if run > 0 {
            cleaned.push(' ');
            rest = &rest[run..];
        } else {
            cleaned.push('<');
            rest = &rest[1..];
        }
    }
    cleaned.push_str(rest);
    cleaned
}

/// How many bytes the `<br />` at the start of `text` takes, if one is there.
fn break_length(text: &str) -> Option<usize> {
    let name = text.as_bytes().get(..3)?;
    if !name.eq_ignore_ascii_case(b"<br") {
        return None;
    }
    let inside = text[3..].trim_start_matches([' ', '\t']);
    let inside = inside.strip_prefix('/').unwrap_or(inside);
    inside.strip_prefix('>').map(|after| text.len() - after.len())
}

/// Where reviews come from and how they are read, as people say it.
///
/// The doc comment of a field is its help.
#[derive(Args, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[command(next_help_heading = "Input")]
pub struct ReadOptions {
    /// Files, folders (read recursively) or quoted globs
    ///
    /// CSV, TSV, JSON lines and arrays, Parquet, text; .gz .zst .bz2 and .xz of these; .zip and .tar as folders.
    #[arg(required = true, value_hint = ValueHint::AnyPath, help_heading = None)]
    #[serde(skip)]
    pub inputs: Vec<String>,
    /// Column that holds the text [default: found by its usual names]
    ///
    /// They are text, review, sentence, content, body and the like.
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Column that holds the label [default: found by its usual names]
    ///
    /// They are label, sentiment, class, target and rating.
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Format of the input
    #[arg(long, default_value = "auto", value_name = "FORMAT")]
    pub format: Format,
    /// CSV and TSV files have no header line
    ///
    /// Columns are then named 0, 1, ...
    #[arg(long = "no-header", action = ArgAction::SetFalse)]
    pub header: bool,
    /// Encoding of files without a byte order mark
    ///
    /// auto (by their bytes), utf-8, windows-1252 or any other label.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub encoding: Encoding,
    /// Clean the texts before they are used
    #[arg(long, default_value = "none", value_name = "HOW")]
    pub clean: Clean,
    /// Read at most this many records
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub limit: Option<u64>,
}

impl Default for ReadOptions {
    /// No inputs, everything found by itself, nothing cleaned.
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            text_column: None,
            label_column: None,
            format: Format::Auto,
            header: true,
            encoding: Encoding::Auto,
            clean: Clean::None,
            limit: None,
        }
    }
}

/// Bytes of text of a unit where nobody says: some 20 seconds of encoding on a CPU, so little is lost when a run is
/// killed.
pub const UNIT_BYTES: u64 = 2 << 20;

/// How inputs are found and read, as a stage resolved it. All of it but the inputs themselves is in the resolved run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// What was said.
    #[serde(flatten)]
    pub options: ReadOptions,
    /// Whether a label column is looked for by the usual names where none is named.
    pub find_label: bool,
    /// Further columns to carry along, as text; null where a source has no such column.
    pub keep: Vec<String>,
    /// Bytes of text after which a unit is cut.
    pub unit_bytes: u64,
}

impl From<ReadOptions> for Reading {
    /// Labels are looked for, nothing else is kept.
    fn from(options: ReadOptions) -> Self {
        Self { options, find_label: true, keep: Vec::new(), unit_bytes: UNIT_BYTES }
    }
}

impl Default for Reading {
    fn default() -> Self {
        ReadOptions::default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_breaks_become_one_space() {
        let clean = |text: &str| Clean::Html.apply(text.to_owned());
        assert_eq!(clean("a<br /><br />b<BR>c<bR/>d"), "a b c d");
        assert_eq!(clean("a < b <bro> <br <é"), "a < b <bro> <br <é");
        assert_eq!(Clean::None.apply("a<br />b".to_owned()), "a<br />b");
    }

    #[test]
    fn what_was_said_and_what_was_resolved_are_one_object() {
        let reading = Reading { keep: vec!["id".into()], ..Reading::default() };
        let json = serde_json::json!(reading);
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "clean",
            "encoding",
            "find_label",
            "format",
            "header",
            "keep",
            "label_column",
            "limit",
            "text_column",
            "unit_bytes",
        ];
        assert_eq!(keys, expected);
        assert_eq!(serde_json::from_value::<Reading>(json).unwrap(), reading);
    }
}
