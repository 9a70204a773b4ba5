//! Where the bytes of a source are: in a file, or in a member of an archive.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::member::ArchiveMember;

/// Where the bytes of a source are, and what they are called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Location {
    /// The file, or the archive that it is in.
    #[serde(with = "any_path")]
    pub path: PathBuf,
    /// The path as given: for a folder the input as typed, `/`, and the path below it; always forward slashes. For a
    /// member of an archive `!/` and the path in it follow.
    pub name: String,
    /// Its size on disk; of a member of an archive the size that the archive says.
    pub bytes: u64,
    /// Which member of the archive it is.
    pub(crate) member: Option<ArchiveMember>,
}

/// Writes a path as text, and as its bytes where it is none.
pub mod any_path {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }

    /// Writes it.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into(),
            Written::Bytes(bytes) => OsStr::from_bytes(&bytes).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn paths_that_are_no_text_survive_json() {
        for (path, json) in
            [("in/größe".as_bytes(), r#""path":"in/größe""#), (b"in/\xff", r#""path":[105,110,47,255]"#)]
        {
            let path = PathBuf::from(OsStr::from_bytes(path));
            let location = Location { path, name: "a".to_owned(), bytes: 1, member: None };
            let written = serde_json::to_string(&location).unwrap();
            assert!(written.contains(json), "{written}");
            assert_eq!(serde_json::from_str::<Location>(&written).unwrap(), location);
        }
    }
}
