//! Commands that leave no output folder: they answer at once, or measure.

pub(crate) mod predict;
pub(crate) mod show;
pub(crate) mod tokenize;
pub(crate) mod tune;
pub(crate) mod verify;
