//! Reads zip archives: their central directory, and each member by itself.
//!
//! The directory is not believed: a member that turns out longer than it says, or other than its checksum, is an error,
//! and an archive whose members add up to an absurd expansion is refused before any of them is read.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rawzip::CompressionMethod;

use super::compression::{self, Compression};
use super::member::{Listed, MemberData, ZipEntry, text_of};
use super::stream::{Stream, open_file};
use crate::ingest::{Error, Result};

impl ZipEntry {
    /// The member's bytes.
    pub(crate) fn open(&self, mut archive: fs_err::File, chunk: usize) -> io::Result<Stream> {
        archive.seek(SeekFrom::Start(self.data_offset))?;
        let raw: Stream = Box::new(BufReader::with_capacity(chunk, archive.take(self.compressed_size)));
        let content = match self.compression {
            Some(compression) => compression.decompress(raw, chunk)?,
            None => raw,
        };
        let verified = CheckedReader { inner: content, given: 0, sum: flate2::Crc::new(), entry: self.clone() };
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
    let mut total = 0_u64;
    while let Some(header) = entries.next_entry().map_err(failed)? {
        // Windows writes its own separators.
        let name_inside = text_of(header.file_path().as_ref()).replace('\\', "/");
        if header.is_dir() || name_inside.ends_with('/') {
            continue;
        }
        let content = match content(&header) {
            Err(reason) => Err(reason),
            Ok(compression) => {
                let local = archive.get_entry(header.wayfinder()).map_err(failed)?;
                let (data_offset, end) = local.compressed_data_range();
                let cut = || Error::Archive { name: name.to_owned(), source: io::ErrorKind::UnexpectedEof.into() };
                let compressed_size = end.checked_sub(data_offset).filter(|_| end <= length).ok_or_else(cut)?;
                total = total.saturating_add(header.uncompressed_size_hint());
                let (uncompressed_size, crc32) = (header.uncompressed_size_hint(), header.crc32());
                Ok(MemberData::Zip(ZipEntry { data_offset, compressed_size, uncompressed_size, crc32, compression }))
            }
        };
        if compression::is_absurd(length, total) {
            return Err(Error::Absurd { name: name.to_owned() });
        }
        each(Listed { name: name_inside, content, head: None })?;
    }
    Ok(())
}

/// How a member is compressed, or why it is not read.
fn content(header: &rawzip::ZipFileHeaderRecord<'_>) -> std::result::Result<Option<Compression>, &'static str> {
    if header.flags().is_encrypted() {
        return Err("encrypted");
    }
    if header.mode().is_symlink() {
        return Err("a link inside an archive");
    }
    match header.compression_method() {
        CompressionMethod::STORE => Ok(None),
        CompressionMethod::DEFLATE => Ok(Some(Compression::Deflate)),
        CompressionMethod::BZIP2 => Ok(Some(Compression::Bzip2)),
        CompressionMethod::ZSTD => Ok(Some(Compression::Zstd)),
        CompressionMethod::XZ => Ok(Some(Compression::Xz)),
        _ => Err("compressed in a way that is not read; unpack the archive"),
    }
}

/// Holds a member to what the directory says of it.
struct CheckedReader {
    inner: Stream,
    given: u64,
    sum: flate2::Crc,
    entry: ZipEntry,
}

impl Read for CheckedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        self.given += count as u64;
        let ended = count == 0 && !buffer.is_empty();
        let wrong_size =
            self.given > self.entry.uncompressed_size || ended && self.given < self.entry.uncompressed_size;
        if wrong_size || ended && self.sum.sum() != self.entry.crc32 {
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
        let Ok(MemberData::Zip(entry)) = &listed.content else { panic!("{:?}", listed.content) };
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
