//! Ages as people type them: `90d`.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];

/// A time span: a number and s, m, h or d.
pub(super) fn age(typed: &str) -> Result<Duration, String> {
    let (number, unit) = typed.split_at(typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len()));
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor);
    let seconds = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(*factor));
    seconds.map(Duration::from_secs).ok_or_else(|| "an age is a number and s, m, h or d: 90d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_or_refused() {
        assert_eq!((age("90d"), age("45S")), (Ok(Duration::from_secs(90 * 86400)), Ok(Duration::from_secs(45))));
        for wrong in ["", "90", "d", "-1d", "1w", "99999999999999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
