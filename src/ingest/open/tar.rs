//! Reads tar archives, compressed or not.
//!
//! A plain tar is read at any place. A compressed one can only be read forward, so its members are read in their order,
//! each from where the one before ended; a look back starts over, which is slow and right. While a compressed tar is
//! listed, the start of every member is kept until it has been looked at.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::compression::Compression;
use super::member::{Listed, MemberData, MemberPrefix, text_of};
use super::stream::{CHUNK_BYTES, Stream, open_file};
use crate::ingest::{Error, Result};

/// What a header may take, with the long names that belong to it.
const HEADER_BYTES: u64 = 1 << 20;

/// The unit that a tar is made of; a header is one.
pub(super) const BLOCK_BYTES: u64 = 512;

/// A tar that is being read.
pub(crate) struct TarReader {
    stream: Arc<Mutex<TarStream>>,
    path: PathBuf,
}

struct TarStream {
    path: PathBuf,
    bytes: Bytes,
    position: u64,
    chunk: usize,
}

enum Bytes {
    Plain(BufReader<fs_err::File>),
    Compressed(Stream),
}

impl TarReader {
    pub(crate) fn open(path: &Path, chunk: usize) -> Result<Self> {
        let read = |source| Error::Read { name: path.display().to_string(), source };
        let bytes = Bytes::open(path, chunk).map_err(read)?;
        let stream = TarStream { path: path.to_owned(), bytes, position: 0, chunk };
        Ok(Self { stream: Arc::new(Mutex::new(stream)), path: path.to_owned() })
    }

    pub(crate) fn is_of(&self, path: &Path) -> bool {
        self.path == path
    }

    /// The bytes of a member.
    pub(crate) fn read(&self, data_offset: u64, size: u64, chunk: usize) -> Stream {
        let member = MemberReader {
            stream: Arc::clone(&self.stream),
            position: data_offset,
            end: data_offset.saturating_add(size),
        };
        let enough = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        Box::new(BufReader::with_capacity(chunk.min(enough), member))
    }
}

impl Bytes {
    fn open(path: &Path, chunk: usize) -> io::Result<Self> {
        let mut file = fs_err::File::open(path)?;
        let mut head = Vec::new();
        (&mut file).take(16).read_to_end(&mut head)?;
        file.rewind()?;
        let file = BufReader::with_capacity(chunk, file);
        Ok(match Compression::of(&head) {
            Some(compression) => Self::Compressed(compression.decompress(Box::new(file), chunk)?),
            None => Self::Plain(file),
        })
    }
}

impl TarStream {
    fn seek_to(&mut self, position: u64) -> io::Result<()> {
        if position == self.position {
            return Ok(());
        }
        if position < self.position && matches!(self.bytes, Bytes::Compressed(_)) {
            (self.bytes, self.position) = (Bytes::open(&self.path, self.chunk)?, 0);
        }
        match &mut self.bytes {
            Bytes::Plain(file) => seek(file, self.position, position)?,
            Bytes::Compressed(stream) => {
                io::copy(&mut stream.take(position - self.position), &mut io::sink())?;
            }
        }
        self.position = position;
        Ok(())
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.seek_to(position)?;
        let count = match &mut self.bytes {
            Bytes::Plain(file) => file.read(buffer)?,
            Bytes::Compressed(stream) => stream.read(buffer)?,
        };
        self.position += count as u64;
        Ok(count)
    }
}

