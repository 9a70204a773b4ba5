//! Fetches a model's files from the Hugging Face hub over HTTP.
//!
//! Redirects are followed here and not by the HTTP client, because the answers along the way carry what makes a pull
//! sound: the commit that a branch name stood for (so that all files are of one commit) and the SHA-256 of large files.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::error::{Error, Result};
use super::event::Event;
use super::registry::ModelId;
use super::settings::Settings;
use super::store::Fetched;
use super::{OPTIONAL, REQUIRED};
use crate::files::Staged;

/// For finding the name, and again for the connection: who is behind a firewall must not wait for the other source.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For the first byte of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// For any further byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
const PROGRESS_STEP: u64 = 1 << 20;

/// Puts the model's files into a folder. Small files come first, so that a wrong name fails fast.
pub(super) fn fetch(
    settings: &Settings,
    id: &ModelId,
    into: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<Fetched> {
    if settings.offline {
        return Err(Error::Offline);
    }
    let hub = Hub { settings, agent: agent(settings)? };
    let source = settings.endpoint.clone();
    let mut fetched = Fetched { source, commit: None, expected: BTreeMap::new() };
    for file in REQUIRED[..2].iter().chain(&OPTIONAL).chain(&REQUIRED[2..]) {
        let revision = fetched.commit.as_deref().unwrap_or(&id.revision).replace('/', "%2F");
        let url = format!("{}/{}/resolve/{revision}/{file}", settings.endpoint, id.hub);
        let answer = hub.get(&url)?;
        match answer.response.status().as_u16() {
            200 => save(answer.response, &url, &into.join(file), progress)?,
            404 if OPTIONAL.contains(file) => continue,
            404 => {
                let (name, file) = (id.to_string(), (*file).to_owned());
                return Err(Error::MissingFile { name, file, endpoint: settings.endpoint.clone() });
            }
            status => return Err(Error::Status { url, status }),
        }
        fetched.commit = fetched.commit.or(answer.commit);
        fetched.expected.extend(answer.sha256.map(|digest| ((*file).to_owned(), digest)));
    }
    Ok(fetched)
}

struct Hub<'a> {
    settings: &'a Settings,
    agent: Agent,
}

/// The last answer of a chain of redirects, with what the chain told.
struct Answer {
    response: Response<Body>,
    commit: Option<String>,
    sha256: Option<String>,
}

impl Hub<'_> {
    fn get(&self, url: &str) -> Result<Answer> {
        let (mut at, mut commit, mut sha256) = (url.to_owned(), None, None);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&at);
            // The token is for the hub alone, not for the storage that it redirects to.
            if let Some(token) = self.settings.token.as_ref().filter(|_| same_origin(&at, &self.settings.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response =
                request.call().map_err(|source| Error::Unreachable { url: at.clone(), source: Box::new(source) })?;
            commit = commit.or_else(|| hexadecimal_header(response.headers(), "x-repo-commit", 40));
            sha256 = sha256.or_else(|| hexadecimal_header(response.headers(), "x-linked-etag", 64));
            if !response.status().is_redirection() {
                return Ok(Answer { response, commit, sha256 });
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            at = location
                .and_then(|location| join(&at, location))
                .ok_or_else(|| Error::Redirect { url: url.to_owned() })?;
        }
        Err(Error::Redirect { url: url.to_owned() })
    }
}

fn agent(settings: &Settings) -> Result<Agent> {
    let roots = match &settings.certificates {
        Some(file) => certificates(file)?,
        None => RootCerts::WebPki,
    };
    let config = Agent::config_builder()
        .user_agent(concat!("bertline/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .build();
    Ok(config.new_agent())
}

fn certificates(file: &Path) -> Result<RootCerts> {
    let pem = fs::read(file).unwrap_or_default();
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    match items.collect::<Vec<_>>() {
        none if none.is_empty() => Err(Error::Certificates { file: file.to_path_buf() }),
        certificates => Ok(RootCerts::from(certificates)),
    }
}

/// A header that is a hexadecimal digest, quoted or not.
fn hexadecimal_header(headers: &HeaderMap, name: &str, digits: usize) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim_matches('"');
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

fn same_origin(url: &str, other: &str) -> bool {
    let origin = |text: &str| {
        let uri = text.parse::<Uri>().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
    };
    origin(url).is_some_and(|found| Some(found) == origin(other))
}

/// The address that a `Location` means: a whole one, or a path on the same server.
fn join(base: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let uri = base.parse::<Uri>().ok()?;
    location.starts_with('/').then_some(format!("{}://{}{location}", uri.scheme_str()?, uri.authority()?))
}

/// Streams an answer's body into a file, which has its name once all of it is there.
fn save(response: Response<Body>, url: &str, path: &Path, progress: &mut dyn FnMut(Event)) -> Result<()> {
    let store = |source| Error::Store { source };
    let body = response.into_body();
    let total = body.content_length();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut reader, mut file) = (body.into_reader(), Staged::create(path).map_err(store)?);
    let (mut bytes, mut told, mut buffer) = (0_u64, 0, vec![0; 1 << 16]);
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Transfer { url: url.to_owned(), bytes, source }),
        };
        file.write_all(&buffer[..read]).map_err(store)?;
        bytes += read as u64;
        if bytes - told >= PROGRESS_STEP {
            told = bytes;
            progress(Event::Progress { file: name.clone(), bytes, total });
        }
    }
    if let Some(total) = total.filter(|total| *total != bytes) {
        return Err(Error::Truncated { url: url.to_owned(), bytes, total });
    }
    file.commit().map_err(store)?;
    progress(Event::Progress { file: name, bytes, total: Some(bytes) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_whole_addresses() {
        let base = "https://hub.example:8443/org/name/resolve/main/config.json";
        assert_eq!(join(base, "/api/x?y=1").as_deref(), Some("https://hub.example:8443/api/x?y=1"));
        assert_eq!(join(base, "http://cdn.example/x").as_deref(), Some("http://cdn.example/x"));
        assert_eq!(join(base, "x"), None);
    }

    #[test]
    fn only_the_hub_itself_is_the_same_origin() {
        assert!(same_origin("https://hub.example/a", "https://hub.example"));
        for other in ["http://hub.example/a", "https://hub.example.evil/a", "https://hub.example:444/a", "nonsense"] {
            assert!(!same_origin(other, "https://hub.example"), "{other}");
        }
    }
}
