//! Opens a source as one stream of UTF-8 bytes: out of its archive, decompressed, transcoded, without its mark.
//!
//! Every parser thus sees one encoding. An archive is hashed once, whatever number of members is read from it, and a
//! tar is read on from where its last member ended.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use super::compression::{self, Compression};
use super::detect::{DETECT_BYTES, Detected, confirm, detect};
use super::digest::Digests;
use super::encoding::{DecodingReader, Encoding};
use super::location::Location;
use super::member::{ArchiveMember, MemberData};
use super::stream::{CHUNK_BYTES, Stream, open_file};
use super::tar::TarReader;
use crate::ingest::{Error, Result};

/// Files up to this size are read once, into memory, for both the digest and the records.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// An opened source.
pub(crate) struct Opened {
    /// BLAKE3 of the raw file, 64 hexadecimal digits; of a member's name and the raw archive's digest.
    pub digest: String,
    /// The bytes as UTF-8 after the byte order mark.
    pub stream: Stream,
    /// Where in the source's text the stream begins; the byte order mark that was taken off counts.
    pub start: u64,
    /// What the bytes were before.
    pub encoding: &'static encoding_rs::Encoding,
}

/// What is known of the text of a source before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    /// The encoding that it is to be in.
    pub asked: Encoding,
    /// What its encoding was settled to be, where that took a reading of the whole, which needs no second one.
    pub settled: Option<&'static encoding_rs::Encoding>,
    /// Where to begin, in bytes of the text as UTF-8, a byte order mark counted as it stands in the file; `None` for the
    /// beginning.
    pub from: Option<u64>,
}

/// Opens sources one after the other.
pub(crate) struct Opener {
    chunk: usize,
    digests: Digests,
    tar: Option<TarReader>,
}

impl Opener {
    /// `chunk` bounds how much is read at a time.
    pub(crate) fn new(chunk: usize, digests: Digests) -> Self {
        Self { chunk, digests, tar: None }
    }

    /// Opens a source for its records.
    pub(crate) fn open(&mut self, location: &Location, text: &Text) -> Result<Opened> {
        let (digest, raw) = match &location.member {
            None => self.file(location)?,
            Some(member) => (member.digest(&self.digests.of(&location.path)?), self.member(location, member)?),
        };
        let read = |error| failed(location, error);
        let head = Decompressed::of(raw, self.chunk, text.asked).map_err(read)?;
        let encoding = match text.settled {
            Some(settled) if head.detected.is_provisional => settled,
            _ => head.settled(location)?,
        };
        let is_plain = location.member.is_none() && head.compression.is_none() && encoding == encoding_rs::UTF_8;
        let Decoded { bom_bytes, mut stream, .. } = head.decoded(encoding);
        let start = text.from.unwrap_or(bom_bytes);
        if start > bom_bytes && is_plain {
            let mut file = open_file(&location.path)?;
            file.seek(SeekFrom::Start(start)).map_err(read)?;
            stream = Box::new(BufReader::with_capacity(self.chunk, file));
        } else {
            skip(&mut stream, start.saturating_sub(bom_bytes)).map_err(read)?;
        }
        Ok(Opened { digest, stream, start, encoding })
    }

    fn file(&self, location: &Location) -> Result<(String, Stream)> {
        let read = |error| failed(location, error);
        let mut file = open_file(&location.path)?;
        if location.bytes <= SMALL_FILE_BYTES {
            let mut bytes = Vec::with_capacity(location.bytes as usize);
            file.read_to_end(&mut bytes).map_err(read)?;
            let digest = blake3::hash(&bytes).to_hex().to_string();
            return Ok((digest, Box::new(Cursor::new(bytes))));
        }
        let digest = self.digests.of_opened(&location.path, &mut file).map_err(read)?;
        file.rewind().map_err(read)?;
        Ok((digest, Box::new(BufReader::with_capacity(self.chunk, file))))
    }

    fn member(&mut self, location: &Location, member: &ArchiveMember) -> Result<Stream> {
        let read = |error| failed(location, error);
        match &member.data {
            MemberData::Zip(entry) => entry.open(open_file(&location.path)?, self.chunk).map_err(read),
            MemberData::Tar { data_offset, size } => {
                let tar = match self.tar.take() {
                    Some(tar) if tar.is_of(&location.path) => tar,
                    _ => TarReader::open(&location.path, self.chunk)?,
                };
                let stream = tar.read(*data_offset, *size, self.chunk);
                self.tar = Some(tar);
                Ok(stream)
            }
        }
    }
}

