//! Which encoding is a text in?
//!
//! A byte order mark settles it, then `--encoding`, then the bytes of the first MiB; where these look like another
//! encoding than UTF-8, the whole of a longer file has to agree, as one odd byte at the start would otherwise garble all
//! that follows. Only the content decides, so every reading of a file comes to the same answer. What is UTF-8 but for some
//! broken bytes is UTF-8, and loses the records with these bytes to the rejects; another encoding is taken only where the
//! broken bytes are plausible letters and signs in it.

use std::io;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1252};

use super::encoding::Encoding;
use super::stream::Stream;

/// How much of a file is looked at.
pub(crate) const DETECT_BYTES: usize = 1 << 20;
/// UTF-16 without a mark shows in fewer bytes than this.
const WIDE_BYTES: usize = 4 << 10;
/// Into how many pieces a text is cut to tell its encoding in spite of broken bytes.
const MAX_PIECES: usize = 32;
/// Bytes beyond ASCII that tell an encoding in most cases.
const PIECE_BYTES: usize = 32;

/// What the start of a text says about its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Detected {
    pub encoding: &'static encoding_rs::Encoding,
    /// The length of the byte order mark.
    pub bom_bytes: usize,
    /// Whether the rest of the text may still show that it is UTF-8 after all.
    pub is_provisional: bool,
}

/// The encoding of a file that begins with `head`; `complete` says that this is all of it.
pub(crate) fn detect(head: &[u8], complete: bool, asked: Encoding) -> io::Result<Detected> {
    if head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff]) {
        let what = "it is UTF-32, which is not read; `iconv -f UTF-32 -t UTF-8` turns it into UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let settled = |encoding, bom_bytes| Detected { encoding, bom_bytes, is_provisional: false };
    Ok(match (encoding_rs::Encoding::for_bom(head), asked) {
        (Some((encoding, bom_bytes)), _) => settled(encoding, bom_bytes),
        (None, Encoding::Given(encoding)) => settled(encoding, 0),
        (None, Encoding::Auto) if is_utf32(head) => {
            let what = "it looks like UTF-32, which is not read; `iconv -f UTF-32LE -t UTF-8` (or UTF-32BE) turns it \
                        into UTF-8; where it is something else, say so with --encoding";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        (None, Encoding::Auto) => match utf16(head).or_else(|| iso_2022_jp(head)) {
            Some(encoding) => settled(encoding, 0),
            None => {
                let encoding = guess(head, complete);
                Detected { encoding, bom_bytes: 0, is_provisional: !complete && encoding != UTF_8 }
            }
        },
    })
}

/// The encoding of a whole text whose start looks like `guessed`.
pub(crate) fn confirm(
    mut whole: Stream,
    guessed: &'static encoding_rs::Encoding,
) -> io::Result<&'static encoding_rs::Encoding> {
    let mut found = Sequences { valid: 0, broken: 0, cut: 0 };
    let mut bytes = Vec::new();
    loop {
        let more = whole.fill_buf()?;
        let (count, ended) = (more.len(), more.is_empty());
        bytes.extend_from_slice(more);
        whole.consume(count);
        let rest = if ended { 0 } else { begun(&bytes) };
        found.add(sequences(&bytes[..bytes.len() - rest], true));
        bytes.drain(..bytes.len() - rest);
        if ended {
            return Ok(if found.are_of_utf8(guessed) { UTF_8 } else { guessed });
        }
    }
}

fn guess(head: &[u8], complete: bool) -> &'static encoding_rs::Encoding {
    let found = sequences(head, complete);
    if found.broken == 0 {
        return UTF_8;
    }
    let guessed = likeliest(head, complete);
    let candidates = [guessed, WINDOWS_1252];
    let is_utf8 = found.are_of_utf8(guessed);
    let plausible = candidates.into_iter().filter(|_| !is_utf8).find(|encoding| is_plausible(head, encoding));
    plausible.unwrap_or(UTF_8)
}

