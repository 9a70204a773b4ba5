//! How an encoder uses the machine: sessions, threads, tokens of a micro-batch.
//!
//! A plan changes how fast vectors come and nothing that they mean, so it is no part of their numerics. What is best
//! depends on caches, cores and the model: `bertline tune` measures it and keeps what it found, with the machine it was
//! found on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::short_digest;
use super::identity::graph_digest;
use super::{EncoderIdentity, Error, Precision, Provider, Result, library};
use crate::files::write_shared;

/// The version of [`Tuned`] that is written and read.
const VERSION: u32 = 1;

/// How the sessions of an encoder share the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Sessions that run side by side, each with the weights in memory.
    pub sessions: usize,
    /// Threads of each.
    pub threads: usize,
    /// Tokens that one micro-batch holds at most, with its padding where there is any.
    pub token_budget: usize,
}

impl Plan {
    /// What is used where nothing has been tuned, by the machines that were measured: micro-batches whose activations stay
    /// in a core's cache, and two sessions, which never wait for one another's threads (on 2 cores 7 to 20 % more, most in
    /// int8), unless the weights are too `large` to be in memory twice.
    pub fn of(precision: Precision, provider: Provider, threads: usize, large: bool) -> Plan {
        let threads = threads.max(1);
        let sessions = if large || threads % 2 == 1 { 1 } else { 2 };
        let shared = |token_budget| Plan { sessions, threads: threads / sessions, token_budget };
        match (provider, precision) {
            (Provider::OpenVino, _) if sessions == 1 => shared(2048),
            (Provider::OpenVino, _) | (Provider::Mlas, Precision::Int8) => shared(1024),
            (Provider::Mlas, _) => shared(512),
            // What its attention costs grows with the square of these.
            (Provider::Packed | Provider::Cuda, _) => Plan { sessions: 1, threads, token_budget: 512 },
        }
    }

    /// The same threads in one session, which is opened in half the time: for a few texts.
    pub fn in_one_session(self) -> Plan {
        Plan { sessions: 1, threads: self.sessions * self.threads, ..self }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Plan { sessions, threads, token_budget } = self;
        write!(formatter, "{sessions} x {threads} threads, {token_budget} tokens a micro-batch")
    }
}

/// The machine that something was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor's features that matter here.
    pub features: Vec<String>,
    /// ONNX Runtime's version.
    pub library: String,
}

impl Host {
    /// This machine.
    ///
    /// # Errors
    /// Where ONNX Runtime is not found.
    pub fn here() -> Result<Host> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let library = library::found_version()?;
        Ok(Host { cpu: library::cpu_name(), cores, features: library::cpu_features(), library })
    }
}

/// What one combination reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The number format.
    pub precision: Precision,
    /// The execution provider.
    pub provider: Provider,
    /// How the machine was used.
    pub plan: Plan,
    /// Real tokens a second.
    pub tokens_per_second: f64,
    /// Cosine to fp32 of the worst text of the sample.
    pub worst_cosine: f64,
}

/// What `bertline tune` found for one model on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    version: u32,
    /// Where.
    pub host: Host,
    /// For which graph: digest of weights and architecture.
    pub graph: String,
    /// For texts of up to so many tokens.
    pub max_length: u32,
    /// With how many threads in all.
    pub threads: usize,
    /// Everything that was measured, fastest first.
    pub measured: Vec<Measured>,
}

impl Tuned {
    /// Puts measurements in order, fastest first.
    pub fn new(host: Host, identity: &EncoderIdentity, threads: usize, mut measured: Vec<Measured>) -> Tuned {
        measured.sort_by(|a, b| b.tokens_per_second.total_cmp(&a.tokens_per_second));
        let (graph, max_length) = (graph_digest(identity), identity.max_length);
        Tuned { version: VERSION, host, graph, max_length, threads, measured }
    }

    /// The fastest of those that `wanted` says.
    pub fn fastest(&self, wanted: impl Fn(&Measured) -> bool) -> Option<&Measured> {
        self.measured.iter().find(|measured| wanted(measured))
    }

    /// What was kept in `folder` for this machine, encoder and number of threads.
    ///
    /// # Errors
    /// Where the file is there and damaged.
    pub fn load(folder: &Path, host: &Host, identity: &EncoderIdentity, threads: usize) -> Result<Option<Tuned>> {
        let path = path(folder, host, (&graph_digest(identity), identity.max_length), threads);
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(Error::read(&path))?,
        };
        let found: serde_json::Value =
            serde_json::from_slice(&text).map_err(|source| Error::Kept { path: path.clone(), source })?;
        // Another version's measurements are worth as much as none.
        if found["version"] != VERSION {
            return Ok(None);
        }
        let tuned: Tuned = serde_json::from_value(found).map_err(|source| Error::Kept { path, source })?;
        Ok(Some(tuned).filter(|tuned| tuned.host == *host))
    }

    /// Keeps it in `folder` and returns the file.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let path = path(folder, &self.host, (&self.graph, self.max_length), self.threads);
        let json = serde_json::to_vec_pretty(self).expect("numbers and strings serialise; this is a bug");
        write_shared(&path, &json).map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

fn path(folder: &Path, host: &Host, (graph, max_length): (&str, u32), threads: usize) -> PathBuf {
    let host = serde_json::to_string(host).expect("numbers and strings serialise; this is a bug");
    folder.join(format!("plan-{}.json", short_digest(format!("{host} {graph} {max_length} {threads}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(cpu: &str) -> Tuned {
        let host = Host { cpu: cpu.to_owned(), cores: 2, features: vec!["avx2".to_owned()], library: "1".to_owned() };
        let measured = |precision, tokens_per_second| Measured {
            precision,
            provider: Provider::Mlas,
            plan: Plan::of(precision, Provider::Mlas, 2, false),
            tokens_per_second,
            worst_cosine: 1.0,
        };
        let identity = super::super::identity::tests::identity();
        Tuned::new(host, &identity, 2, vec![measured(Precision::Fp32, 5.0), measured(Precision::Int8, 9.0)])
    }

    #[test]
    fn what_was_tuned_comes_back_on_the_same_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (here, identity) = (tuned("a"), super::super::identity::tests::identity());
        here.save(folder.path()).unwrap();
        let load = |host: &Host, threads| Tuned::load(folder.path(), host, &identity, threads).unwrap();
        assert_eq!(load(&here.host, 2), Some(here.clone()));
        assert_eq!(load(&here.host, 4), None);
        assert_eq!(load(&tuned("b").host, 2), None);
    }

    #[test]
    fn the_fastest_comes_first() {
        let tuned = tuned("a");
        assert_eq!(tuned.fastest(|_| true).unwrap().precision, Precision::Int8);
        assert_eq!(tuned.fastest(|measured| measured.precision == Precision::Fp32).unwrap().tokens_per_second, 5.0);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let here = tuned("a");
        let path = here.save(folder.path()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let identity = super::super::identity::tests::identity();
        let error = Tuned::load(folder.path(), &here.host, &identity, 2).unwrap_err();
        assert!(error.to_string().contains("plan-"), "{error}");
    }
}