/// Seeks without giving up what is buffered: the next header or member is mostly in it.
fn seek(file: &mut BufReader<fs_err::File>, from: u64, to: u64) -> io::Result<()> {
    match (i64::try_from(from), i64::try_from(to)) {
        (Ok(from), Ok(to)) => file.seek_relative(to - from),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// One member's part of a tar.
struct MemberReader {
    stream: Arc<Mutex<TarStream>>,
    position: u64,
    end: u64,
}

impl Read for MemberReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.end - self.position).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let mut stream = self.stream.lock().map_err(|_| io::Error::other("another reader of the archive failed"))?;
        let count = stream.read_at(self.position, &mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// Whether a tar could begin so: old ones have no signature, but all have a checksum.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK_BYTES as usize]>::try_from(block) else { return false };
    let blank = 8 * u32::from(b' ');
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
    block.iter().all(|byte| *byte == 0)
        || tar::Header::from_byte_slice(block).cksum().is_ok_and(|said| said == sum + blank)
}

/// Hands every file of the archive to `each`.
pub(crate) fn list(path: &Path, name: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    let failed = |source| Error::Archive { name: name.to_owned(), source };
    let length = open_file(path)?.metadata().map_err(failed)?.len();
    let left = Rc::new(Cell::new(u64::MAX));
    match Bytes::open(path, CHUNK_BYTES).map_err(failed)? {
        Bytes::Plain(inner) => {
            let mut archive = tar::Archive::new(LimitedReader { inner, left: Rc::clone(&left) });
            let listing = Listing { name, left, looked_at: None, length };
            listing.run(archive.entries_with_seek().map_err(failed)?, each)?;
            check_end(path, length).map_err(failed)
        }
        Bytes::Compressed(inner) => {
            let mut archive = tar::Archive::new(LimitedReader { inner, left: Rc::clone(&left) });
            let listing = Listing { name, left, looked_at: Some(MemberPrefix::BYTES), length: u64::MAX };
            listing.run(archive.entries().map_err(failed)?, each)?;
            check_rest(archive.into_inner().inner).map_err(failed)
        }
    }
}

/// A tar ends with blocks of zeros; one that was cut off between two members does not.
fn check_end(path: &Path, length: u64) -> io::Result<()> {
    let mut file = fs_err::File::open(path)?;
    file.seek(SeekFrom::Start(length.saturating_sub(BLOCK_BYTES)))?;
    let mut last = Vec::new();
    file.read_to_end(&mut last)?;
    if last.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads what is behind the last member of a compressed tar: only there is the checksum of all that came before.
fn check_rest(mut rest: Stream) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "something stands behind its end")),
        }
    }
}

/// How an archive is gone through.
struct Listing<'a> {
    name: &'a str,
    /// What the archive's reader may still read.
    left: Rc<Cell<u64>>,
    /// How much of each member is kept, where the members are read at all.
    looked_at: Option<u64>,
    /// No member ends behind this.
    length: u64,
}

impl Listing<'_> {
    fn run<R: Read>(&self, mut entries: tar::Entries<'_, R>, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let failed = |source| Error::Archive { name: self.name.to_owned(), source };
        loop {
            self.left.set(HEADER_BYTES);
            let Some(entry) = entries.next().transpose().map_err(failed)? else { return Ok(()) };
            self.left.set(u64::MAX);
            let listed = self.one(entry).map_err(failed)?;
            if let Some(listed) = listed {
                each(listed)?;
            }
        }
    }

    fn one<R: Read>(&self, mut entry: tar::Entry<'_, R>) -> io::Result<Option<Listed>> {
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            return Ok(None);
        }
        let (data_offset, size) = (entry.raw_file_position(), entry.size());
        let content = match kind {
            _ if kind.is_file() || kind.is_contiguous() => Ok(MemberData::Tar { data_offset, size }),
            _ if kind.is_symlink() || kind.is_hard_link() => Err("a link inside an archive"),
            _ => Err("not a file"),
        };
        let name = text_of(&entry.path_bytes());
        let cut = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        let Some(looked_at) = self.looked_at else {
            let within = content.is_err() || data_offset.checked_add(size).is_some_and(|end| end <= self.length);
            return if within { Ok(Some(Listed { name, content, head: None })) } else { cut() };
        };
        let mut head = Vec::new();
        (&mut entry).take(looked_at).read_to_end(&mut head)?;
        let rest = io::copy(&mut entry, &mut io::sink())?;
        if content.is_ok() && head.len() as u64 + rest != size {
            return cut();
        }
        let head = MemberPrefix { complete: head.len() as u64 == size, bytes: head };
        Ok(Some(Listed { name, content, head: Some(head) }))
    }
}

/// A reader that gives up where a header goes on without end: tar keeps long names in memory whole.
struct LimitedReader<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a header of more than 1 MiB"));
        }
        let room = buffer.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..room])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