/// The likeliest encoding besides UTF-8. The detector drops an encoding at its first malformed sequence, so one broken
/// byte would rule out the right one: what most of the text is by itself wins over what no byte of all of it forbids.
fn likeliest(head: &[u8], complete: bool) -> &'static encoding_rs::Encoding {
    let of = |bytes: &[u8], last: bool| {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(bytes, last);
        detector.guess(None, Utf8Detection::Deny)
    };
    let whole = of(head, complete);
    let pieces = pieces(head);
    let mut votes: Vec<(&'static encoding_rs::Encoding, usize)> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let (encoding, weight) = (of(piece, complete || at + 1 < pieces.len()), n_beyond(piece));
        match votes.iter_mut().find(|(known, _)| *known == encoding) {
            Some((_, sum)) => *sum += weight,
            None => votes.push((encoding, weight)),
        }
    }
    let most =
        votes.into_iter().find(|(_, weight)| weight * 2 > n_beyond(head)).map_or(whole, |(encoding, _)| encoding);
    // Where the detector had the choice, it knew more from the whole.
    if is_malformed(head, most) { most } else { whole }
}

/// The head cut at line ends into pieces with about as many bytes beyond ASCII each, and enough of them to confirm by.
fn pieces(head: &[u8]) -> Vec<&[u8]> {
    let enough = (n_beyond(head) / MAX_PIECES).max(PIECE_BYTES);
    let (mut pieces, mut start, mut end, mut beyond) = (Vec::new(), 0, 0, 0);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        beyond += n_beyond(line);
        if beyond >= enough {
            pieces.push(&head[start..end]);
            (start, beyond) = (end, 0);
        }
    }
    if beyond > 0 {
        pieces.push(&head[start..]);
    }
    pieces
}

fn n_beyond(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !byte.is_ascii()).count()
}

/// Whether some sequence has no meaning in `encoding`.
fn is_malformed(head: &[u8], encoding: &'static encoding_rs::Encoding) -> bool {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(head.len()).unwrap_or(head.len()));
    decoder.decode_to_string(head, &mut text, false).2
}

