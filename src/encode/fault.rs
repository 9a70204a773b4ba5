//! Faults on demand, for tests: `BERTLINE_FAULT` makes the encoder fail as a provider would, in the real binary.
//!
//! `encode:rows>4` fails every micro-batch of more than four rows (too little memory), `encode:rows>0` all of them (a
//! broken provider), and `encode:id=12345` those that hold this token id (a poison text).

use super::{Error, MicroBatch, Result};

const VARIABLE: &str = "BERTLINE_FAULT";

/// Which micro-batches fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    RowsOver(usize),
    Id(i32),
}

impl Fault {
    /// What the environment asks for, if anything.
    ///
    /// # Errors
    /// Where it asks for something that is no fault: a test that forces nothing would prove nothing.
    pub(super) fn from_environment() -> Result<Option<Fault>> {
        let given = std::env::var_os(VARIABLE).map(|given| given.to_string_lossy().into_owned());
        // Kills are for whoever writes the output.
        given.filter(|given| !given.starts_with("kill:")).map(|given| Fault::parse(&given)).transpose()
    }

    fn parse(given: &str) -> Result<Fault> {
        let what = given.strip_prefix("encode:");
        let rows = what.and_then(|what| what.strip_prefix("rows>")?.parse().ok());
        let id = what.and_then(|what| what.strip_prefix("id=")?.parse().ok());
        let fault = rows.map(Fault::RowsOver).or(id.map(Fault::Id));
        fault.ok_or_else(|| Error::UnknownFault { variable: VARIABLE, given: given.to_owned() })
    }

    fn words(self) -> String {
        match self {
            Fault::RowsOver(rows) => format!("Failed to allocate memory for more than {rows} rows"),
            Fault::Id(id) => format!("cannot compute id {id}"),
        }
    }

    /// Fails where `batch` is one of those that shall.
    pub(super) fn strike(self, batch: &MicroBatch) -> Result<()> {
        let struck = match self {
            Fault::RowsOver(rows) => batch.rows() > rows,
            Fault::Id(id) => batch.ids.contains(&id),
        };
        match struck {
            // Two lines, as providers write them.
            true => Err(Error::provider(batch, &format!("a fault that {VARIABLE} asked for:\n  {}", self.words()))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_parsed_or_refused() {
        assert_eq!(Fault::parse("encode:rows>4").unwrap(), Fault::RowsOver(4));
        assert_eq!(Fault::parse("encode:id=7").unwrap(), Fault::Id(7));
        for wrong in ["", "encode:", "encode:rows>", "encode:rows>-1", "encode:id=x", "rows>4", "encode:rows>4 "] {
            assert!(Fault::parse(wrong).unwrap_err().is_usage(), "{wrong}");
        }
    }
}
