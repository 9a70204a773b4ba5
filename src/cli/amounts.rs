//! Sizes and ages as people type them: `50G`, `90d`.

use std::time::Duration;

const SIZES: [(&str, u64); 5] = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
const AGES: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];

/// A number of bytes: plain, or with K, M, G or T, each 1024 of the one before.
pub(super) fn bytes(typed: &str) -> Result<u64, String> {
    amount(typed, &SIZES).ok_or_else(|| "a size is a number, with K, M, G or T or nothing behind it".to_owned())
}

/// A time span: a number and s, m, h or d.
pub(super) fn age(typed: &str) -> Result<Duration, String> {
    let seconds = amount(typed, &AGES).ok_or_else(|| "an age is a number and s, m, h or d: 90d".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

fn amount(typed: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = typed.split_at(typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len()));
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_read_or_refused() {
        assert_eq!((bytes("700"), bytes("50G"), bytes("3k")), (Ok(700), Ok(50 << 30), Ok(3072)));
        assert_eq!((age("90d"), age("45s")), (Ok(Duration::from_secs(90 * 86400)), Ok(Duration::from_secs(45))));
        for wrong in ["", "G", "1.5G", "-1", "5X", "99999999999999T", "1 G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "90", "d", "-1d", "1w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
