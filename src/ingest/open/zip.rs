//! Reads zip archives: their directory, and each member by itself.
//!
//! The directory is not believed: a member that turns out longer than it says, or other than its checksum, is an error,
//! and an archive whose members add up to an absurd expansion is refused before any of them is read.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rawzip::CompressionMethod;

use super::compression::{self, Packed};
use super::member::{Entry, Listed, Place, text_of};
use super::stream::{Stream, open_file};
use crate::ingest::{Error, Result};

impl Entry {
    /// The member's bytes.
    pub(crate) fn open(&self, mut archive: fs_err::File, chunk: usize) -> io::Result<Stream> {
        archive.seek(SeekFrom::Start(self.start))?;
        let raw: Stream = Box::new(BufReader::with_capacity(chunk, archive.take(self.packed_bytes)));
        let unpacked = match self.packed {
            Some(packed) => packed.unpack(raw, chunk)?,
            None => raw,
        };
        let verified = Verified { inner: unpacked, given: 0, sum: flate2::Crc::new(), entry: self.clone() };
        Ok(Box::new(BufReader::with_capacity(chunk, verified)))
    }
}

/// Hands every file of the archive to `each`.
pub(crate) fn list(path: &Path, name: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    let failed = |error: rawzip::Error| Error::Archive { name: name.to_owned(), source: io::Error::other(error) };
    let file = open_file(path)?;
    let length = file.metadata().map_err(|source| Error::Open { path: path.to_owned(), source })?.len();
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let archive = rawzip::ZipArchive::from_file(file.into_file(), &mut buffer).map_err(failed)?;
    let mut entries = archive.entries(&mut buffer);
    let mut unpacked = 0_u64;
    while let Some(header) = entries.next_entry().map_err(failed)? {
        // Windows writes its own separators.
        let name_inside = text_of(header.file_path().as_ref()).replace('\\', "/");
        if header.is_dir() || name_inside.ends_with('/') {
            continue;
        }
        let content = match content(&header) {
            Err(reason) => Err(reason),
            Ok(packed) => {
                let local = archive.get_entry(header.wayfinder()).map_err(failed)?;
                let (start, end) = local.compressed_data_range();
                let cut = || Error::Archive { name: name.to_owned(), source: io::ErrorKind::UnexpectedEof.into() };
                let packed_bytes = end.checked_sub(start).filter(|_| end <= length).ok_or_else(cut)?;
                unpacked = unpacked.saturating_add(header.uncompressed_size_hint());
                let (bytes, checksum) = (header.uncompressed_size_hint(), header.crc32());
                Ok(Place::Zip(Entry { start, packed_bytes, bytes, checksum, packed }))
            }
        };
        if compression::is_absurd(length, unpacked) {
            return Err(Error::Absurd { name: name.to_owned() });
        }
        each(Listed { name: name_inside, content, head: None })?;
    }
    Ok(())
}

/// How a member is compressed, or why it is not read.
fn content(header: &rawzip::ZipFileHeaderRecord<'_>) -> std::result::Result<Option<Packed>, &'static str> {
    if header.flags().is_encrypted() {
        return Err("encrypted");
    }
    if header.mode().is_symlink() {
        return Err("a link inside an archive");
    }
    match header.compression_method() {
        CompressionMethod::STORE => Ok(None),
        CompressionMethod::DEFLATE => Ok(Some(Packed::Deflate)),
        CompressionMethod::BZIP2 => Ok(Some(Packed::Bzip2)),
        CompressionMethod::ZSTD => Ok(Some(Packed::Zstd)),
        CompressionMethod::XZ => Ok(Some(Packed::Xz)),
        _ => Err("compressed in a way that is not read; unpack the archive"),
    }
}

/// Holds a member to what the directory says of it.
struct Verified {
    inner: Stream,
    given: u64,
    sum: flate2::Crc,
    entry: Entry,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        self.given += count as u64;
        let ended = count == 0 && !buffer.is_empty();
        let wrong_size = self.given > self.entry.bytes || ended && self.given < self.entry.bytes;
        if wrong_size || ended && self.sum.sum() != self.entry.checksum {
            let what = "it is not what the archive's directory says of it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::zip;

    fn listed(bytes: &[u8]) -> Result<Vec<Listed>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        let mut all = Vec::new();
        list(file.path(), "a.zip", &mut |listed| {
            all.push(listed);
            Ok(())
        })?;
        Ok(all)
    }

    fn read(bytes: &[u8], listed: &Listed) -> io::Result<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        let Ok(Place::Zip(entry)) = &listed.content else { panic!("{:?}", listed.content) };
        let mut read = Vec::new();
        entry.open(fs_err::File::open(file.path()).unwrap(), 7)?.read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn members_are_read_whole_each_by_itself() {
        let bytes = zip(&[("a\\b.txt", b"first"), ("empty", b""), ("c.txt", &b"second ".repeat(9000))]);
        let all = listed(&bytes).unwrap();
        assert_eq!(all.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(), ["a/b.txt", "empty", "c.txt"]);
        assert_eq!(read(&bytes, &all[2]).unwrap(), b"second ".repeat(9000));
        assert_eq!(read(&bytes, &all[0]).unwrap(), b"first");
        assert_eq!(read(&bytes, &all[1]).unwrap(), b"");
    }

    #[test]
    fn a_member_other_than_the_directory_says_is_an_error() {
        let mut bytes = zip(&[("a.txt", b"a stored text")]);
        let at = bytes.windows(6).position(|window| window == b"stored").unwrap();
        let all = listed(&bytes).unwrap();
        bytes[at] = b'S';
        assert!(read(&bytes, &all[0]).is_err());
    }

    #[test]
    fn a_cut_archive_is_an_error_that_names_it() {
        let bytes = zip(&[("a.txt", b"first"), ("b.txt", b"second")]);
        let error = listed(&bytes[..bytes.len() - 30]).err().unwrap();
        assert!(error.to_string().contains("`a.zip`"), "{error}");
    }

    #[test]
    fn members_that_add_up_to_an_absurd_size_are_refused_unread() {
        let mut bytes = zip(&[("a.txt", b"first"), ("b.txt", b"second")]);
        let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        bytes[directory + 24..directory + 28].copy_from_slice(&u32::to_le_bytes(3 << 30));
        let error = listed(&bytes).err().unwrap();
        assert!(error.to_string().contains("expand"), "{error}");
    }
}
