//! What stages leave on disk: content keys, committed parts, the manifest that names them, and reading them back.
//!
//! Useful for: making an output folder, committing a unit to it, resuming one, loading cached features.
//! Not for: computing anything (`engine`), or the shape of a dataset (`schema`).

mod claims;
mod error;
mod failpoint;
mod features;
mod key;
mod manifest;
mod output;
mod part;

pub use claims::{Claims, Failure, Ticket};
pub use error::{Error, Result};
pub(crate) use features::committed_keys;
pub use features::{FeatureSet, Labelled, check_same_encoder, load_features};
pub use key::Key;
pub use manifest::{Manifest, Part, SNAPSHOT, UnitRecord, UnitStats};
pub use output::{Output, Resolved, State, is_same_run, write_atomically};
pub use part::{PartMetadata, PartWriter};

#[cfg(test)]
mod round_trip_tests;