impl Seek for LimitedReader<BufReader<fs_err::File>> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            // Keeps what is buffered, where a seek of the buffered reader itself would not.
            SeekFrom::Current(offset) => {
                self.inner.seek_relative(offset)?;
                self.inner.stream_position()
            }
            other => self.inner.seek(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tar;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        file
    }

    fn listed(path: &Path) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        list(path, "a.tar", &mut |listed| {
            all.push(listed);
            Ok(())
        })?;
        Ok(all)
    }

    fn read(tar: &TarReader, listed: &Listed) -> Vec<u8> {
        let Ok(MemberData::Tar { data_offset, size }) = listed.content else { panic!("{:?}", listed.content) };
        let mut read = Vec::new();
        tar.read(data_offset, size, 5).read_to_end(&mut read).unwrap();
        read
    }

    #[test]
    fn members_are_read_in_any_order_compressed_or_not() {
        let long = "long name ".repeat(30);
        let second = b"second ".repeat(9000);
        let plain = tar(&[("a.txt", b"first"), (&long, &second), ("empty", b"")]);
        for bytes in [zstd::encode_all(plain.as_slice(), 1).unwrap(), plain] {
            let file = file(&bytes);
            let all = listed(file.path()).unwrap();
            assert_eq!(all.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(), ["a.txt", &long, "empty"]);
            let tar = TarReader::open(file.path(), 100).unwrap();
            for at in [0, 1, 2, 1, 0, 0] {
                assert_eq!(read(&tar, &all[at]), [b"first".as_slice(), &second, b""][at]);
            }
        }
    }

    #[test]
    fn the_head_of_a_compressed_member_is_kept_and_says_whether_it_is_all() {
        let large = vec![b'x'; (1 << 20) + 5];
        let packed = zstd::encode_all(tar(&[("a", b"small"), ("b", &large)]).as_slice(), 1).unwrap();
        let heads: Vec<MemberPrefix> =
            listed(file(&packed).path()).unwrap().into_iter().map(|l| l.head.unwrap()).collect();
        assert_eq!((heads[0].complete, heads[0].bytes.as_slice()), (true, b"small".as_slice()));
        assert_eq!((heads[1].complete, heads[1].bytes.len()), (false, (1 << 20) + 1));
    }

    #[test]
    fn what_is_cut_off_or_no_tar_is_an_error_that_names_it() {
        let plain = tar(&[("a.txt", b"first"), ("b.txt", &[b'x'; 5000])]);
        let cut = &plain[..4000];
        for bytes in [cut, &zstd::encode_all(cut, 1).unwrap(), &[b'x'; 2000]] {
            let error = listed(file(bytes).path()).err().unwrap();
            assert!(error.to_string().contains("`a.tar`"), "{error}");
        }
    }

    #[test]
    fn damage_that_only_the_checksum_shows_and_a_missing_end_are_errors() {
        let plain = tar(&[("a.txt", b"first"), ("b.txt", &[b'x'; 5000])]);
        let mut stored = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        io::Write::write_all(&mut stored, &plain).unwrap();
        let mut stored = stored.finish().unwrap();
        assert_eq!(listed(file(&stored).path()).unwrap().len(), 2);
        let at = stored.windows(5).position(|bytes| bytes == b"first").unwrap();
        stored[at] = b'F';
        assert!(listed(file(&stored).path()).is_err());
        assert!(listed(file(&stored[..stored.len() - 8]).path()).is_err());
        let two = [zstd::encode_all(plain.as_slice(), 1).unwrap(), zstd::encode_all(plain.as_slice(), 1).unwrap()];
        assert!(listed(file(&two.concat()).path()).is_err(), "a second archive behind the first");
        // Both members are whole; what says that there is no third is not.
        assert!(listed(file(&plain[..512 + 512 + 512 + 5120]).path()).is_err());
    }

    #[test]
    fn a_name_without_end_does_not_fill_the_memory() {
        let endless = tar(&[(&"x".repeat(2 << 20), b"first")]);
        let error = listed(file(&endless).path()).err().unwrap();
        let causes: Vec<String> =
            std::iter::successors(std::error::Error::source(&error), |e| e.source()).map(ToString::to_string).collect();
        assert!(causes.join(": ").contains("1 MiB"), "{causes:?}");
    }
}
