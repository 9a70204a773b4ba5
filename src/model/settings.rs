//! Where models are kept and whom to ask, as the environment says it.
//!
//! Read in one place, so that the rest of the room works on values and its tests need not touch the environment.

use std::env;
use std::path::PathBuf;

use super::error::{Error, Result};

/// The environment's part in getting a model.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Root of the cache: models under `models/`, encoder graphs under `graphs/`.
    pub cache: PathBuf,
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// Sent to the hub as a bearer token, and to nobody else.
    pub token: Option<String>,
    /// Whether the hub must not be asked.
    pub offline: bool,
    /// Certificates to trust instead of the built-in ones, as PEM.
    pub certificates: Option<PathBuf>,
    /// Interpreter that runs pip.
    pub python: String,
    /// Whether pip has a time limit of the user's own, which then stands.
    pub pip_timeout_set: bool,
}

impl Settings {
    pub(super) fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| env::var(name).ok())
    }

    /// Empty variables count as unset, as they do for the tools that share them.
    fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let cache = get("BERTLINE_CACHE")
            .map(PathBuf::from)
            .or_else(|| get("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("bertline")))
            .or_else(|| get("HOME").map(|folder| PathBuf::from(folder).join(".cache/bertline")))
            .ok_or(Error::NoCacheFolder)?;
        let endpoint = get("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = get("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        Ok(Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: get("HF_TOKEN"),
            offline,
            certificates: get("SSL_CERT_FILE").map(PathBuf::from),
            python: "python3".to_owned(),
            pip_timeout_set: get("PIP_DEFAULT_TIMEOUT").or_else(|| get("PIP_TIMEOUT")).is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_lookup(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn cache_folder_follows_the_order_of_the_variables() {
        let cache = |variables| settings(variables).unwrap().cache;
        let all = [("BERTLINE_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(cache(&all), PathBuf::from("/a"));
        assert_eq!(cache(&all[1..]), PathBuf::from("/b/bertline"));
        assert_eq!(cache(&[("BERTLINE_CACHE", ""), all[2]]), PathBuf::from("/c/.cache/bertline"));
        assert!(matches!(settings(&[]), Err(Error::NoCacheFolder)));
    }

    #[test]
    fn hub_variables_are_read_as_hugging_face_reads_them() {
        let plain = settings(&[("HOME", "/c"), ("HF_TOKEN", ""), ("HF_HUB_OFFLINE", "0")]).unwrap();
        assert_eq!((plain.endpoint.as_str(), plain.token, plain.offline), ("https://huggingface.co", None, false));
        let set = [("HOME", "/c"), ("HF_ENDPOINT", "http://mirror/"), ("HF_TOKEN", "t"), ("HF_HUB_OFFLINE", "True")];
        let set = settings(&set).unwrap();
        assert_eq!((set.endpoint.as_str(), set.token.as_deref(), set.offline), ("http://mirror", Some("t"), true));
    }
}
