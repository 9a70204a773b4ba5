//! What the user may say about how inputs are read.
//!
//! Everything here decides *what* is computed, so it belongs to the resolved run; nothing here says how fast.

use std::fmt;

use clap::ValueEnum;
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

/// How inputs are found and read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadOptions {
    /// The column of the text; `None` finds it by the usual names.
    pub text_column: Option<String>,
    /// The column of the label; `None` finds it by the usual names, and there may be none.
    pub label_column: Option<String>,
    /// Whether a label column is looked for by the usual names where none is named.
    pub find_label: bool,
    /// The format of every input, or [`Format::Auto`].
    pub format: Format,
    /// Whether CSV and TSV may begin with a header; `false` (`--no-header`) says that none does.
    pub header: bool,
    /// The encoding of every input, or [`Encoding::Auto`].
    pub encoding: Encoding,
    /// Cleaning of the texts.
    pub clean: Clean,
    /// At most so many records in all, rejected ones included.
    pub limit: Option<u64>,
    /// Further columns to carry along, as text; null where a source has no such column.
    pub keep: Vec<String>,
    /// Bytes of text after which a unit is cut.
    pub unit_bytes: u64,
}

impl Default for ReadOptions {
    /// Everything found by itself, nothing cleaned or kept, units of 2 MiB (some 20 s of encoding on a CPU).
    fn default() -> Self {
        Self {
            text_column: None,
            label_column: None,
            find_label: true,
            format: Format::Auto,
            header: true,
            encoding: Encoding::Auto,
            clean: Clean::None,
            limit: None,
            keep: Vec::new(),
            unit_bytes: 2 << 20,
        }
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
}
