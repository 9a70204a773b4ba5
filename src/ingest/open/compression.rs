//! Takes the compression off a stream.
//!
//! Compression is told by the first bytes, not by the extension: browsers unpack `.gz` behind the user's back. Every
//! decoder here works in bounded memory, whatever its input asks for, and gives up on an expansion that no text has: a
//! few kilobytes can be made to say petabytes, which would end as a full disk or a run without end.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::stream::Stream;

/// An output below this is never absurd.
const HARMLESS_BYTES: u64 = 1 << 30;
/// Text shrinks to a third or a tenth; a log that repeats itself to a hundredth.
const MAX_RATIO: u64 = 200;
/// `xz -9` needs 65 MiB; a dictionary may be declared as large as 4 GiB.
const XZ_MEMORY_BYTES: u64 = 128 << 20;
/// The longest signature that is looked at.
const SIGNATURE_BYTES: usize = 10;

/// How a stream is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    /// The bare stream of a zip archive's member.
    Deflate,
}

impl Compression {
    /// By the first bytes; bzip2's own signature is three letters, so its first block's is asked for too.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let block = head.get(4..10);
        let bzip2 = matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..])
            && (block == Some(b"1AY&SY") || block == Some(b"\x17\x72\x45\x38\x50\x90"));
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // The second is a frame that is to be skipped, as parallel compressors put in front.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ if bzip2 => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// The stream that `raw` holds.
    pub(crate) fn decompress(self, raw: Stream, chunk: usize) -> io::Result<Stream> {
        let taken = Arc::new(AtomicU64::new(0));
        let raw = Counted { inner: raw, taken: Arc::clone(&taken) };
        let decompressed: Box<dyn Read + Send> = match self {
            Self::Gzip => Box::new(Gzip { member: Some(flate2::bufread::GzDecoder::new(raw)) }),
            Self::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(raw)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(raw)?),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream))
            }
        };
        Ok(Box::new(BufReader::with_capacity(chunk, Guarded { inner: decompressed, given: 0, taken })))
    }
}

/// The stream without its compression, if it has one.
pub(crate) fn decompress(raw: Stream, chunk: usize) -> io::Result<Stream> {
    match recognise(raw)? {
        (Some(compression), raw) => compression.decompress(raw, chunk),
        (None, raw) => Ok(raw),
    }
}

/// Whether an expansion from `compressed` to `decompressed` bytes is absurd.
pub(crate) fn is_absurd(compressed: u64, decompressed: u64) -> bool {
    decompressed > HARMLESS_BYTES && decompressed / MAX_RATIO > compressed
}

/// The compression of a stream by its first bytes, and the stream with them still in it.
pub(super) fn recognise(mut stream: Stream) -> io::Result<(Option<Compression>, Stream)> {
    let mut head = Vec::with_capacity(SIGNATURE_BYTES);
    (&mut stream).take(SIGNATURE_BYTES as u64).read_to_end(&mut head)?;
    Ok((Compression::of(&head), Box::new(Cursor::new(head).chain(stream))))
}

/// Counts what is taken out of a stream.
struct Counted {
    inner: Stream,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.inner.consume(count);
    }
}

/// The members of a gzip file, one after another; zeros behind the last one are padding, as gzip itself has it.
struct Gzip {
    member: Option<flate2::bufread::GzDecoder<Counted>>,
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut raw = self.member.take().expect("it has just been read from; this is a bug").into_inner();
            let mut padding = false;
            let next = loop {
                let bytes = raw.fill_buf()?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                let (ended, found) = (bytes.is_empty(), zeros < bytes.len());
                padding |= zeros > 0;
                raw.consume(zeros);
                if ended || found {
                    break found;
                }
            };
            if next && padding {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "something stands behind its padding"));
            }
            self.member = next.then(|| flate2::bufread::GzDecoder::new(raw));
        }
        Ok(0)
    }
}

/// Stops an absurd expansion.
struct Guarded {
    inner: Box<dyn Read + Send>,
    given: u64,
    taken: Arc<AtomicU64>,
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.given += count as u64;
        if is_absurd(self.taken.load(Ordering::Relaxed), self.given) {
            let what = format!("it expands to more than {MAX_RATIO} times its size, which no text does");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(content: &[u8]) -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(content).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(content).unwrap();
        let zstd = zstd::encode_all(content, 1).unwrap();
        vec![gzip.finish().unwrap(), bzip2.finish().unwrap(), xz.finish().unwrap(), zstd]
    }

    fn read(raw: Vec<u8>, chunk: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        decompress(Box::new(BufReader::with_capacity(chunk, Cursor::new(raw))), chunk)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn every_compression_is_taken_off_also_of_several_streams_in_a_row() {
        for content in [b"".as_slice(), b"a small text", &b"a text of some length; ".repeat(2000)] {
            for (first, second) in packed(content).into_iter().zip(packed(b" and more")) {
                for chunk in [1, 4096] {
                    assert_eq!(
                        read([first.clone(), second.clone()].concat(), chunk).unwrap(),
                        [content, b" and more"].concat()
                    );
                }
            }
        }
        assert_eq!(read(b"BZh1 is no bzip2".to_vec(), 4).unwrap(), b"BZh1 is no bzip2");
    }

    #[test]
    fn zeros_behind_a_gzip_are_padding_and_a_skippable_frame_is_zstandard() {
        let gzip = packed(b"text").remove(0);
        for chunk in [1, 4096] {
            assert_eq!(read([&gzip[..], &[0; 5000]].concat(), chunk).unwrap(), b"text");
            assert!(read([&gzip[..], &[0; 50], b"more"].concat(), chunk).is_err());
        }
        let frame = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7];
        assert_eq!(read([&frame[..], &packed(b"text")[3]].concat(), 4096).unwrap(), b"text");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for whole in packed(&b"a text of some length; ".repeat(2000)) {
            assert!(read(whole[..whole.len() - 9].to_vec(), 64).is_err());
        }
    }

    #[test]
    fn an_absurd_expansion_is_an_error_and_a_large_one_is_not() {
        let zeros = io::repeat(0).take(HARMLESS_BYTES * 3);
        let bomb = zstd::encode_all(zeros, 1).unwrap();
        let unpacked = decompress(Box::new(Cursor::new(bomb)), 1 << 20).unwrap();
        let error = io::copy(&mut { unpacked }, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("200 times"), "{error}");
        assert!(!is_absurd(1 << 10, HARMLESS_BYTES) && !is_absurd(10 << 20, HARMLESS_BYTES + 1));
    }

    #[test]
    fn a_dictionary_that_would_fill_the_memory_is_refused() {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(b"text").unwrap();
        let mut whole = xz.finish().unwrap();
        // Block header: size, flags, filter id 0x21, properties size 1, dictionary size, padding, CRC32.
        assert_eq!(whole[14..16], [0x21, 1]);
        whole[16] = 37;
        let end = 12 + (usize::from(whole[12]) + 1) * 4;
        let mut crc = flate2::Crc::new();
        crc.update(&whole[12..end - 4]);
        whole[end - 4..end].copy_from_slice(&crc.sum().to_le_bytes());
        assert!(read(whole, 64).is_err());
    }
}
