//! Finds which rows of a range can be read where the range as a whole cannot.
//!
//! Parquet fails by page, and a reader only says that some page of what it was asked for is damaged. So a range that
//! fails is halved, between pages, until what fails is inside one page of each column. Never inside a page: decoders
//! that skip values in a damaged page were seen to ask for exabytes of memory.

use std::ops::Range;

use datafusion_common::{DataFusionError, Result};
use futures::future::BoxFuture;

/// Why a range cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is stored is damaged.
    Damage(String),
    /// Anything else, which another range would not mend.
    Other(DataFusionError),
}

/// A part of a range.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<T> {
    /// What was read.
    Read(T),
    /// Rows that cannot be read, and why.
    Damaged(Range<u64>, String),
}

/// Reads a range of rows.
pub(super) type Read<'a, T> = dyn Fn(Range<u64>) -> BoxFuture<'a, std::result::Result<T, Fault>> + Send + Sync + 'a;

/// Reads rows up to `end` in as many pieces as it takes, in order. `starts` are the rows at which pages begin, the first
/// row to read being the first of them; reading all in one go failed because of `why`.
pub(super) async fn read_in_pieces<T>(
    starts: &[u64],
    end: u64,
    why: String,
    read: &Read<'_, T>,
) -> Result<Vec<Piece<T>>> {
    let mut pieces: Vec<Piece<T>> = Vec::new();
    // What is still to be read, the earliest on top; with the damage that it is known to have.
    let mut open = vec![(0..starts.len(), Some(why))];
    while let Some((pages, known)) = open.pop() {
        let rows = starts[pages.start]..starts.get(pages.end).copied().unwrap_or(end);
        let damage = match known {
            Some(why) => why,
            None => match read(rows.clone()).await {
                Ok(found) => {
                    pieces.push(Piece::Read(found));
                    continue;
                }
                Err(Fault::Damage(why)) => why,
                Err(Fault::Other(error)) => return Err(error),
            },
        };
        if pages.len() > 1 {
            let middle = pages.start + pages.len() / 2;
            open.extend([(middle..pages.end, None), (pages.start..middle, None)]);
            continue;
        }
        match pieces.last_mut() {
            Some(Piece::Damaged(before, _)) => before.end = rows.end,
            _ => pieces.push(Piece::Damaged(rows, damage)),
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// Reads rows of pages that hold `page` rows each, of which some are damaged; returns the pieces and the attempts.
    fn pieces(first: u64, page: u64, damaged: &[bool]) -> (Vec<Piece<Vec<u64>>>, usize) {
        let attempts = AtomicUsize::new(0);
        let read = |rows: Range<u64>| -> BoxFuture<'_, std::result::Result<Vec<u64>, Fault>> {
            attempts.fetch_add(1, Ordering::Relaxed);
            let bad = rows.clone().find(|row| damaged[(row / page) as usize]);
            Box::pin(async move {
                match bad {
                    Some(row) => Err(Fault::Damage(format!("page of {row}"))),
                    None => Ok(rows.collect()),
                }
            })
        };
        let end = page * damaged.len() as u64;
        let starts: Vec<u64> = [first].into_iter().chain((first / page + 1..end / page).map(|at| at * page)).collect();
        let found = futures::executor::block_on(read_in_pieces(&starts, end, "page".to_owned(), &read)).unwrap();
        (found, attempts.load(Ordering::Relaxed))
    }

    proptest! {
        #[test]
        fn every_row_of_an_undamaged_page_is_read_and_no_other(
            damaged in prop::collection::vec(any::<bool>(), 1..12),
            page in 1u64..80,
            first in 0u64..50,
        ) {
            let rows = page * damaged.len() as u64;
            let first = first.min(rows - 1);
            prop_assume!((first..rows).any(|row| damaged[(row / page) as usize]));
            let mut next = first;
            for piece in pieces(first, page, &damaged).0 {
                let (here, readable) = match piece {
                    Piece::Read(rows) => (rows, true),
                    Piece::Damaged(rows, _) => (rows.collect(), false),
                };
                prop_assert!(!here.is_empty());
                for row in here {
                    prop_assert_eq!(row, next);
                    prop_assert_eq!(damaged[(row / page) as usize], !readable);
                    next += 1;
                }
            }
            prop_assert_eq!(next, rows);
        }
    }

    #[test]
    fn one_damaged_page_of_many_takes_few_attempts() {
        let mut damaged = vec![false; 1024];
        damaged[300] = true;
        let (_, attempts) = pieces(0, 2_000, &damaged);
        assert!(attempts <= 20, "{attempts}");
    }

    #[test]
    fn what_is_no_damage_ends_the_search() {
        let read = |_| -> BoxFuture<'_, std::result::Result<(), Fault>> {
            Box::pin(async { Err(Fault::Other(DataFusionError::Internal("full".to_owned()))) })
        };
        let result = futures::executor::block_on(read_in_pieces(&[0, 5], 10, String::new(), &read));
        assert!(matches!(result, Err(DataFusionError::Internal(_))));
    }
}
