//! A file that was found and how it will be read; the message between finding and reading.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Format, labels};

/// How a file is compressed, by its extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not.
    None,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard, one or more frames.
    Zstd,
}

/// One file of an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// The path as given: for a folder the input as typed, `/`, and the path below it; always forward slashes.
    pub name: String,
    /// How it is laid out; never [`Format::Auto`].
    pub format: Format,
    /// How it is compressed, by its extension (reading goes by its first bytes).
    pub compression: Compression,
    /// Its size on disk.
    pub bytes: u64,
    /// The label that its folder, stem or extension says; used where no column does.
    pub label: Option<String>,
    /// The position of its input among the inputs.
    pub input: usize,
    /// Why it is read as it is, where that was a decision worth telling.
    pub note: Option<String>,
}

/// A file or folder that was found and is not read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path, as a source's name would be.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// All that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Discovery {
    /// The inputs as typed.
    pub inputs: Vec<String>,
    /// The files to read: inputs in the order given, the files of each sorted by path.
    pub sources: Vec<Source>,
    /// What is not read.
    pub skipped: Vec<Skipped>,
}

/// What a file's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Known(Format),
    /// `.pos`, `.neg` and the like: plain text with its label as extension.
    LabelExtension,
    Archive,
    Unknown,
}

/// A file name taken apart.
pub(super) struct FileName {
    pub kind: Kind,
    pub compression: Compression,
    /// Without the extensions that were understood.
    pub stem: String,
}

impl FileName {
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let lower = name.to_lowercase();
        let ends = |extensions: &[&str]| extensions.iter().any(|extension| lower.ends_with(extension));
        let archives = [".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.zst", ".bz2", ".xz", ".7z", ".rar"];
        let (compression, cut) = match () {
            () if ends(&[".gz"]) => (Compression::Gzip, 3),
            () if ends(&[".zst"]) => (Compression::Zstd, 4),
            () => (Compression::None, 0),
        };
        let inner = &name[..name.len() - cut];
        let (stem, extension) = inner.rsplit_once('.').unwrap_or((inner, ""));
        let kind = match extension.to_lowercase().as_str() {
            _ if ends(&archives) => Kind::Archive,
            "csv" => Kind::Known(Format::Csv),
            "tsv" | "tab" => Kind::Known(Format::Tsv),
            "jsonl" | "ndjson" | "jsonlines" | "json" => Kind::Known(Format::Jsonl),
            "txt" | "text" => Kind::Known(Format::Text),
            "parquet" | "pq" if cut == 0 => Kind::Known(Format::Parquet),
            other if labels::is_label_word(other) => Kind::LabelExtension,
            _ => Kind::Unknown,
        };
        let stem = if matches!(kind, Kind::Known(_)) { stem } else { inner };
        Self { kind, compression, stem: stem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let kind = |name: &str| FileName::of(Path::new(name)).kind;
        assert_eq!(kind("a.CSV"), Kind::Known(Format::Csv));
        assert_eq!(kind("a.b.ndjson.gz"), Kind::Known(Format::Jsonl));
        assert_eq!(kind("a.parquet.gz"), Kind::Unknown);
        assert_eq!(kind("a.tar.gz"), Kind::Archive);
        assert_eq!(kind("rt-polarity.neg"), Kind::LabelExtension);
        assert_eq!(kind("pos"), Kind::Unknown);
        assert_eq!(FileName::of(Path::new("x/train_pos.txt.zst")).stem, "train_pos");
        assert_eq!(FileName::of(Path::new("rt-polarity.neg")).stem, "rt-polarity.neg");
        assert_eq!(FileName::of(Path::new("größe.gz")).compression, Compression::Gzip);
    }
}
