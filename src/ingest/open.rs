//! Opens a source as one stream of UTF-8 bytes: out of its archive, decompressed, transcoded, without its mark.
//!
//! Every parser thus sees one encoding. An archive is hashed once, whatever number of members is read from it, and a
//! tar is read on from where its last member ended.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use super::archive::{Member, Place};
use super::encoding::{self, DETECT_BYTES, Encoding, Transcoded, Verdict};
use super::tape::Tape;
use super::{Error, Result, Source, compress};
use crate::files::Stored;

/// A stream of bytes that can move to another thread.
pub(super) type Stream = Box<dyn BufRead + Send>;

/// Files up to this size are read once, into memory, for both the digest and the records.
const SMALL_FILE_BYTES: u64 = 1 << 20;
/// How much is read at a time.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// An opened source.
pub(super) struct Opened {
    /// BLAKE3 of the raw file, 64 hexadecimal digits; of a member's name and the raw archive's digest.
    pub digest: String,
    /// The bytes as UTF-8 after the byte order mark.
    pub stream: Stream,
    /// Bytes of the byte order mark that was taken off.
    pub start: u64,
    /// What the bytes were before.
    pub encoding: &'static encoding_rs::Encoding,
}

/// The start of a source as UTF-8.
pub(super) struct Sample {
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
    pub encoding: &'static encoding_rs::Encoding,
}

/// Opens sources one after the other.
pub(super) struct Opener {
    chunk: usize,
    encoding: Encoding,
    /// Of the archives.
    digests: HashMap<PathBuf, String>,
    tape: Option<Tape>,
}

impl Opener {
    /// `chunk` bounds how much is read at a time.
    pub(super) fn new(chunk: usize, encoding: Encoding) -> Self {
        Self { chunk, encoding, digests: HashMap::new(), tape: None }
    }

    /// Opens a source for its records.
    pub(super) fn open(&mut self, source: &Source) -> Result<Opened> {
        let (digest, raw) = match &source.member {
            None => self.file(source)?,
            Some(member) => {
                let archive = match self.digests.get(&source.path) {
                    Some(digest) => digest.clone(),
                    None => content_digest(&source.path)?,
                };
                self.digests.insert(source.path.clone(), archive.clone());
                (member.digest(&archive), self.member(source, member)?)
            }
        };
        let head = Unpacked::of(raw, self.chunk, self.encoding).map_err(|error| failed(source, error))?;
        // What was settled when the layout was looked at needs no second reading of the whole.
        let encoding = match &source.layout {
            Some(layout) if head.verdict.is_open => layout.encoding,
            _ => head.settled(source)?,
        };
        let decoded = head.decoded(encoding);
        Ok(Opened { digest, stream: decoded.stream, start: decoded.mark, encoding: decoded.encoding })
    }

    fn file(&self, source: &Source) -> Result<(String, Stream)> {
        let read = |error| failed(source, error);
        let mut file = open_file(&source.path)?;
        let mut hasher = blake3::Hasher::new();
        let raw: Stream = if source.bytes <= SMALL_FILE_BYTES {
            let mut bytes = Vec::with_capacity(source.bytes as usize);
            file.read_to_end(&mut bytes).map_err(read)?;
            hasher.update(&bytes);
            Box::new(Cursor::new(bytes))
        } else {
            hasher.update_reader(&mut file).map_err(read)?;
            file.rewind().map_err(read)?;
            Box::new(BufReader::with_capacity(self.chunk, file))
        };
        Ok((hasher.finalize().to_hex().to_string(), raw))
    }

    fn member(&mut self, source: &Source, member: &Member) -> Result<Stream> {
        let read = |error| failed(source, error);
        match &member.place {
            Place::Zip(entry) => entry.open(open_file(&source.path)?, self.chunk).map_err(read),
            Place::Tar { start, bytes } => {
                let tape = match self.tape.take() {
                    Some(tape) if tape.is_of(&source.path) => tape,
                    _ => Tape::open(&source.path, self.chunk)?,
                };
                let stream = tape.read(*start, *bytes, self.chunk);
                self.tape = Some(tape);
                Ok(stream)
            }
        }
    }
}

/// The first bytes of a source, read in the encoding that they alone look like; that does for looking at its syntax.
pub(super) fn sample(source: &Source, bytes: u64, encoding: Encoding) -> Result<Sample> {
    let head = unpacked(source, bytes, encoding)?;
    let guessed = head.verdict.encoding;
    taken(source, bytes, head.decoded(guessed))
}

/// The first bytes of a source in the encoding that it will be read in.
pub(super) fn settled_sample(source: &Source, bytes: u64, encoding: Encoding) -> Result<Sample> {
    let head = unpacked(source, bytes, encoding)?;
    let settled = head.settled(source)?;
    taken(source, bytes, head.decoded(settled))
}

fn unpacked(source: &Source, bytes: u64, encoding: Encoding) -> Result<Unpacked> {
    let raw = match &source.head {
        Some(head) if head.serves(bytes) => Box::new(Cursor::new(head.bytes.clone())),
        _ => raw(source)?,
    };
    Unpacked::of(raw, CHUNK_BYTES, encoding).map_err(|error| failed(source, error))
}

