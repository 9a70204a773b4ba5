//! Tests of the guess on short texts in many encodings.

use std::io::{BufReader, Cursor};

use super::*;

fn encoded(label: &str, text: &str) -> Vec<u8> {
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
    let (bytes, _, lossy) = encoding.encode(text);
    assert!(!lossy, "{label} cannot say {text}");
    bytes.into_owned()
}

fn guessed(bytes: &[u8]) -> &'static str {
    detect(bytes, true, Encoding::Auto).unwrap().encoding.name()
}

#[test]
fn what_is_not_utf8_but_a_text_is_told_by_its_bytes() {
    for (label, text) in [
        ("windows-1252", "The caf\u{e9} was \u{201c}lovely\u{201d} \u{2013} we\u{2019}ll return"),
        ("windows-1252", "we don\u{2019}t like it\u{2026}"),
        ("windows-1252", "D\u{e9}j\u{e0} vu, un film tr\u{e8}s bien fait, \u{e0} voir"),
        ("windows-1252", "Ein sch\u{f6}ner, gro\u{df}er Film \u{fc}ber M\u{fc}nchen"),
        ("windows-1252", "it cost \u{a3}5, or \u{20ac}6"),
        ("windows-1251", "Отличный фильм, всем советую посмотреть"),
        ("koi8-u", "Отличный фильм, всем советую посмотреть"),
        ("windows-1255", "הסרט היה מצוין, אראה אותו שוב"),
        ("windows-1256", "كان الفيلم رائعا جدا وسأشاهده مرة أخرى"),
        ("windows-874", "ภาพยนตร์เรื่องนี้ดีมาก นักแสดงเล่นได้ดีเยี่ยม จะดูอีกครั้ง"),
        ("shift_jis", "この映画はとても面白かったです。また見たい。"),
        ("gbk", "这部电影非常好看，演员的表演也很出色。我会再看一遍。"),
        ("euc-kr", "이 영화는 정말 재미있었습니다. 다시 보고 싶어요."),
    ] {
        assert_eq!(guessed(&encoded(label, text)).to_lowercase(), label, "{text}");
    }
}

#[test]
fn utf8_with_broken_bytes_stays_utf8() {
    for broken in [
        b"text,label\ngood,pos\nbad \xff byte,neg\n".as_slice(),
        b"go\xc3od and fine",
        b"a \xfe b",
        b"cut \xf0\x9f\x98 emoji",
        b"a \xff\xfe b",
        "the café, the naïve, and ".as_bytes(),
    ] {
        assert_eq!(guessed(broken), "UTF-8", "{}", broken.escape_ascii());
    }
    let mixed =
        ["ein schöner großer Film über München, äußerst hübsch".as_bytes(), b"\ncaf\xe9 and r\xe9sum\xe9\n"].concat();
    assert_eq!(guessed(&mixed), "UTF-8");
}

#[test]
fn a_character_that_the_end_of_the_head_cuts_is_not_broken() {
    let head = "plain and é".as_bytes();
    assert_eq!(sequences(&head[..head.len() - 1], false), Sequences { valid: 0, broken: 0, cut: 0 });
    assert_eq!(sequences(&head[..head.len() - 1], true), Sequences { valid: 0, broken: 1, cut: 0 });
}

#[test]
fn utf16_is_told_with_and_without_its_mark() {
    let bytes = |big: bool, text: &str| -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    assert_eq!(guessed(&bytes(false, "text,label\nfine,pos\n")), "UTF-16LE");
    assert_eq!(guessed(&bytes(true, "text,label\nfine,pos\n")), "UTF-16BE");
    let marked = detect(&bytes(true, "\u{feff}größe"), true, Encoding::Auto).unwrap();
    assert_eq!(marked, Detected { encoding: UTF_16BE, bom_bytes: 2, is_provisional: false });
    let utf32: Vec<u8> = "\u{feff}text".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    assert!(detect(&utf32, true, Encoding::Auto).unwrap_err().to_string().contains("UTF-32"));
}

#[test]
fn a_mark_wins_over_what_was_asked_and_that_over_the_guess() {
    let asked: Encoding = "latin1".parse().unwrap();
    assert_eq!(asked.to_string(), "windows-1252");
    assert_eq!(
        detect("\u{feff}é".as_bytes(), true, asked).unwrap(),
        Detected { encoding: UTF_8, bom_bytes: 3, is_provisional: false }
    );
    assert_eq!(detect("é".as_bytes(), false, asked).unwrap().encoding.name(), "windows-1252");
    assert_eq!(String::from(asked).parse::<Encoding>().unwrap(), asked);
    let error = "klingon".parse::<Encoding>().unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("windows-1252"), "{error}");
}

