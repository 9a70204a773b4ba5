//! What can go wrong while inputs are found and read, one variant per place.
//!
//! A broken *record* is never an error here: it becomes a reject and the run goes on. These are the failures that stop
//! a run, and [`Error::is_usage`] says which of them another command line would cure.

use std::io;
use std::path::PathBuf;

/// A failure that stops ingest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An encoding that does not exist.
    #[error(
        "unknown encoding `{given}`; say auto, or a label as web pages use them: utf-8, windows-1252 (latin1), \
         iso-8859-2, windows-1251, koi8-r, utf-16le, shift_jis, euc-kr, gb18030, big5 and others"
    )]
    UnknownEncoding {
        /// What was typed.
        given: String,
    },
    /// No input at all.
    #[error("no input given; name at least one file, folder or glob")]
    NoInput,
    /// An input that is neither a path nor a glob that matches.
    #[error("`{input}` is not there, and as a glob it matches nothing")]
    InputNotFound {
        /// The input as typed.
        input: String,
    },
    /// An input that is not a path and cannot be read as a glob.
    #[error("`{input}` is not there, and it cannot be read as a glob")]
    BadGlob {
        /// The input as typed.
        input: String,
        /// Why the glob cannot be read.
        #[source]
        source: glob::PatternError,
    },
    /// Inputs that exist and hold nothing that can be read.
    #[error(
        "no reviews found in {inputs}; looked for .csv .tsv .tab .jsonl .ndjson .json .parquet .pq .txt .text and files \
         called pos or neg, plain or .gz .zst .bz2 .xz, in folders, .zip and .tar{skipped}; name other extensions with \
         --format"
    )]
    NothingFound {
        /// The inputs as typed, each in backticks.
        inputs: String,
        /// How many files were skipped and the first few of them, or nothing.
        skipped: String,
    },
    /// A file that was named directly and whose extension says nothing.
    #[error(
        "cannot tell the format of `{name}` by its extension; say it with --format csv|tsv|jsonl|parquet|text|lines"
    )]
    UnknownExtension {
        /// The file as typed.
        name: String,
    },
    /// An archive of a kind that is not read, named directly.
    #[error("`{name}` is an archive of a kind that is not read; unpack it and name the folder")]
    ClosedArchive {
        /// The file as typed.
        name: String,
    },
    /// An archive whose members cannot be listed.
    #[error("cannot read the archive `{name}`; it may be cut off, damaged, or no archive")]
    Archive {
        /// The archive.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive whose members are too large to be true.
    #[error("`{name}` would expand to more than 200 times its size, which no text does; it is not read")]
    Absurd {
        /// The archive.
        name: String,
    },
    /// A column that was asked for and is not there.
    #[error("`{name}` has no column `{column}`; its columns are {columns}{hint}")]
    NoSuchColumn {
        /// The source.
        name: String,
        /// The column asked for.
        column: String,
        /// The columns there are, each in backticks.
        columns: String,
        /// What else might be wrong, or nothing.
        hint: &'static str,
    },
    /// No column has a usual name for text.
    #[error(
        "cannot tell which column of `{name}` is the text; its columns are {columns}; say it with --text-column{hint}"
    )]
    NoTextColumn {
        /// The source.
        name: String,
        /// The columns there are, each in backticks.
        columns: String,
        /// What else might be wrong, or nothing.
        hint: &'static str,
    },
    /// Two columns have equally usual names.
    #[error(
        "{candidates} of `{name}` are equally likely the {role} column; its columns are {columns}; say it with {flag}"
    )]
    AmbiguousColumn {
        /// The source.
        name: String,
        /// `text` or `label`.
        role: &'static str,
        /// The equally good ones, each in backticks.
        candidates: String,
        /// The columns there are, each in backticks.
        columns: String,
        /// The flag that settles it.
        flag: &'static str,
    },
    /// A JSON array of something else than objects.
    #[error("`{name}` is a JSON array, but not of objects; `jq 'map({{text: .}})'` makes objects of an array of texts")]
    JsonArray {
        /// The source.
        name: String,
    },
    /// A file that should hold JSON lines and holds none.
    #[error(
        "`{name}` begins neither with JSON lines (one object a line) nor with an array of objects; `jq -c .` turns \
         pretty-printed JSON into lines"
    )]
    NotJsonLines {
        /// The source.
        name: String,
    },
    /// An input that can be read once at most.
    #[error(
        "`{name}` is no regular file (a pipe or a device); write it to a file first, because inputs are read twice"
    )]
    NotAFile {
        /// The input.
        name: String,
    },
    /// A JSON array whose brackets or quotes do not match, so that what follows cannot be told apart.
    #[error(
        "`{name}`: the element of the JSON array that begins at byte {offset} does not end, and others may be behind it; \
         mend it there, or turn the file into one object a line"
    )]
    Swallowed {
        /// The source.
        name: String,
        /// Where the element begins.
        offset: u64,
    },
    /// A folder that cannot be listed.
    #[error("cannot list the input `{name}`")]
    List {
        /// The folder or file.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be opened.
    #[error("cannot open `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be read to its end, a damaged .gz or archive member among them.
    #[error("cannot read `{name}` to its end; where it is compressed, it may be cut off or damaged")]
    Read {
        /// The source.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source that is no longer what it was when its units were cut.
    #[error("`{name}` is no longer what it was when its rows were counted; start the run again")]
    Changed {
        /// The source.
        name: String,
    },
    /// A row that a unit should have and its source has not.
    #[error("`{name}` has no row {row}, which a unit is to have; was the unit cut by another version of bertline?")]
    NoSuchRow {
        /// The source.
        name: String,
        /// The row.
        row: u64,
    },
    /// A batch that Arrow refuses.
    #[error("cannot build the record batch of a unit")]
    Batch {
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
}

/// The result of an ingest step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether another command line would cure it (exit code 2), rather than other data or another disk (exit code 1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownEncoding { .. }
                | Self::NoInput
                | Self::NotAFile { .. }
                | Self::BadGlob { .. }
                | Self::UnknownExtension { .. }
                | Self::NoSuchColumn { .. }
                | Self::NoTextColumn { .. }
                | Self::AmbiguousColumn { .. }
        )
    }
}

impl Error {
    /// Whether a table has no column that is the text, by its usual names or by the one that was `asked` for.
    pub(crate) fn is_textless(&self, asked: Option<&str>) -> bool {
        match self {
            Self::NoTextColumn { .. } => true,
            Self::NoSuchColumn { column, .. } => asked == Some(column.as_str()),
            _ => false,
        }
    }
}

/// Names in backticks, separated by commas, for error texts.
pub(crate) fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    const NAMES: usize = 20;
    let mut shown: Vec<String> =
        names.iter().take(NAMES).map(|name| format!("`{}`", shortened(name.as_ref()))).collect();
    if names.len() > NAMES {
        shown.push(format!("{} more", names.len() - NAMES));
    }
    shown.join(", ")
}

/// A name from a file, which may hold anything: escapes for a terminal among it, or a megabyte.
fn shortened(name: &str) -> String {
    const CHARS: usize = 60;
    let start: String = name.chars().take(CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARS).is_some() { format!("{start}...") } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_are_shown_short_and_escaped() {
        assert_eq!(quoted(&["a", "größe"]), "`a`, `größe`");
        assert_eq!(quoted(&["\u{1b}[31m"]), "`\\u{1b}[31m`");
        assert!(quoted(&["x".repeat(1 << 20)]).len() < 80);
        assert!(quoted(&vec!["a"; 30]).ends_with("`a`, 10 more"));
    }
}
