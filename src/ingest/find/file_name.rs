//! What a file's name says of its content.

use std::path::Path;

use super::labels;
use crate::ingest::Format;
use crate::ingest::open::ArchiveFormat;

/// What a file's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Known(Format),
    /// `.pos`, `.neg` and the like: plain text with its label as extension.
    LabelExtension,
    /// An archive that is read as a folder.
    Archive(ArchiveFormat),
    /// An archive of another kind.
    Closed,
    Unknown,
}

/// A file name taken apart.
pub(super) struct FileName {
    pub kind: Kind,
    /// Without the extensions that were understood.
    pub stem: String,
}

impl FileName {
    pub(super) fn of(path: &Path) -> Self {
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
            _ if ends(&tars) => Kind::Archive(ArchiveFormat::Tar),
            _ if ends(&[".zip"]) => Kind::Archive(ArchiveFormat::Zip),
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
        assert_eq!(kind("a.tar.gz"), Kind::Archive(ArchiveFormat::Tar));
        assert_eq!(kind("a.TBZ2"), Kind::Archive(ArchiveFormat::Tar));
        assert_eq!(kind("a.csv.zip"), Kind::Archive(ArchiveFormat::Zip));
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
