//! Opens a source as one stream of UTF-8 bytes: decompressed, without its byte order mark.
//!
//! Compression is told by the first bytes, not by the extension: browsers unpack `.gz` behind the user's back. UTF-16
//! (Excel's "Unicode text") is recognised by its byte order mark and transcoded on the fly, so that every parser sees
//! one encoding.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use super::{Error, Result, Source};

/// A stream of bytes that can move to another thread.
pub(super) type Stream = Box<dyn BufRead + Send>;

/// Files up to this size are read once, into memory, for both the digest and the records.
const SMALL_FILE_BYTES: u64 = 1 << 20;
/// How much is read at a time.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// An opened source.
pub(super) struct Opened {
    /// BLAKE3 of the raw file, 64 hexadecimal digits.
    pub digest: String,
    /// The decompressed bytes after the byte order mark.
    pub stream: Stream,
    /// Bytes of the byte order mark that was taken off.
    pub start: u64,
}

/// Opens a source for its records; `chunk` bounds how much is read at a time.
pub(super) fn open(source: &Source, chunk: usize) -> Result<Opened> {
    let mut file = open_file(&source.path)?;
    let read = |error| Error::Read { name: source.name.clone(), source: error };
    let mut hasher = blake3::Hasher::new();
    let raw: Stream = if source.bytes <= SMALL_FILE_BYTES {
        let mut bytes = Vec::with_capacity(source.bytes as usize);
        file.read_to_end(&mut bytes).map_err(read)?;
        hasher.update(&bytes);
        Box::new(BufReader::with_capacity(chunk, Cursor::new(bytes)))
    } else {
        hasher.update_reader(&mut file).map_err(read)?;
        file.rewind().map_err(read)?;
        Box::new(BufReader::with_capacity(chunk, file))
    };
    let (start, stream) = decoded(raw, chunk).map_err(read)?;
    Ok(Opened { digest: hasher.finalize().to_hex().to_string(), stream, start })
}

/// The first bytes of a source, decompressed, and whether that is all of it.
pub(super) fn sample(source: &Source, bytes: u64) -> Result<(Vec<u8>, bool)> {
    let read = |error| Error::Read { name: source.name.clone(), source: error };
    let raw = Box::new(BufReader::with_capacity(CHUNK_BYTES, open_file(&source.path)?));
    let (_, stream) = decoded(raw, CHUNK_BYTES).map_err(read)?;
    let mut head = Vec::new();
    stream.take(bytes + 1).read_to_end(&mut head).map_err(read)?;
    let complete = head.len() as u64 <= bytes;
    head.truncate(bytes as usize);
    Ok((head, complete))
}

/// BLAKE3 of a file's raw bytes, 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Open`] and [`Error::Read`].
pub fn content_digest(path: &Path) -> Result<String> {
    let file = open_file(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(|source| Error::Read { name: path.display().to_string(), source })?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn open_file(path: &Path) -> Result<fs_err::File> {
    fs_err::File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}

fn decoded(raw: Stream, chunk: usize) -> io::Result<(u64, Stream)> {
    let (magic, raw) = peek::<4>(raw)?;
    let plain: Stream = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(chunk, flate2::bufread::MultiGzDecoder::new(raw)))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(BufReader::with_capacity(chunk, zstd::stream::read::Decoder::with_buffer(raw)?))
    } else {
        raw
    };
    after_mark(plain, chunk)
}

fn after_mark(plain: Stream, chunk: usize) -> io::Result<(u64, Stream)> {
    let (mark, mut plain) = peek::<3>(plain)?;
    if mark == [0xef, 0xbb, 0xbf] {
        io::copy(&mut (&mut plain).take(3), &mut io::sink())?;
        return Ok((3, plain));
    }
    let big_endian = match mark.get(..2) {
        Some([0xff, 0xfe]) => false,
        Some([0xfe, 0xff]) => true,
        _ => return Ok((0, plain)),
    };
    io::copy(&mut (&mut plain).take(2), &mut io::sink())?;
    let transcoded = Utf16Reader { source: plain, big_endian, lead: None, pending: Vec::new(), taken: 0 };
    Ok((2, Box::new(BufReader::with_capacity(chunk, transcoded))))
}

/// The first bytes of a stream, and the stream with them still in it.
fn peek<const N: usize>(mut stream: Stream) -> io::Result<(Vec<u8>, Stream)> {
    let mut head = Vec::with_capacity(N);
    (&mut stream).take(N as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(stream))))
}

/// UTF-16 as UTF-8. What is no character (a lone surrogate, an odd last byte) becomes the byte 0xff, which no UTF-8
/// text holds, so that its record is rejected instead of changed.
struct Utf16Reader {
    source: Stream,
    big_endian: bool,
    lead: Option<u16>,
    pending: Vec<u8>,
    taken: usize,
}

impl Utf16Reader {
    fn refill(&mut self) -> io::Result<()> {
        self.pending.clear();
        self.taken = 0;
        let mut raw = Vec::with_capacity(4096);
        (&mut self.source).take(4096).read_to_end(&mut raw)?;
        let (pairs, odd) = raw.as_chunks::<2>();
        for pair in pairs {
            self.push(if self.big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) });
        }
        if raw.len() < 4096 && (self.lead.take().is_some() | !odd.is_empty()) {
            self.pending.push(0xff);
        }
        Ok(())
    }

    fn push(&mut self, unit: u16) {
        let units = [self.lead.take(), Some(unit)];
        for character in char::decode_utf16(units.into_iter().flatten()) {
            match character {
                Ok(character) => {
                    self.pending.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Err(lone) if lone.unpaired_surrogate() == unit && unit < 0xdc00 => self.lead = Some(unit),
                Err(_) => self.pending.push(0xff),
            }
        }
    }
}

impl Read for Utf16Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.pending.len() {
            self.refill()?;
        }
        let available = &self.pending[self.taken..];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(raw: Vec<u8>, chunk: usize) -> (u64, Vec<u8>) {
        let (start, mut stream) = decoded(Box::new(BufReader::with_capacity(chunk, Cursor::new(raw))), chunk).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        (start, bytes)
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
    fn broken_utf16_stays_broken() {
        let mut raw = vec![0xff, 0xfe];
        raw.extend([0xd800_u16, 0x0041, 0xdc00, 0xd83c].iter().flat_map(|unit| unit.to_le_bytes()));
        raw.push(7);
        assert_eq!(decode(raw, 16).1, [0xff, b'A', 0xff, 0xff]);
    }

    #[test]
    fn a_cut_gzip_is_an_error() {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[b'x'; 5000]).unwrap();
        let whole = encoder.finish().unwrap();
        let cut = whole[..whole.len() - 9].to_vec();
        let (_, mut stream) = decoded(Box::new(BufReader::new(Cursor::new(cut))), 64).unwrap();
        assert!(stream.read_to_end(&mut Vec::new()).is_err());
    }
}
