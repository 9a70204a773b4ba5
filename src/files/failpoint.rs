//! Instants at which a test ends the process as SIGKILL would: `BERTLINE_FAULT=kill:manifest-torn@3` aborts it the third
//! time that it comes there. What the operating system holds of its files survives it; a power cut is not tried.
//!
//! Exactly-once rests on the order of a few steps (write, fsync, rename, fsync, line, fsync). A kill at random hits the
//! gaps between them once in a thousand runs, so each gap has a name here, and the tests go through all of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

const VARIABLE: &str = "BERTLINE_FAULT";

/// A gap between two steps of a commit, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Something of a part is in its temporary file.
    PartBegun,
    /// The part is written and not yet fsynced.
    PartWritten,
    /// It is fsynced under its temporary name.
    PartSynced,
    /// It has its name; the folder is not fsynced.
    PartRenamed,
    /// All parts of a unit are durable; the manifest does not name them.
    PartsDurable,
    /// Half a line is in the manifest.
    ManifestTorn,
    /// The line is whole and not yet fsynced.
    ManifestWritten,
    /// The line is durable.
    ManifestSynced,
    /// `run.json` is written under its temporary name.
    ReportWritten,
    /// `run.json` is there; the manifest has no completion.
    ReportRenamed,
}

impl Point {
    const ALL: [(&'static str, Point); 10] = [
        ("part-begun", Point::PartBegun),
        ("part-written", Point::PartWritten),
        ("part-synced", Point::PartSynced),
        ("part-renamed", Point::PartRenamed),
        ("parts-durable", Point::PartsDurable),
        ("manifest-torn", Point::ManifestTorn),
        ("manifest-written", Point::ManifestWritten),
        ("manifest-synced", Point::ManifestSynced),
        ("report-written", Point::ReportWritten),
        ("report-renamed", Point::ReportRenamed),
    ];
}

/// A fault that does not exist was asked for.
#[derive(Debug, Error)]
#[error("`{VARIABLE}` asks for `{given}`, which is no fault; it is kill:POINT@N with POINT one of {known}")]
pub struct UnknownFault {
    given: String,
    known: String,
}

/// The gaps of one file's way to its name that tests can strike in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gaps {
    /// Written, not fsynced.
    pub(crate) written: Option<Point>,
    /// Fsynced, not renamed.
    pub(crate) synced: Option<Point>,
    /// Renamed, its folder not fsynced.
    pub(crate) renamed: Option<Point>,
}

impl Gaps {
    /// Those of a part.
    pub(crate) const PART: Gaps =
        Gaps { written: Some(Point::PartWritten), synced: Some(Point::PartSynced), renamed: Some(Point::PartRenamed) };
    /// Those of `run.json` and of what lies beside it.
    pub(crate) const REPORT: Gaps =
        Gaps { written: None, synced: Some(Point::ReportWritten), renamed: Some(Point::ReportRenamed) };
}

struct Armed {
    point: Point,
    left: AtomicU64,
}

/// Whether a kill is asked for; refuses one that could never come, because a test that forces nothing proves nothing.
pub(crate) fn check() -> Result<(), UnknownFault> {
    let given = std::env::var_os(VARIABLE).map(|given| given.to_string_lossy().into_owned());
    match given.filter(|given| given.starts_with("kill:")) {
        Some(given) if parse(&given).is_none() => {
            let known = Point::ALL.map(|(name, _)| name).join(", ");
            Err(UnknownFault { given, known })
        }
        _ => Ok(()),
    }
}

/// Ends the process here and now, where that is asked for.
pub(crate) fn reached(point: Point) {
    if due(point) {
        std::process::abort();
    }
}

/// Passes a gap, if it is one with a name.
pub(crate) fn pass(gap: Option<Point>) {
    gap.into_iter().for_each(reached);
}

/// Whether the process is to end at `point`, this being the time that counts.
pub(crate) fn due(point: Point) -> bool {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let given = std::env::var_os(VARIABLE)?;
        let (point, times) = parse(&given.to_string_lossy())?;
        Some(Armed { point, left: AtomicU64::new(times) })
    });
    armed.as_ref().is_some_and(|armed| armed.point == point && armed.left.fetch_sub(1, Ordering::Relaxed) == 1)
}

fn parse(given: &str) -> Option<(Point, u64)> {
    let (name, times) = given.strip_prefix("kill:")?.split_once('@')?;
    let point = Point::ALL.into_iter().find(|(known, _)| *known == name)?.1;
    times.parse().ok().filter(|times| *times > 0).map(|times| (point, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_names_a_point_and_a_time() {
        assert_eq!(parse("kill:part-synced@3"), Some((Point::PartSynced, 3)));
        for wrong in ["kill:part-synced", "kill:part-synced@0", "kill:part-synced@x", "kill:nowhere@1", "encode:id=1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
