//! What stages leave on disk: content keys, committed parts, the manifest that names them, and reading them back.
//!
//! Useful for: making an output folder, committing a unit to it, resuming one, loading cached features, the store that
//! runs share, looking up texts that were encoded before.
//! Not for: computing anything (`engine`), or the shape of a dataset (`schema`).

mod claims;
mod embeddings;
mod error;
mod feature_set;
mod features_part;
mod index;
mod key;
mod known;
mod manifest;
mod output;
mod part;
mod recorded;
mod stats;
mod store;

pub(crate) use claims::{Claims, Failure};
pub use error::{Error, Result};
pub(crate) use feature_set::{FeatureSet, check_same_encoder, load_features};
pub(crate) use feature_set::{committed_keys, finished_embed, read_part};
pub use key::Key;
pub use known::{Fetched, Known};
pub use manifest::{Manifest, Part, UnitRecord};
pub use output::{Claim, ClaimedOutput, Found, Output, write_atomically};
pub use part::{PartMetadata, PartWriter};
pub use recorded::RecordedRun;
pub use stats::{StageSeconds, UnitStats};
pub(crate) use store::{Limits, Listed, compact, gc, list, verify};
pub use store::{Store, StoreEncoder};

#[cfg(test)]
mod round_trip_tests;