/// UTF-16 without a mark: in Western text every other byte is zero; other text is told by [`is_in_order`].
fn utf16(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = &head[..head.len().min(WIDE_BYTES)];
    let (pairs, _) = head.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    let (many, few) = (pairs.len() * 7 / 10, pairs.len() / 10);
    match pairs.len() {
        0..4 => return None,
        _ if second > many && first <= few => return Some(UTF_16LE),
        _ if first > many && second <= few => return Some(UTF_16BE),
        _ => {}
    }
    // The halves of the characters of other scripts make control characters, which a text in bytes has none of.
    if head.iter().filter(|byte| is_control(**byte)).count() * 100 < head.len() {
        return None;
    }
    let is_utf8 = sequences(head, false).broken == 0;
    match (is_in_order(pairs, 1, is_utf8), is_in_order(pairs, 0, is_utf8)) {
        (true, false) => Some(UTF_16LE),
        (false, true) => Some(UTF_16BE),
        _ => None,
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x1b')
}

/// Whether the pairs are UTF-16 with the high byte `at` this place: nearly all characters occur in texts, some are spaces
/// or ends of lines, and there are fewer kinds of high bytes than of low ones. Almost any two bytes of ASCII make some
/// ideograph, so what is UTF-8 too must have next to all its characters in one script and Latin.
fn is_in_order(pairs: &[[u8; 2]], at: usize, is_utf8: bool) -> bool {
    let mut kinds = [[0_usize; 256]; 2];
    for pair in pairs {
        kinds[0][usize::from(pair[at])] += 1;
        kinds[1][usize::from(pair[1 - at])] += 1;
    }
    let [high, low] = kinds.map(|counts| counts.iter().filter(|count| **count > 0).count());
    let mut counts = kinds[0];
    counts.sort_unstable();
    let in_script = counts[254] + counts[255];
    let units = pairs.iter().map(|pair| u16::from_be_bytes([pair[at], pair[1 - at]]));
    let (mut usual, mut plain, mut all) = (0, 0, 0);
    for character in char::decode_utf16(units) {
        all += 1;
        let character = character.unwrap_or('\0');
        usual += usize::from(is_usual(character));
        plain += usize::from(matches!(character, '\n' | ' '..='~' | '\u{3000}'..='\u{3002}' | '\u{ff0c}'));
    }
    let is_text = usual * 50 >= all * 49 && plain * 100 >= all;
    is_text && high * 10 < low * 9 && (!is_utf8 || in_script * 20 >= pairs.len() * 17)
}

fn is_usual(character: char) -> bool {
    let is_sign = matches!(character,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{ff}' | '\u{300}'..='\u{36f}' | '\u{590}'..='\u{e7f}'
        | '\u{200b}'..='\u{203a}' | '\u{20a0}'..='\u{20bf}' | '\u{2190}'..='\u{27bf}' | '\u{3000}'..='\u{303f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{ff00}'..='\u{ffef}' | '\u{1f000}'..='\u{1faff}');
    is_sign || character.is_alphabetic()
}

/// UTF-32 without a mark: nearly all its words are characters, which the bytes of nothing else are.
fn is_utf32(head: &[u8]) -> bool {
    let (words, _) = head[..head.len().min(WIDE_BYTES)].as_chunks::<4>();
    let are_characters = |of: fn([u8; 4]) -> u32| {
        let is_character = |word: &&[u8; 4]| of(**word) > 0 && char::from_u32(of(**word)).is_some();
        words.iter().filter(is_character).count() * 20 >= words.len() * 19
    };
    words.len() >= 2 && (are_characters(u32::from_le_bytes) || are_characters(u32::from_be_bytes))
}

/// ISO-2022-JP, whose bytes are all ASCII: it switches to kanji and back with escapes that nothing else has.
fn iso_2022_jp(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let escape = |from: usize, kinds: [&[u8]; 2]| {
        let mut escapes = head[from..].windows(3);
        escapes.position(|bytes| kinds.contains(&bytes)).map(|at| from + at)
    };
    let kanji = escape(0, [b"\x1b$B", b"\x1b$@"])?;
    escape(kanji, [b"\x1b(B", b"\x1b(J"]).map(|_| ISO_2022_JP)
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

impl Sequences {
    fn add(&mut self, other: Self) {
        self.valid += other.valid;
        self.broken += other.broken;
        self.cut += other.cut;
    }

    /// Whether a text with these is UTF-8 with broken bytes rather than in `other`. A text in a single-byte encoding
    /// hardly ever makes UTF-8 by chance, not even half a sequence; one in an encoding of East Asia or in Thai does, up to
    /// half as often as not.
    fn are_of_utf8(self, other: &'static encoding_rs::Encoding) -> bool {
        match other.is_single_byte() && other != WINDOWS_874 {
            true => (self.valid + self.cut) * 10 > self.broken,
            false => self.valid > self.broken,
        }
    }
}

/// How many bytes at the end begin a character that what follows may complete.
fn begun(bytes: &[u8]) -> usize {
    let is_begun = |count: &usize| {
        let end = &bytes[bytes.len() - count..];
        std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(is_begun).unwrap_or(0)
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
        // No text in bytes has control characters, so they speak against it too.
        if !character.is_ascii() || is_control(character as u8) {
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
        // Quotes that open, and dots in a word: these bytes are letters in the code pages of DOS.
        '\u{201a}' | '\u{201e}' | '\u{2021}' if before.is_alphabetic() => false,
        '\u{2026}' if before.is_alphabetic() && after.is_alphabetic() => false,
        '\u{2010}'..='\u{203a}' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}' => true,
        letter if letter.is_alphabetic() => {
            let within = before.is_alphabetic() || after.is_alphabetic();
            within && !(letter.is_uppercase() && before.is_lowercase())
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
