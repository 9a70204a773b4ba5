//! The same figures for parts of the rows: where a head is better and where it is worse.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::RowOrigin;
use super::measures::Prepared;

/// Sources that are told apart; the smaller ones are left out.
const SOURCES: usize = 20;

/// A part of the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Slice {
    /// Which part.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The share of them that is right.
    pub accuracy: f64,
    /// Their mean log loss.
    pub log_loss: f64,
}

/// Rows by what is known of their texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Slices {
    /// By tokens before truncation, in powers of two.
    pub length: Vec<Slice>,
    /// Cut at max_length or not.
    pub truncated: Vec<Slice>,
    /// The largest sources: files, or their folders where most files hold one row.
    pub source: Vec<Slice>,
}

#[derive(Default)]
struct Sum {
    rows: u64,
    right: u64,
    loss: f64,
}

pub(super) fn slices(prepared: &Prepared<'_>, origins: &[RowOrigin]) -> Slices {
    let by = |name: &dyn Fn(&RowOrigin) -> Option<(u64, String)>| {
        let mut sums: BTreeMap<(u64, String), Sum> = BTreeMap::new();
        for (row, origin) in origins.iter().enumerate() {
            let Some(name) = name(origin) else { continue };
            let sum = sums.entry(name).or_default();
            sum.rows += 1;
            sum.right += u64::from(prepared.is_right(row));
            sum.loss += prepared.log_losses()[row];
        }
        let slice = |((_, name), sum): ((u64, String), Sum)| Slice {
            name,
            rows: sum.rows,
            accuracy: sum.right as f64 / sum.rows as f64,
            log_loss: sum.loss / sum.rows as f64,
        };
        sums.into_iter().map(slice).collect::<Vec<_>>()
    };
    let length = by(&|origin| origin.tokens.map(|(tokens, _)| bucket(tokens)));
    let truncated = by(&|origin| {
        let cut = origin.tokens?.1;
        Some((u64::from(cut), if cut { "truncated" } else { "whole" }.to_owned()))
    });
    let mut files: Vec<&str> = origins.iter().map(|origin| &*origin.source_file).collect();
    files.sort_unstable();
    files.dedup();
    let folders = files.len() * 2 > origins.len() && files.len() > SOURCES;
    let mut source = by(&|origin| {
        let parent = Path::new(&*origin.source_file).parent().map(|parent| parent.display().to_string());
        let folder = parent.filter(|_| folders);
        Some((0, folder.unwrap_or_else(|| origin.source_file.to_string())))
    });
    source.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    source.truncate(SOURCES);
    Slices { length, truncated, source }
}

/// The bucket of a number of tokens: its order and its name.
fn bucket(tokens: u32) -> (u64, String) {
    let end = tokens.max(16).next_power_of_two();
    let start = if end == 16 { 1 } else { end / 2 + 1 };
    (u64::from(end), format!("{start}-{end} tokens"))
}