fn taken(source: &Source, bytes: u64, decoded: Decoded) -> Result<Sample> {
    let mut head = Vec::new();
    decoded.stream.take(bytes + 1).read_to_end(&mut head).map_err(|error| failed(source, error))?;
    let whole = source.head.as_ref().is_none_or(|head| head.complete || !head.serves(bytes));
    let complete = head.len() as u64 <= bytes && whole;
    head.truncate(bytes as usize);
    Ok(Sample { bytes: head, complete, encoding: decoded.encoding })
}

/// A source as it lies on disk or in its archive.
fn raw(source: &Source) -> Result<Stream> {
    match &source.member {
        None => Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES, open_file(&source.path)?))),
        Some(member) => Opener::new(CHUNK_BYTES, Encoding::Auto).member(source, member),
    }
}

/// BLAKE3 of a file's raw bytes, 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Open`] and [`Error::Read`].
pub fn content_digest(path: &Path) -> Result<String> {
    let file = Stored::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let hash = file.hash().map_err(|source| Error::Read { name: path.display().to_string(), source })?;
    Ok(hash.to_hex().to_string())
}

pub(super) fn open_file(path: &Path) -> Result<fs_err::File> {
    fs_err::File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}

fn failed(source: &Source, error: io::Error) -> Error {
    Error::Read { name: source.name.clone(), source: error }
}

struct Decoded {
    mark: u64,
    stream: Stream,
    encoding: &'static encoding_rs::Encoding,
}

/// A stream without its compression, and what its start says about its encoding.
struct Unpacked {
    head: Vec<u8>,
    rest: Stream,
    chunk: usize,
    verdict: Verdict,
}

impl Unpacked {
    fn of(raw: Stream, chunk: usize, encoding: Encoding) -> io::Result<Self> {
        let mut rest = compress::unpack(raw, chunk)?;
        let mut head = Vec::new();
        (&mut rest).take(DETECT_BYTES as u64).read_to_end(&mut head)?;
        let complete = head.len() < DETECT_BYTES;
        let verdict = encoding.of(&head, complete)?;
        // A small file needs a small buffer, and there may be many of them.
        let chunk = if complete { chunk.min(head.len() + 1) } else { chunk };
        Ok(Self { head, rest, chunk, verdict })
    }

    /// The encoding of the source that this is the start of; where that is open, the source is read once more.
    fn settled(&self, source: &Source) -> Result<&'static encoding_rs::Encoding> {
        if !self.verdict.is_open {
            return Ok(self.verdict.encoding);
        }
        let judge = |raw| encoding::judge(compress::unpack(raw, CHUNK_BYTES)?, self.verdict.encoding);
        judge(raw(source)?).map_err(|error| failed(source, error))
    }

    fn decoded(self, encoding: &'static encoding_rs::Encoding) -> Decoded {
        let mark = self.verdict.mark as u64;
        let mut whole = Cursor::new(self.head);
        whole.set_position(mark);
        let whole = Box::new(BufReader::with_capacity(self.chunk, whole.chain(self.rest)));
        let stream: Stream = if encoding == encoding_rs::UTF_8 {
            whole
        } else {
            Box::new(BufReader::with_capacity(self.chunk, Transcoded::new(whole, encoding)))
        };
        Decoded { mark, stream, encoding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(raw: Vec<u8>, chunk: usize) -> (u64, Vec<u8>) {
        let raw = Box::new(BufReader::with_capacity(chunk, Cursor::new(raw)));
        let head = Unpacked::of(raw, chunk, Encoding::Auto).unwrap();
        let guessed = head.verdict.encoding;
        let Decoded { mark, mut stream, .. } = head.decoded(guessed);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        (mark, bytes)
    }

    #[test]
    fn marks_and_compression_are_taken_off_whatever_the_chunk() {
        let text = "\u{feff}größe 🎬 end";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let two_frames =
            [zstd::encode_all(&text.as_bytes()[..5], 1).unwrap(), zstd::encode_all(&text.as_bytes()[5..], 1).unwrap()];
        let expected = text.trim_start_matches('\u{feff}').as_bytes();
        for chunk in [1, 3, 4096] {
            assert_eq!(decode(text.into(), chunk), (3, expected.to_vec()));
            assert_eq!(decode(utf16.clone(), chunk), (2, expected.to_vec()));
            assert_eq!(decode(utf16_big.clone(), chunk), (2, expected.to_vec()));
            assert_eq!(decode(two_frames.concat(), chunk), (3, expected.to_vec()));
            assert_eq!(decode(b"ab".to_vec(), chunk), (0, b"ab".to_vec()));
        }
    }

    #[test]
    fn a_file_longer_than_what_is_looked_at_comes_out_whole() {
        let text = "größe ".repeat(DETECT_BYTES / 4);
        assert!(decode(text.clone().into(), 1000).1 == text.as_bytes());
        let latin = encoding_rs::WINDOWS_1252.encode(&text).0.into_owned();
        assert!(decode(latin, 1000).1 == text.as_bytes());
    }
}
