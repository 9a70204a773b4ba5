//! How every room writes files and finds them again: whole or not at all, whatever ends the process.
//!
//! Useful for: putting a file of any size in place, whoever else is writing it (`staged`); what is in a place of data,
//! ranges of a file, whether it is still the same (`stored`); the instants of a write at which tests end the process.
//! Not for: what is in a file (`cache`, `head`, `model`, `encode`), or whatever a user's own folder holds (`ingest`).
//!
//! No other room is imported here, so that each of them can rest on it.

mod digest;
pub(crate) mod failpoint;
mod moved;
mod staged;
mod state;
mod stored;

pub use failpoint::UnknownFault;
pub(crate) use moved::{adopt, place_folder};
pub(crate) use staged::{Staged, put_if_absent, sync_folder_of, write, write_shared};
pub use state::FileState;
pub(crate) use stored::{Stored, digest, list, state};
