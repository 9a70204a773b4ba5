//! Which encoding a text is in, and the same text as UTF-8.
//!
//! A byte order mark settles it, then `--encoding`, then the bytes of the first MiB, so that every reading of a file
//! comes to the same answer. What is UTF-8 but for some broken bytes is UTF-8, and loses the records with these bytes to
//! the rejects; another encoding is taken only where the broken bytes are plausible letters and signs in it. What has no
//! meaning in the encoding becomes a byte that UTF-8 lacks, so that its record is rejected instead of changed.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1252};
use serde::{Deserialize, Serialize};

use super::open::Stream;
use super::{Error, Result};

/// How much of a file is looked at.
pub(super) const DETECT_BYTES: usize = 1 << 20;
/// A byte that UTF-8 never holds.
const BROKEN: u8 = 0xff;
/// Output of one step of the decoder.
const STEP_BYTES: usize = 16 << 10;
/// UTF-16 without a mark shows in fewer bytes than this.
const WIDE_BYTES: usize = 4 << 10;

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

impl Encoding {
    /// The encoding of a file that begins with `head`, and the length of its byte order mark.
    pub(super) fn of(self, head: &[u8], complete: bool) -> io::Result<(&'static encoding_rs::Encoding, usize)> {
        if head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff]) {
            let what = "it is UTF-32, which is not read; `iconv -f UTF-32 -t UTF-8` turns it into UTF-8";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(match (encoding_rs::Encoding::for_bom(head), self) {
            (Some(marked), _) => marked,
            (None, Self::Given(encoding)) => (encoding, 0),
            (None, Self::Auto) => (guess(head, complete), 0),
        })
    }
}

/// A stream in another encoding as UTF-8.
pub(super) struct Transcoded {
    source: Stream,
    decoder: Decoder,
    pending: Box<[u8]>,
    taken: usize,
    filled: usize,
    ended: bool,
}

impl Transcoded {
    /// `source` begins after the byte order mark.
    pub(super) fn new(source: Stream, encoding: &'static encoding_rs::Encoding) -> Self {
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

impl Read for Transcoded {
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

fn guess(head: &[u8], complete: bool) -> &'static encoding_rs::Encoding {
    if let Some(wide) = wide(head) {
        return wide;
    }
    let found = sequences(head, complete);
    if found.broken == 0 {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, complete);
    let guessed = detector.guess(None, Utf8Detection::Deny);
    // A text in a single-byte encoding hardly ever makes UTF-8 by chance, not even half a sequence; one in an encoding of
    // East Asia or in Thai does, up to half as often as not.
    let is_utf8 = match guessed.is_single_byte() && guessed != WINDOWS_874 {
        true => (found.valid + found.cut) * 10 > found.broken,
        false => found.valid > found.broken,
    };
    let candidates = [guessed, WINDOWS_1252];
    let plausible = candidates.into_iter().filter(|_| !is_utf8).find(|encoding| is_plausible(head, encoding));
    plausible.unwrap_or(UTF_8)
}

/// UTF-16 without a mark: in Western text every other byte is zero.
fn wide(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let (pairs, _) = head[..head.len().min(WIDE_BYTES)].as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    let (many, few) = (pairs.len() * 7 / 10, pairs.len() / 10);
    match pairs.len() {
        0..4 => None,
        _ if second > many && first <= few => Some(UTF_16LE),
        _ if first > many && second <= few => Some(UTF_16BE),
        _ => None,
    }
}

/// What stands beyond ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sequences {
    /// Characters in UTF-8.
    valid: usize,
    /// Sequences that are not; one that the end of an incomplete head cuts is neither.
    broken: usize,
    /// Of these, sequences that began as a character does.
    cut: usize,
}

fn sequences(head: &[u8], complete: bool) -> Sequences {
    let mut found = Sequences { valid: 0, broken: 0, cut: 0 };
    let mut position = 0;
    for chunk in head.utf8_chunks() {
        found.valid += chunk.valid().bytes().filter(|byte| *byte >= 0xc0).count();
        position += chunk.valid().len() + chunk.invalid().len();
        let at_end = !complete
            && position == head.len()
            && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        found.broken += usize::from(!chunk.invalid().is_empty() && !at_end);
        found.cut += usize::from(chunk.invalid().len() > 1 && !at_end);
    }
    found
}

/// Whether nine of ten characters beyond ASCII stand where such characters stand in texts.
fn is_plausible(head: &[u8], encoding: &'static encoding_rs::Encoding) -> bool {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(head.len()).unwrap_or(head.len()));
    // Not the last call: a character that the end cuts must not count.
    let (result, _, _) = decoder.decode_to_string(head, &mut text, false);
    if result == CoderResult::OutputFull {
        return false;
    }
    let (mut beyond, mut in_place) = (0_usize, 0_usize);
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if !character.is_ascii() {
            beyond += 1;
            in_place += usize::from(is_in_place(before, character, characters.peek().copied().unwrap_or(' ')));
        }
        before = character;
    }
    beyond > 0 && in_place * 10 >= beyond * 9
}

fn is_in_place(before: char, character: char, after: char) -> bool {
    match character {
        // The byte 0xff in the encodings of the West: far more often a broken byte than a letter.
        'ÿ' | char::REPLACEMENT_CHARACTER => false,
        // Words of one letter.
        'à' | 'á' | 'è' | 'é' | 'ì' | 'í' | 'ò' | 'ó' | 'ù' | 'ú' | 'ö' | 'å' | 'y' => true,
        '€' | '£' | '¥' => [before, after].iter().any(char::is_ascii_digit) || after == ' ' && before != ' ',
        '\u{a0}' | '¡' | '¢' | '§' | '©' | 'ª' | '«' | '®' | '°' | '±' | '²' | '³' | '´' | '·' | '¹' | 'º' | '»'
        | '¼' | '½' | '¾' | '¿' | '×' | '÷' | '™' => true,
        // Thai marks of tone.
        '\u{e47}'..='\u{e4e}' => before.is_alphabetic() || before > '\u{e00}',
        '\u{2010}'..='\u{203a}' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}' => true,
        letter if letter.is_alphabetic() => {
            let within = before.is_alphabetic() || after.is_alphabetic();
            within && !(letter.is_uppercase() && before.is_lowercase())
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
