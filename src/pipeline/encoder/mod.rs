//! Which encoder a stage opens, and which vectors it need not compute.

pub(crate) mod cached;
