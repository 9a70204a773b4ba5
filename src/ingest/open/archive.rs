//! Archives as folders: which members a zip or tar has, and where each is.
//!
//! A member is a file like any other, called `a.zip!/pos/1.txt`. Nothing is ever written under a member's name, so names
//! that climb out of the archive do no harm; they are passed over and reported all the same. The order is the archive's
//! own, because a compressed tar can only be read from front to back.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;

use super::compression::Packed;
use super::opener::open_file;
use super::zip;
use crate::ingest::find::walk::Found;
use crate::ingest::parse::source::Skipped;
use crate::ingest::{Error, Result};

/// How much of a member is looked at where looking later would mean reading the archive again.
const HEAD_BYTES: u64 = 1 << 20;
/// A header of a tar.
const BLOCK_BYTES: usize = 512;

/// What a file of many files is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Archive {
    Zip,
    /// Compressed or not; its first bytes tell.
    Tar,
}

impl Archive {
    /// Whether a file begins as such an archive does; its name alone proves little.
    pub(crate) fn is(self, path: &Path) -> Result<bool> {
        let mut head = Vec::new();
        let read = |source| Error::Open { path: path.to_owned(), source };
        open_file(path)?.take(BLOCK_BYTES as u64).read_to_end(&mut head).map_err(read)?;
        Ok(match self {
            Self::Zip => head.starts_with(b"PK"),
            Self::Tar => Packed::of(&head).is_some() || is_header(&head),
        })
    }
}

/// Whether a tar could begin so: old ones have no signature, but all have a checksum.
fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK_BYTES]>::try_from(block) else { return false };
    let blank = 8 * u32::from(b' ');
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
    block.iter().all(|byte| *byte == 0)
        || tar::Header::from_byte_slice(block).cksum().is_ok_and(|said| said == sum + blank)
}

/// A file inside an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// Its path in the archive.
    pub name: String,
    pub place: Place,
}

/// Where a member's bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Zip(zip::Entry),
    /// In the decompressed tar.
    Tar {
        start: u64,
        bytes: u64,
    },
}

impl Member {
    /// The digest of the member of an archive with this digest.
    pub(crate) fn digest(&self, archive: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(archive.as_bytes()).update(self.name.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// Bytes of the archive that it takes, or about that.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.place {
            Place::Zip(entry) => entry.packed_bytes,
            Place::Tar { bytes, .. } => *bytes,
        }
    }
}

/// The first bytes of a member, taken while a compressed tar was listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub bytes: Vec<u8>,
    pub complete: bool,
}

impl Head {
    /// One byte more than is looked at, which says that there is more.
    pub(crate) const BYTES: u64 = HEAD_BYTES + 1;

    /// Whether the head is enough for looking at so many bytes.
    pub(crate) fn serves(&self, bytes: u64) -> bool {
        let packed = Packed::of(&self.bytes).is_some();
        self.complete || (bytes <= HEAD_BYTES && !packed)
    }
}

/// A member as its archive lists it.
pub(crate) struct Listed {
    /// As it stands in the archive, bytes that are no UTF-8 as `\xNN`.
    pub name: String,
    pub content: std::result::Result<Place, &'static str>,
    pub head: Option<Head>,
}

/// Hands every member of `archive` that may be read to `each`, in the order of the archive; returns the others.
pub(crate) fn list(archive: &Found, kind: Archive, each: &mut dyn FnMut(Found) -> Result<()>) -> Result<Vec<Skipped>> {
    let (mut skipped, mut passed_over) = (Vec::new(), HashSet::new());
    let folder = folder_of(&archive.path);
    let mut one = |listed: Listed| -> Result<()> {
        let parts: Vec<&str> = listed.name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let name = |parts: &[&str]| format!("{}!/{}", archive.name, parts.join("/"));
        let Some((_, folders)) = parts.split_last() else { return Ok(()) };
        let hidden = parts.iter().position(|part| part.starts_with(['.', '_']));
        let skip = match (hidden, &listed.content) {
            _ if parts.contains(&"..") => Some((parts.len(), "its name climbs out of the archive")),
            (Some(at), _) => Some((at + 1, hidden_because(parts[at]))),
            (None, Err(reason)) => Some((parts.len(), *reason)),
            (None, Ok(_)) => None,
        };
        if let Some((depth, reason)) = skip {
            // A hidden folder is reported once, not with all that is in it.
            if passed_over.insert(name(&parts[..depth])) {
                skipped.push(Skipped { name: name(&parts[..depth]), reason: reason.into() });
            }
            return Ok(());
        }
        let Ok(place) = listed.content else { return Ok(()) };
        let found = Found {
            path: archive.path.clone(),
            name: name(&parts),
            folders: archive
                .folders
                .iter()
                .chain([&folder])
                .cloned()
                .chain(folders.iter().map(|f| (*f).to_owned()))
                .collect(),
            depth: archive.depth + usize::from(!archive.named) + folders.len(),
            named: false,
            member: Some(Member { name: parts.join("/"), place }),
            head: listed.head,
        };
        each(found)
    };
    match kind {
        Archive::Zip => zip::list(&archive.path, &archive.name, &mut one)?,
        Archive::Tar => super::tar::list(&archive.path, &archive.name, &mut one)?,
    }
    Ok(skipped)
}

fn hidden_because(part: &str) -> &'static str {
    match part {
        "__MACOSX" => "notes of macOS, not files",
        _ if part.starts_with('.') => "hidden",
        _ => "its name starts with `_`",
    }
}

/// The folder that an archive stands for: its name without what makes it an archive.
fn folder_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem = name.split_once(".tar").map(|(stem, _)| stem).or_else(|| name.rsplit_once('.').map(|(stem, _)| stem));
    stem.unwrap_or(&name).to_owned()
}

/// A name in an archive as text; different bytes are different texts.
pub(crate) fn text_of(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_a_folder_by_its_stem() {
        for (path, folder) in [("x/pos.zip", "pos"), ("neg.tar.gz", "neg"), ("a.b.tgz", "a.b"), ("c.tar", "c")] {
            assert_eq!(folder_of(Path::new(path)), folder);
        }
    }

    #[test]
    fn archives_are_told_from_files_that_are_only_called_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let is = |kind: Archive, bytes: &[u8]| {
            fs_err::write(file.path(), bytes).unwrap();
            kind.is(file.path()).unwrap()
        };
        let (zip, tar) = (crate::testing::zip(&[("a", b"x")]), crate::testing::tar(&[("a", b"x")]));
        assert!(is(Archive::Zip, &zip) && is(Archive::Tar, &tar));
        assert!(is(Archive::Tar, &zstd::encode_all(tar.as_slice(), 1).unwrap()));
        let page = "<html>not found</html>".repeat(50);
        for bytes in [b"".as_slice(), page.as_bytes()] {
            assert!(!is(Archive::Zip, bytes) && !is(Archive::Tar, bytes));
        }
    }

    #[test]
    fn names_of_any_bytes_are_distinct_texts() {
        assert_eq!(text_of("größe".as_bytes()), "größe");
        assert_ne!(text_of(b"a\x81.txt"), text_of(b"a\x82.txt"));
    }
}
