//! The members of archives: where each is, and what was seen of it.

use serde::{Deserialize, Serialize};

use super::compression::Compression;

/// How much of a member is looked at where looking later would mean reading the archive again.
const HEAD_BYTES: u64 = 1 << 20;

/// A file inside an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ArchiveMember {
    /// Its path in the archive.
    pub name: String,
    pub data: MemberData,
}

/// Where a member's bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberData {
    Zip(ZipEntry),
    /// In the decompressed tar.
    Tar {
        data_offset: u64,
        size: u64,
    },
}

/// A member of a zip archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ZipEntry {
    /// Where its data begins in the archive, behind its local header.
    pub data_offset: u64,
    pub compressed_size: u64,
    pub uncompressed_size: u64,
    pub crc32: u32,
    /// `None` where it is stored.
    pub compression: Option<Compression>,
}

impl ArchiveMember {
    /// The digest of the member of an archive with this digest.
    pub(crate) fn digest(&self, archive: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(archive.as_bytes()).update(self.name.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// Bytes of the archive that it takes, or about that.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.data {
            MemberData::Zip(entry) => entry.compressed_size,
            MemberData::Tar { size, .. } => *size,
        }
    }
}

/// The first bytes of a member, taken while a compressed tar was listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberPrefix {
    pub bytes: Vec<u8>,
    pub complete: bool,
}

impl MemberPrefix {
    /// One byte more than is looked at, which says that there is more.
    pub(crate) const BYTES: u64 = HEAD_BYTES + 1;

    /// Whether the head is enough for looking at so many bytes.
    pub(crate) fn serves(&self, bytes: u64) -> bool {
        let compressed = Compression::of(&self.bytes).is_some();
        self.complete || (bytes <= HEAD_BYTES && !compressed)
    }
}

/// A member as its archive lists it.
pub(crate) struct Listed {
    /// As it stands in the archive, bytes that are no UTF-8 as `\xNN`.
    pub name: String,
    pub content: std::result::Result<MemberData, &'static str>,
    pub head: Option<MemberPrefix>,
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
    fn names_of_any_bytes_are_distinct_texts() {
        assert_eq!(text_of("größe".as_bytes()), "größe");
        assert_ne!(text_of(b"a\x81.txt"), text_of(b"a\x82.txt"));
    }
}