#[test]
fn one_broken_line_does_not_rule_out_the_right_encoding() {
    for (label, text) in [
        ("shift_jis", "とても良い映画でした。家族みんなで楽しめました"),
        ("euc-jp", "この映画はとても面白かったです。家族みんなで楽しめました"),
        ("gbk", "这部电影非常好看，演员演技出色"),
        ("big5", "這部電影非常好看，演員演技出色"),
        ("euc-kr", "정말 재미있는 영화였습니다"),
        ("windows-1251", "Очень хороший фильм"),
    ] {
        for (broken, lines) in [(b"ab\x83,neg\n".as_slice(), 20), (b"ab\x83,neg\n", 2000), (b"ab\xff,neg\n", 2000)] {
            let csv = format!("text,label\n{}", format!("{text},pos\n").repeat(lines));
            let bytes = [encoded(label, &csv), broken.to_vec()].concat();
            assert_eq!(guessed(&bytes).to_lowercase(), label, "{lines} {}", broken.escape_ascii());
        }
    }
}

#[test]
fn the_whole_of_a_long_text_has_to_agree_with_its_start() {
    let utf8 = [b"caf\xe9,pos\n".as_slice(), "déjà vu 👍,neg\n".repeat(50).as_bytes()].concat();
    let latin = encoded("windows-1252", &"déjà vu,neg\n".repeat(50));
    for chunk in [1, 2, 3, 5, 4096] {
        let whole = |bytes: &[u8]| Box::new(BufReader::with_capacity(chunk, Cursor::new(bytes.to_vec())));
        assert_eq!(confirm(whole(&utf8), WINDOWS_1252).unwrap(), UTF_8, "{chunk}");
        assert_eq!(confirm(whole(&latin), WINDOWS_1252).unwrap(), WINDOWS_1252, "{chunk}");
    }
    assert!(detect(b"caf\xe9,pos\n", false, Encoding::Auto).unwrap().is_provisional);
    assert!(!detect(b"caf\xe9,pos\n", true, Encoding::Auto).unwrap().is_provisional);
}

#[test]
fn letters_of_dos_are_not_signs() {
    assert_eq!(guessed(b"caf\x82 au lait\n"), "UTF-8");
    assert_eq!(guessed(b"fa\x87ade, d\x82j\x85 vu\n"), "UTF-8");
}

#[test]
fn utf16_of_any_script_is_told_without_its_mark() {
    let bytes = |big: bool, text: &str| -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    for text in [
        "Очень хороший фильм, мне понравилось. Смотреть всем!",
        "とても良い映画でした。また見たいです。",
        "这部电影非常好看，演员的表演也很出色。我会再看一遍。",
        "이 영화는 정말 재미있었습니다. 다시 보고 싶어요.",
        "הסרט היה מצוין, אראה אותו שוב",
        "ภาพยนตร์เรื่องนี้ดีมาก นักแสดงเล่นได้ดีเยี่ยม",
    ] {
        let csv = format!("text,label\n{}", format!("{text},pos\n").repeat(200));
        for text in [text, csv.as_str()] {
            assert_eq!(guessed(&bytes(false, text)), "UTF-16LE", "{text}");
            assert_eq!(guessed(&bytes(true, text)), "UTF-16BE", "{text}");
        }
    }
}

#[test]
fn stray_control_characters_do_not_make_a_text_wide() {
    for text in [b"text,label\n\0\0,pos\nfine,neg\n".as_slice(), b"a\x01 b\x02 c\n", b"\0a\0b and more of it", &[0; 64]]
    {
        assert_eq!(guessed(text), "UTF-8", "{}", text.escape_ascii());
    }
    let sjis = encoded("shift_jis", "この映画はとても面白かったです。\0また見たい。\n").repeat(20);
    assert!(!guessed(&sjis).starts_with("UTF-16"), "{}", guessed(&sjis));
}

#[test]
fn utf32_without_its_mark_is_refused_and_iso_2022_jp_is_read() {
    for text in ["a good film indeed", "とても良い映画でした。", "Очень хороший фильм"] {
        let little: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let big: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for bytes in [little, big] {
            let error = detect(&bytes, true, Encoding::Auto).unwrap_err().to_string();
            assert!(error.contains("iconv") && error.contains("--encoding"), "{error}");
        }
    }
    assert_eq!(guessed(&encoded("iso-2022-jp", "text\nとても良い映画でした。\n")), "ISO-2022-JP");
    assert_eq!(guessed(b"\x1b[1mbold\x1b(B\x1b[m and $B"), "UTF-8");
}
