//! A folder for each test, and the binary run in it.
//!
//! Paths are given relative to the folder, so that outputs and messages read the same on every machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// The default model's folder, or `None` after saying that the test skips.
pub(crate) fn model() -> Option<String> {
    let found = std::env::var("BERTLINE_TEST_MODEL").ok().filter(|path| Path::new(path).is_dir());
    if found.is_none() {
        eprintln!("skipped: BERTLINE_TEST_MODEL names no model folder (`make test` sets it)");
    }
    found
}

/// `../shared/<relative>` (or under `BERTLINE_SHARED`), or `None` after saying that the test skips.
pub(crate) fn shared(relative: &str) -> Option<String> {
    let root = std::env::var_os("BERTLINE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(relative);
    if !path.exists() {
        eprintln!("skipped: ../shared/{relative} is not here");
        return None;
    }
    Some(path.canonicalize().unwrap().to_str().unwrap().to_owned())
}

/// A path inside the project.
pub(crate) fn project(relative: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative).to_str().unwrap().to_owned()
}

/// What all tests of this process share: their folders and the cache with the encoder's graph, built once. What
/// processes that are gone left behind is removed.
pub(crate) fn session() -> &'static Path {
    static SESSION: OnceLock<PathBuf> = OnceLock::new();
    SESSION.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in fs_err::read_dir(root).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("cli-").is_some_and(gone) {
                fs_err::remove_dir_all(entry.path()).ok();
            }
        }
        let session = root.join(format!("cli-{}", std::process::id()));
        fs_err::create_dir_all(&session).unwrap();
        session
    })
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// It must have failed with `code`, and said every one of `words`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self.says(words)
    }

    /// Every one of `words` must be on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Ran {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        self
    }

    /// Each line of stdout as JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A folder of a test's own, removed at its end.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir_in(session()).unwrap())
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Writes a file, its folders made as needed.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    /// A JSON file.
    pub(crate) fn json(&self, relative: &str) -> Value {
        serde_json::from_slice(&fs_err::read(self.path(relative)).unwrap()).unwrap()
    }

    /// The files below a folder with their content, sorted by path.
    pub(crate) fn files(&self, relative: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<(PathBuf, Vec<u8>)> = walkdir::WalkDir::new(self.path(relative))
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file() && entry.file_name() != ".lock")
            .map(|entry| (entry.path().to_owned(), fs_err::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    /// The binary, to be run in this folder with the session's cache and no libraries from the environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_bertline")), arguments)
    }

    /// Another program, to be run as [`Place::command`] runs the binary.
    pub(crate) fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command.env("BERTLINE_CACHE", session().join("cache")).env_remove("LD_LIBRARY_PATH");
        command.env_remove("BERTLINE_LIB_DIR");
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Runs the binary to its end with something to read.
    pub(crate) fn run_with_stdin(&self, arguments: &[&str], input: &str) -> Ran {
        use std::io::Write;
        let mut child = self.command(arguments);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    }

    /// `embed` with the test model; it must succeed. In fp32 unless told otherwise: what tests expect of numbers must not
    /// depend on what `auto` finds the CPU to be capable of.
    #[track_caller]
    pub(crate) fn embed(&self, model: &str, arguments: &[&str]) -> Ran {
        let precision: &[&str] = if arguments.contains(&"--precision") { &[] } else { &["--precision", "fp32"] };
        self.run(&[&["embed", "--model", model], precision, arguments].concat()).ok()
    }
}
