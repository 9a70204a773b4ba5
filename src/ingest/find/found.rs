//! What finding hands on: files, then sources, and what is passed over.

use std::path::{Path, PathBuf};

use crate::ingest::open::{ArchiveMember, MemberPrefix};
use crate::ingest::parse::Source;

/// A file behind an input, with what its place says.
pub(super) struct FoundFile {
    /// The file, or the archive that it is in.
    pub path: PathBuf,
    pub name: String,
    /// The folders around it, outermost first: the input's own, then those below it.
    pub folders: Vec<String>,
    /// How many of the folders are below the input's own.
    pub depth: usize,
    /// Whether the user named this very file.
    pub named: bool,
    /// Which member of the archive it is.
    pub member: Option<ArchiveMember>,
    /// The start of its content, where looking at it later would be slow.
    pub head: Option<MemberPrefix>,
}

impl FoundFile {
    pub(super) fn file(path: PathBuf, name: String, folders: Vec<String>, depth: usize) -> Self {
        Self { path, name, folders, depth, named: false, member: None, head: None }
    }

    /// The path that says what it is: a member's own.
    pub(super) fn own_path(&self) -> &Path {
        self.member.as_ref().map_or(&self.path, |member| Path::new(&member.name))
    }
}

/// A file or folder that was found and is not read.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Its path, as a source's name would be.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A source and how it came to be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundSource {
    /// What is read.
    pub source: Source,
    /// The position of its input among the inputs.
    pub input: usize,
    /// Why it is read as it is, where that was a decision worth telling.
    pub note: Option<String>,
}

/// All that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// The inputs as typed.
    pub inputs: Vec<String>,
    /// The files to read: inputs in the order given, the files of each sorted by path, members in their archive's order.
    pub found: Vec<FoundSource>,
    /// What is not read.
    pub skipped: Vec<Skipped>,
}

impl Discovery {
    /// The files to read, without how they came to be found.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.found.iter().map(|found| &found.source)
    }
}
