//! Rows whose label is known: as a trainer takes them, as they are judged, and where their texts are.

pub(crate) mod judged;
pub(crate) mod labelled;
pub(crate) mod lookup;
