//! A text in any encoding as UTF-8.
//!
//! What has no meaning in its encoding becomes a byte that UTF-8 lacks, so that its record is rejected instead of changed.

use std::fmt;
use std::io::{self, BufRead as _, Read};
use std::str::FromStr;

use encoding_rs::{Decoder, DecoderResult};
use serde::{Deserialize, Serialize};

use super::stream::Stream;
use crate::ingest::{Error, Result};

/// A byte that UTF-8 never holds.
const BROKEN: u8 = 0xff;
/// Output of one step of the decoder.
const STEP_BYTES: usize = 16 << 10;

/// The encoding of the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Encoding {
    /// By each file's content.
    Auto,
    /// This one, where no byte order mark says otherwise.
    Given(&'static encoding_rs::Encoding),
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Auto => "auto",
            Self::Given(encoding) => encoding.name(),
        })
    }
}

impl FromStr for Encoding {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        if given.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        encoding_rs::Encoding::for_label_no_replacement(given.as_bytes())
            .map(Self::Given)
            .ok_or_else(|| Error::UnknownEncoding { given: given.to_owned() })
    }
}

impl From<Encoding> for String {
    fn from(encoding: Encoding) -> Self {
        encoding.to_string()
    }
}

impl TryFrom<String> for Encoding {
    type Error = Error;

    fn try_from(given: String) -> Result<Self> {
        given.parse()
    }
}

/// Writes the encoding of a text as its name.
pub(crate) mod encoding_by_name {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        encoding: &&'static encoding_rs::Encoding,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(encoding.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static encoding_rs::Encoding, D::Error> {
        let name = String::deserialize(deserializer)?;
        encoding_rs::Encoding::for_label(name.as_bytes())
            .ok_or_else(|| D::Error::custom(format!("no encoding `{name}`")))
    }
}

/// A stream in another encoding as UTF-8.
pub(crate) struct DecodingReader {
    source: Stream,
    decoder: Decoder,
    pending: Box<[u8]>,
    taken: usize,
    filled: usize,
    ended: bool,
}

impl DecodingReader {
    /// `source` begins after the byte order mark.
    pub(crate) fn new(source: Stream, encoding: &'static encoding_rs::Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        let pending = vec![0; STEP_BYTES + 1].into_boxed_slice();
        Self { source, decoder, pending, taken: 0, filled: 0, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        (self.taken, self.filled) = (0, 0);
        while self.filled == 0 && !self.ended {
            let raw = self.source.fill_buf()?;
            let last = raw.is_empty();
            let room = &mut self.pending[..STEP_BYTES];
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(raw, room, last);
            self.source.consume(read);
            self.filled = written;
            match result {
                DecoderResult::Malformed(..) => {
                    self.pending[written] = BROKEN;
                    self.filled += 1;
                }
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
            }
        }
        Ok(())
    }
}

impl Read for DecodingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.filled {
            self.refill()?;
        }
        let available = &self.pending[self.taken..self.filled];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use encoding_rs::UTF_16LE;

    use super::*;

    #[test]
    fn transcoding_gives_the_same_text_whatever_the_chunk() {
        let text = "größe 🎬 привет".repeat(3000);
        for chunk in [1, 3, 4096] {
            let raw: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut read = Vec::new();
            let source = Box::new(BufReader::with_capacity(chunk, Cursor::new(raw)));
            DecodingReader::new(source, UTF_16LE).read_to_end(&mut read).unwrap();
            assert!(read == text.as_bytes(), "{chunk}");
        }
    }

    #[test]
    fn what_has_no_meaning_in_an_encoding_stays_broken() {
        let mut raw: Vec<u8> =
            [0xd800_u16, 0x0041, 0xdc00, 0xd83c].iter().flat_map(|unit| unit.to_le_bytes()).collect();
        raw.push(7);
        let mut read = Vec::new();
        DecodingReader::new(Box::new(Cursor::new(raw)), UTF_16LE).read_to_end(&mut read).unwrap();
        assert_eq!(&read[..3], [BROKEN, b'A', BROKEN]);
        assert!(read[3..].iter().all(|byte| *byte == BROKEN) && read.len() > 3, "{read:?}");
    }
}
