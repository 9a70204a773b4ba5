//! A file that was found and how it will be read; the message between finding and reading.

use std::path::{Path, PathBuf};

use crate::ingest::find::labels;
use crate::ingest::find::peek::Layout;
use crate::ingest::open::archive::{Archive, Head, Member};
use crate::ingest::{Columns, Format};

/// One file of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Where it is, or the archive that it is in.
    pub path: PathBuf,
    /// The path as given: for a folder the input as typed, `/`, and the path below it; always forward slashes. For a
    /// member of an archive `!/` and the path in it follow.
    pub name: String,
    /// How it is laid out; never [`Format::Auto`].
    pub format: Format,
    /// Its size on disk; of a member of an archive the size that the archive says.
    pub bytes: u64,
    /// The label that its folder, stem or extension says; used where no column does.
    pub label: Option<String>,
    /// The position of its input among the inputs.
    pub input: usize,
    /// Why it is read as it is, where that was a decision worth telling.
    pub note: Option<String>,
    /// Which member of the archive it is.
    pub(crate) member: Option<Member>,
    /// Its columns and how they are written; `None` for text, Parquet, and where there is no content.
    pub(crate) layout: Option<Layout>,
    /// What was kept of its content until it has been looked at.
    pub(crate) head: Option<Head>,
}

impl Source {
    /// The columns of a CSV, TSV or JSON source; `None` for one without columns (text and lines), without content, or in
    /// Parquet (give the names of its schema to [`super::resolve_columns`]).
    pub fn columns(&self) -> Option<&Columns> {
        self.layout.as_ref().map(|layout| &layout.columns)
    }

    /// The name of its encoding, where it has columns and is not UTF-8.
    pub fn encoding(&self) -> Option<&'static str> {
        let encoding = self.layout.as_ref().map(|layout| layout.encoding);
        encoding.filter(|encoding| *encoding != encoding_rs::UTF_8).map(encoding_rs::Encoding::name)
    }

    #[cfg(test)]
    pub(crate) fn plain(path: &Path, name: &str, format: Format) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            format,
            bytes: fs_err::metadata(path).map_or(0, |metadata| metadata.len()),
            label: None,
            input: 0,
            note: None,
            member: None,
            layout: None,
            head: None,
        }
    }
}

/// A file or folder that was found and is not read.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Skipped {
    /// Its path, as a source's name would be.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// All that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// The inputs as typed.
    pub inputs: Vec<String>,
    /// The files to read: inputs in the order given, the files of each sorted by path, members in their archive's order.
    pub sources: Vec<Source>,
    /// What is not read.
    pub skipped: Vec<Skipped>,
}

/// What a file's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Known(Format),
    /// `.pos`, `.neg` and the like: plain text with its label as extension.
    LabelExtension,
    /// An archive that is read as a folder.
    Archive(Archive),
    /// An archive of another kind.
    Closed,
    Unknown,
}

/// A file name taken apart.
pub(crate) struct FileName {
    pub kind: Kind,
    /// Without the extensions that were understood.
    pub stem: String,
}

impl FileName {
    pub(crate) fn of(path: &Path) -> Self {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let lower = name.to_lowercase();
        let ends = |extensions: &[&str]| extensions.iter().any(|extension| lower.ends_with(extension));
        let tars = [".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz"];
        // Whether it is compressed is told by its first bytes.
        let packed = [".gz", ".zst", ".bz2", ".xz"].into_iter().find(|extension| lower.ends_with(extension));
        let cut = packed.map_or(0, str::len);
        let inner = &name[..name.len() - cut];
        let (stem, extension) = inner.rsplit_once('.').unwrap_or((inner, ""));
        let kind = match extension.to_lowercase().as_str() {
            _ if ends(&tars) => Kind::Archive(Archive::Tar),
            _ if ends(&[".zip"]) => Kind::Archive(Archive::Zip),
            _ if ends(&[".7z", ".rar"]) => Kind::Closed,
            "csv" => Kind::Known(Format::Csv),
            "tsv" | "tab" => Kind::Known(Format::Tsv),
            "jsonl" | "ndjson" | "jsonlines" | "json" => Kind::Known(Format::Jsonl),
            "txt" | "text" => Kind::Known(Format::Text),
            "parquet" | "pq" if cut == 0 => Kind::Known(Format::Parquet),
            other if labels::is_label_word(other) => Kind::LabelExtension,
            _ => Kind::Unknown,
        };
        let stem = if matches!(kind, Kind::Known(_)) { stem } else { inner };
        Self { kind, stem: stem.to_owned() }
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
        assert_eq!(kind("a.tar.gz"), Kind::Archive(Archive::Tar));
        assert_eq!(kind("a.TBZ2"), Kind::Archive(Archive::Tar));
        assert_eq!(kind("a.csv.zip"), Kind::Archive(Archive::Zip));
        assert_eq!(kind("a.rar"), Kind::Closed);
        assert_eq!(kind("a.csv.bz2"), Kind::Known(Format::Csv));
        assert_eq!(kind("a.jsonl.xz"), Kind::Known(Format::Jsonl));
        assert_eq!(kind("rt-polarity.neg"), Kind::LabelExtension);
        assert_eq!(kind("pos"), Kind::Unknown);
        assert_eq!(FileName::of(Path::new("x/train_pos.txt.zst")).stem, "train_pos");
        assert_eq!(FileName::of(Path::new("rt-polarity.neg")).stem, "rt-polarity.neg");
        assert_eq!(FileName::of(Path::new("größe.gz")).stem, "größe");
    }
}
