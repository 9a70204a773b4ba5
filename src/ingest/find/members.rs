//! Archives as folders: which members of a zip or tar are files to read.
//!
//! A member is a file like any other, called `a.zip!/pos/1.txt`. Nothing is ever written under a member's name, so names
//! that climb out of the archive do no harm; they are passed over and reported all the same. The order is the archive's
//! own, because a compressed tar can only be read from front to back.

use std::collections::HashSet;
use std::path::Path;

use super::found::{FoundFile, Skipped};
use crate::ingest::Result;
use crate::ingest::open::{ArchiveFormat, ArchiveMember, Listed, list_members};

/// Hands every member of `archive` that may be read to `each`, in the order of the archive; returns the others.
pub(super) fn list(
    archive: &FoundFile,
    kind: ArchiveFormat,
    each: &mut dyn FnMut(FoundFile) -> Result<()>,
) -> Result<Vec<Skipped>> {
    let (mut skipped, mut passed_over) = (Vec::new(), HashSet::new());
    let folder = folder_of(&archive.path);
    let mut one = |listed: Listed| -> Result<()> {
        let parts: Vec<&str> = listed.name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let name = |parts: &[&str]| format!("{}!/{}", archive.name, parts.join("/"));
        let Some((_, folders)) = parts.split_last() else { return Ok(()) };
        let hidden = parts.iter().position(|part| part.starts_with(['.', '_']));
        let skip = match (hidden, &listed.content) {
            _ if parts.contains(&"..") => Some((parts.len(), "its name climbs out of the archive")),
            (Some(at), _) => Some((at + 1, hidden_because(parts[at]))),
            (None, Err(reason)) => Some((parts.len(), *reason)),
            (None, Ok(_)) => None,
        };
        if let Some((depth, reason)) = skip {
            // A hidden folder is reported once, not with all that is in it.
            if passed_over.insert(name(&parts[..depth])) {
                skipped.push(Skipped { name: name(&parts[..depth]), reason: reason.into() });
            }
            return Ok(());
        }
        let Ok(data) = listed.content else { return Ok(()) };
        let found = FoundFile {
            path: archive.path.clone(),
            name: name(&parts),
            folders: archive
                .folders
                .iter()
                .chain([&folder])
                .cloned()
                .chain(folders.iter().map(|f| (*f).to_owned()))
                .collect(),
            depth: archive.depth + usize::from(!archive.named) + folders.len(),
            named: false,
            member: Some(ArchiveMember { name: parts.join("/"), data }),
            head: listed.head,
        };
        each(found)
    };
    list_members(&archive.path, &archive.name, kind, &mut one)?;
    Ok(skipped)
}

fn hidden_because(part: &str) -> &'static str {
    match part {
        "__MACOSX" => "notes of macOS, not files",
        _ if part.starts_with('.') => "hidden",
        _ => "its name starts with `_`",
    }
}

/// The folder that an archive stands for: its name without what makes it an archive.
fn folder_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem = name.split_once(".tar").map(|(stem, _)| stem).or_else(|| name.rsplit_once('.').map(|(stem, _)| stem));
    stem.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_a_folder_by_its_stem() {
        for (path, folder) in [("x/pos.zip", "pos"), ("neg.tar.gz", "neg"), ("a.b.tgz", "a.b"), ("c.tar", "c")] {
            assert_eq!(folder_of(Path::new(path)), folder);
        }
    }
}
