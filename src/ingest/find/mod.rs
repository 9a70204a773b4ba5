//! Which files are behind the inputs, how is each laid out, and which columns and labels has it?

pub(crate) mod columns;
mod discover;
mod guess;
pub(crate) mod labels;
pub(crate) mod peek;
pub(crate) mod walk;

pub use columns::{Columns, resolve_columns};
pub use discover::discover;