fn skip(stream: &mut Stream, bytes: u64) -> io::Result<()> {
    match io::copy(&mut stream.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A source as it lies on disk or in its archive.
pub(super) fn raw(location: &Location) -> Result<Stream> {
    match &location.member {
        None => Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES, open_file(&location.path)?))),
        Some(member) => Opener::new(CHUNK_BYTES, Digests::default()).member(location, member),
    }
}

pub(super) fn failed(location: &Location, error: io::Error) -> Error {
    Error::Read { name: location.name.clone(), source: error }
}

/// A stream as UTF-8.
pub(super) struct Decoded {
    pub bom_bytes: u64,
    pub stream: Stream,
    pub encoding: &'static encoding_rs::Encoding,
}

/// A stream without its compression, and what its start says about its encoding.
pub(super) struct Decompressed {
    head: Vec<u8>,
    rest: Stream,
    chunk: usize,
    compression: Option<Compression>,
    pub detected: Detected,
}

impl Decompressed {
    pub(super) fn of(raw: Stream, chunk: usize, encoding: Encoding) -> io::Result<Self> {
        let (compression, raw) = compression::recognise(raw)?;
        let mut rest = match compression {
            Some(compression) => compression.decompress(raw, chunk)?,
            None => raw,
        };
        let mut head = Vec::new();
        (&mut rest).take(DETECT_BYTES as u64).read_to_end(&mut head)?;
        let complete = head.len() < DETECT_BYTES;
        let detected = detect(&head, complete, encoding)?;
        // A small file needs a small buffer, and there may be many of them.
        let chunk = if complete { chunk.min(head.len() + 1) } else { chunk };
        Ok(Self { head, rest, chunk, compression, detected })
    }

    /// The encoding of the source that this is the start of; where that is open, the source is read once more.
    pub(super) fn settled(&self, location: &Location) -> Result<&'static encoding_rs::Encoding> {
        if !self.detected.is_provisional {
            return Ok(self.detected.encoding);
        }
        let confirmed = |raw| confirm(compression::decompress(raw, CHUNK_BYTES)?, self.detected.encoding);
        confirmed(raw(location)?).map_err(|error| failed(location, error))
    }

    pub(super) fn decoded(self, encoding: &'static encoding_rs::Encoding) -> Decoded {
        let bom_bytes = self.detected.bom_bytes as u64;
        let mut whole = Cursor::new(self.head);
        whole.set_position(bom_bytes);
        let whole = Box::new(BufReader::with_capacity(self.chunk, whole.chain(self.rest)));
        let stream: Stream = if encoding == encoding_rs::UTF_8 {
            whole
        } else {
            Box::new(BufReader::with_capacity(self.chunk, DecodingReader::new(whole, encoding)))
        };
        Decoded { bom_bytes, stream, encoding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(raw: Vec<u8>, chunk: usize) -> (u64, Vec<u8>) {
        let raw = Box::new(BufReader::with_capacity(chunk, Cursor::new(raw)));
        let head = Decompressed::of(raw, chunk, Encoding::Auto).unwrap();
        let guessed = head.detected.encoding;
        let Decoded { bom_bytes, mut stream, .. } = head.decoded(guessed);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        (bom_bytes, bytes)
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

    #[test]
    fn a_source_is_opened_anywhere_in_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let text = "\u{feff}größe 🎬 ".to_owned() + &"and on ".repeat(1 << 18);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        for (name, raw, bom_bytes) in [("a", text.as_bytes(), 3), ("b", &utf16, 2), ("c", &compressed, 3)] {
            let path = folder.path().join(name);
            fs_err::write(&path, raw).unwrap();
            let location = Location { path, name: name.to_owned(), bytes: raw.len() as u64, member: None };
            let mut opener = Opener::new(4096, Digests::default());
            for behind in [0, 5, 1000, text.len() - 3] {
                let from = Some((bom_bytes + behind) as u64);
                let wanted = Text { asked: Encoding::Auto, settled: None, from };
                let mut opened = opener.open(&location, &wanted).unwrap();
                let mut read = Vec::new();
                opened.stream.read_to_end(&mut read).unwrap();
                assert!(read == text.as_bytes()[3 + behind..], "{name} {behind}");
                assert_eq!(Some(opened.start), from);
            }
            let behind_the_end = Text { asked: Encoding::Auto, settled: None, from: Some(1 << 40) };
            let opened = opener.open(&location, &behind_the_end);
            let read = opened.map(|mut opened| opened.stream.read_to_end(&mut Vec::new()).unwrap());
            assert!(read.is_err() || read.unwrap() == 0);
        }
    }
}
