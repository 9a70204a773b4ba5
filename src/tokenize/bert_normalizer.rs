//! BERT's text normalization with a shortcut for ASCII: the same text comes out, in a fraction of the time.
//!
//! The library looks every character up in Unicode's tables and decomposes it, which was half of the time of tokenizing.
//! A table of 128 entries does the same for ASCII. Runs of other characters still go through the library: an ASCII
//! character is a starter that nothing decomposes to or reorders around, so that a text can be cut beside it.

use serde_json::Value;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pipeline::Normalizer as _;

/// What the table says of a character that goes; no ASCII character.
const REMOVED: u8 = 0xff;

/// The normalizer of a tokenizer file.
pub(super) struct Normal {
    bert: BertNormalizer,
    ascii: [u8; 128],
    /// Texts that stand for one token wherever they are found, before normalization.
    added: Vec<String>,
}

impl Normal {
    /// The normalizer of `json`, where it is BERT's own and no added token is looked for after it.
    pub(super) fn of(json: &Value) -> Option<Normal> {
        let found = &json["normalizer"];
        let flag = |name: &str| found[name].as_bool();
        // A file without the field is one that the library refuses; that is said when it is loaded.
        let strip = match found.get("strip_accents")? {
            Value::Null => None,
            given => Some(given.as_bool()?),
        };
        if found["type"] != "BertNormalizer" {
            return None;
        }
        let bert = BertNormalizer::new(flag("clean_text")?, flag("handle_chinese_chars")?, strip, flag("lowercase")?);
        let tokens = json["added_tokens"].as_array()?;
        let content = |token: &Value| {
            let content = token["content"].as_str().filter(|content| !content.is_empty());
            content.filter(|_| token["normalized"] == false).map(str::to_owned)
        };
        let added = tokens.iter().map(content).collect::<Option<Vec<String>>>()?;
        let mut ascii = [REMOVED; 128];
        for (byte, entry) in (0u8..).zip(&mut ascii) {
            let text = char::from(byte).to_string();
            match bert.normalize(&text, 0).ok()?.as_bytes() {
                [] => {}
                [one] => *entry = *one,
                _ => return None,
            }
        }
        Some(Normal { bert, ascii, added })
    }

    /// Puts the normalized `text` in place of what `out` holds; `None` where it may hold an added token, which is
    /// recognized by its own spelling.
    pub(super) fn apply<'out>(&self, text: &str, out: &'out mut Vec<u8>) -> Option<&'out str> {
        out.clear();
        if self.holds_added(text) {
            return None;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (ascii, from_other) = split_at(rest, |byte| !byte.is_ascii());
            out.extend(ascii.bytes().map(|byte| self.ascii[usize::from(byte)]).filter(|&byte| byte != REMOVED));
            let (other, next) = split_at(from_other, |byte| byte.is_ascii());
            if !other.is_empty() {
                out.extend_from_slice(self.bert.normalize(other, 0).ok()?.as_bytes());
            }
            rest = next;
        }
        std::str::from_utf8(out).ok().filter(|normal| !self.holds_added(normal))
    }

    fn holds_added(&self, text: &str) -> bool {
        // The first byte is looked for at memory speed, and is hardly ever there.
        self.added.iter().any(|token| text.as_bytes().contains(&token.as_bytes()[0]) && text.contains(token.as_str()))
    }
}

/// Cuts `text` before the first byte that `is_end` holds for; between ASCII and another character is always a boundary.
fn split_at(text: &str, is_end: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(is_end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn normal(clean: bool, chinese: bool, strip: Option<bool>, lowercase: bool) -> Normal {
        let json = json!({
            "normalizer": {
                "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                "strip_accents": strip, "lowercase": lowercase,
            },
            "added_tokens": [{ "content": "[SEP]", "normalized": false }],
        });
        Normal::of(&json).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_becomes_what_the_library_makes_of_it(
            // Every kind of character, and those that combine, reorder, vanish or grow more often than chance has them.
            text in "(.|[ -~]{1,8}|[\u{0}-\u{ff}]|[\u{300}-\u{36f}]|[\u{4e00}-\u{4e0f}]|[\u{1e00}-\u{1eff}]|\u{85}|İ|ß|ﬁ|\u{fffd}){0,40}",
            (clean, chinese, lowercase) in any::<(bool, bool, bool)>(),
            strip in prop::option::of(any::<bool>()),
        ) {
            let normal = normal(clean, chinese, strip, lowercase);
            let mut out = Vec::new();
            let expected = normal.bert.normalize(&text, 0).unwrap();
            match normal.apply(&text, &mut out) {
                Some(found) => prop_assert_eq!(found, expected.as_ref()),
                None => prop_assert!(text.contains("[SEP]") || expected.contains("[SEP]")),
            }
        }
    }

    #[test]
    fn an_added_token_is_left_to_the_library_even_where_cleaning_uncovers_it() {
        let apply = |text: &str| normal(true, true, None, false).apply(text, &mut Vec::new()).map(str::to_owned);
        assert_eq!(apply("a [SEP] b"), None);
        assert_eq!(apply("a [S\u{0}EP] b"), None);
        assert_eq!(apply("a [sep]\tB").as_deref(), Some("a [sep] B"));
    }

    #[test]
    fn another_normalizer_or_a_token_that_is_looked_for_after_it_has_no_shortcut() {
        let bert = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        });
        let of = |normalizer: &Value, added: Value| {
            Normal::of(&json!({ "normalizer": normalizer, "added_tokens": added })).is_some()
        };
        assert!(of(&bert, json!([])));
        assert!(!of(&bert, json!([{ "content": "wow", "normalized": true }])));
        assert!(!of(&json!({ "type": "Lowercase" }), json!([])));
        assert!(!of(&Value::Null, json!([])));
    }
}
