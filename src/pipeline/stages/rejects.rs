//! The budget for rejects: how many rows a run may lose to them before it counts as failed.
//!
//! A wrong delimiter or encoding turns half a file into rejects, and a run that shrugs at that is worse than one that
//! stops. Rows without text are no fault of the reading and do not count. What is committed stays: with a larger budget
//! the same command ends at once.

use std::path::Path;

use crate::pipeline::{Error, Result, UnitOptions};
use crate::schema::RejectCounts;

/// How many rejects a run may have.
pub(crate) struct Budget {
    most: Option<u64>,
    share: f64,
}

impl Budget {
    pub(crate) fn of(options: &UnitOptions) -> Budget {
        Budget { most: options.max_rejects, share: options.max_reject_share }
    }

    /// Whether a run with these rejects need not go on, because it has failed already.
    pub(crate) fn is_spent(&self, rejected: &RejectCounts) -> bool {
        self.most.is_some_and(|most| rejected.with_text() > most)
    }

    /// Refuses too many rejects in so many rows.
    pub(crate) fn check(&self, out: &Path, rows_in: u64, rejected: &RejectCounts) -> Result<()> {
        let rows = rejected.with_text();
        let over = self.most.is_some_and(|most| rows > most);
        if !over && rows as f64 <= self.share * rows_in as f64 {
            return Ok(());
        }
        let limit = match self.most {
            Some(most) if over => format!("--max-rejects {most}"),
            _ => format!("--max-reject-share {}", self.share),
        };
        let percent = format!("{:.1}", 100.0 * rows as f64 / rows_in.max(1) as f64);
        Err(Error::Rejects { out: out.to_owned(), rows, rows_in, percent, limit, reasons: summary(rejected) })
    }
}

/// The reasons with their rows, the most frequent first.
pub(crate) fn summary(rejected: &RejectCounts) -> String {
    let mut reasons: Vec<(&str, u64)> = rejected.iter().collect();
    reasons.sort_by_key(|(reason, rows)| (std::cmp::Reverse(*rows), *reason));
    reasons.into_iter().map(|(reason, rows)| format!("{reason} {rows}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RejectReason;

    fn budget(max_rejects: Option<u64>, max_reject_share: f64) -> Budget {
        let options = UnitOptions { unit_bytes: 1 << 20, memory: 1 << 29, max_rejects, max_reject_share };
        Budget::of(&options)
    }

    #[test]
    fn rows_without_text_cost_nothing_and_others_count_to_the_row() {
        let rejected = |bad| RejectCounts::from_iter([(RejectReason::BadJson, bad), (RejectReason::EmptyText, 500)]);
        let check = |budget: Budget, bad| budget.check(Path::new("out"), 1000, &rejected(bad));
        check(budget(None, 0.01), 10).unwrap();
        let told = check(budget(None, 0.01), 11).unwrap_err().to_string();
        assert!(told.contains("11 of 1000 rows") && told.contains("empty_text 500, bad_json 11"), "{told}");
        check(budget(Some(11), 1.0), 11).unwrap();
        assert!(check(budget(Some(10), 1.0), 11).unwrap_err().to_string().contains("--max-rejects 10"));
        assert!(!budget(Some(5), 1.0).is_spent(&rejected(5)) && budget(Some(5), 1.0).is_spent(&rejected(6)));
    }
}
