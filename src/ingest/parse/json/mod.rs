//! Parses JSON: one object a line, or an array of objects; only the wanted keys of each.
//!
//! A line of white space is not a record. Scalars become text as JSON writes them (1 is `1`, 1.0 is `1.0`, true is
//! `true`), null and a missing key become null, and a text or label that is an array or an object is a reject: taking
//! part of it would be a guess. A kept column that is an array or an object stays JSON.

mod array;

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use self::array::Outcome;
pub(crate) use self::array::{ElementReader, is_array};
use crate::ingest::Result;
use crate::ingest::parse::lines::LineReader;
use crate::ingest::parse::record::{Record, Records, Reject, Review};
use crate::schema::RejectReason;

/// The keys that become columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Keys {
    pub text: String,
    pub label: Option<String>,
    /// One for each column to keep.
    pub kept: Vec<String>,
}

/// How the objects of a stream are told apart.
pub(crate) enum Objects {
    Lines(LineReader),
    Array(ElementReader),
}

impl Objects {
    /// The next object's place, and why it cannot be used, where that shows before it is parsed.
    pub(crate) fn advance(&mut self) -> Result<Option<(u64, Option<Reject>)>> {
        match self {
            Self::Array(elements) => {
                let Some((byte_offset, outcome)) = elements.advance()? else { return Ok(None) };
                let reject = match outcome {
                    Outcome::Complete => None,
                    Outcome::TooLarge => Some(Reject::too_large(elements.element())),
                    Outcome::Broken(detail) => Some(Reject::new(RejectReason::BadJson, detail, elements.element())),
                };
                Ok(Some((byte_offset, reject)))
            }
            Self::Lines(lines) => {
                while let Some(place) = lines.advance()? {
                    if place.too_large || !lines.line().trim_ascii().is_empty() {
                        let reject = place.too_large.then(|| Reject::too_large(lines.line()));
                        return Ok(Some((place.byte_offset, reject)));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Where the next object is looked for.
    fn position(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.position(),
            Self::Array(elements) => elements.position(),
        }
    }

    /// The bytes of the object read last.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lines(lines) => lines.line(),
            Self::Array(elements) => elements.element(),
        }
    }
}

/// The reviews of a stream of JSON.
pub(crate) struct JsonRecords {
    objects: Objects,
    keys: Keys,
    /// The distinct keys to pick out of each object.
    wanted: Vec<String>,
}

impl JsonRecords {
    pub(crate) fn new(objects: Objects, keys: Keys) -> Self {
        let mut wanted: Vec<String> = vec![keys.text.clone()];
        wanted.extend(keys.label.iter().chain(&keys.kept).cloned());
        wanted.sort();
        wanted.dedup();
        Self { objects, keys, wanted }
    }

    fn review(&self) -> std::result::Result<Review, Reject> {
        let object = self.objects.bytes();
        let bad = |detail: String| Reject::new(RejectReason::BadJson, detail, object);
        if let Err(error) = std::str::from_utf8(object) {
            let detail = crate::ingest::parse::record::utf8_detail("object", object, error);
            return Err(Reject::new(RejectReason::InvalidUtf8, detail, object));
        }
        let values = pick(object, &self.wanted).map_err(|error| bad(error.to_string()))?;
        let value = |key: &String| self.wanted.binary_search(key).ok().and_then(|at| values[at].as_ref());
        let scalar = |key: &String| match value(key) {
            Some(Value::Array(_)) => Err(bad(format!("`{key}` is an array, not text"))),
            Some(Value::Object(_)) => Err(bad(format!("`{key}` is an object, not text"))),
            other => Ok(other.and_then(to_text)),
        };
        let label = self.keys.label.as_ref().map(scalar).transpose()?.flatten();
        let kept = self.keys.kept.iter().map(|key| value(key).and_then(to_text)).collect();
        Ok(Review { text: scalar(&self.keys.text)?, label, kept })
    }
}

impl Records for JsonRecords {
    fn next_record(&mut self) -> Result<Option<Record>> {
        let Some((byte_offset, reject)) = self.objects.advance()? else { return Ok(None) };
        let content = reject.map_or_else(|| self.review(), Err);
        Ok(Some(Record { byte_offset, end: self.objects.position(), content }))
    }
}

fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The values of the wanted keys (sorted), each `None` where the object lacks it; the last of a doubled key counts.
fn pick(line: &[u8], wanted: &[String]) -> serde_json::Result<Vec<Option<Value>>> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let values = Pick { wanted }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(values)
}

struct Pick<'a> {
    wanted: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Vec<Option<Value>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Vec<Option<Value>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut values = vec![None; self.wanted.len()];
        while let Some(key) = map.next_key::<String>()? {
            match self.wanted.binary_search(&key) {
                Ok(at) => values[at] = Some(map.next_value()?),
                Err(_) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

/// Whether a file that begins so holds one object a line, or an array of them.
pub(crate) fn begins_with_object(head: &[u8], complete: bool) -> bool {
    let head = head.trim_ascii_start();
    let whole = |object: Option<&[u8]>, begin: &[u8]| match object {
        Some(object) => keys_of(object).is_some(),
        None if complete => keys_of(begin).is_some(),
        None => begin.starts_with(b"{"),
    };
    if is_array(head) {
        let mut elements = ElementReader::new("", Box::new(std::io::Cursor::new(head.to_vec())), 0);
        return match elements.advance() {
            Ok(Some((_, Outcome::Complete))) => whole(Some(elements.element()), b""),
            Ok(Some(_)) => whole(None, elements.element()),
            _ => false,
        };
    }
    whole(head.iter().position(|byte| *byte == b'\n').map(|end| &head[..end]), head)
}

/// The keys of an object in the order of the line, or `None` where the line is no object.
pub(crate) fn keys_of(line: &[u8]) -> Option<Vec<String>> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let names = deserializer.deserialize_map(Names).ok()?;
    deserializer.end().ok().map(|()| names)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn all(content: &[u8]) -> Vec<Record> {
        let keys = Keys { text: "text".into(), label: Some("label".into()), kept: vec!["id".into(), "tags".into()] };
        let lines = LineReader::new("test", Box::new(Cursor::new(content.to_vec())), 0);
        let mut records = JsonRecords::new(Objects::Lines(lines), keys);
        std::iter::from_fn(|| records.next_record().unwrap()).collect()
    }

    #[test]
    fn labels_of_any_scalar_type_are_text() {
        let labels =
            [("1", Some("1")), ("1.0", Some("1.0")), ("\"x\"", Some("x")), ("true", Some("true")), ("null", None)];
        for (json, label) in labels {
            let record = all(format!("{{\"label\": {json}, \"text\": \"t\"}}\n").as_bytes()).remove(0);
            assert_eq!(record.content.unwrap().label.as_deref(), label);
        }
    }

    #[test]
    fn missing_text_is_null_and_nested_text_is_a_reject() {
        let records = all(b"{\"label\":1}\n\n  \r\n{\"text\":[1]}\n[1]\n{\"text\":\"a\",\"tags\":[1,\"b\"],\"id\":7}\n{\"text\":\"\xff\"}\n{}x");
        assert_eq!(records.len(), 6);
        assert_eq!(records[0].content.as_ref().unwrap().text, None);
        let reason = |at: usize| records[at].content.as_ref().unwrap_err().reason;
        assert_eq!(
            [reason(1), reason(2), reason(4), reason(5)],
            [RejectReason::BadJson, RejectReason::BadJson, RejectReason::InvalidUtf8, RejectReason::BadJson]
        );
        let kept = &records[3].content.as_ref().unwrap().kept;
        assert_eq!(kept, &[Some("7".to_owned()), Some("[1,\"b\"]".to_owned())]);
    }

    #[test]
    fn files_of_objects_are_told_from_other_json() {
        for head in ["{\"a\":1}\n{", "{\"a\":1}", " [\n {\n\"a\": 1\n}, {", "[{}]"] {
            assert!(begins_with_object(head.as_bytes(), true), "{head}");
        }
        for head in ["{\n\"a\": 1\n}", "[1, 2]", "[]", "3", "", "[{\"a\": x}]"] {
            assert!(!begins_with_object(head.as_bytes(), true), "{head}");
        }
        assert!(
            begins_with_object(b"[{\"a\": \"a long te", false) && begins_with_object(b"{\"a\": \"a long te", false)
        );
    }

    #[test]
    fn keys_come_in_order() {
        assert_eq!(keys_of(b"{\"b\":{\"c\":1},\"a\":2}").unwrap(), ["b", "a"]);
        assert_eq!(keys_of(b"[1]"), None);
    }
}
