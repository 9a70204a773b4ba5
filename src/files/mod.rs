//! How every room writes files and finds them again: whole or not at all, whatever ends the process.
//!
//! Useful for: the instants of a write at which tests end the process.
//! Not for: what is in a file (`cache`, `head`, `model`, `encode`), or whatever a user's own folder holds (`ingest`).
//!
//! No other room is imported here, so that each of them can rest on it.

pub(crate) mod failpoint;

pub use failpoint::UnknownFault;
