//! Which files are behind the inputs, how is each laid out, and which columns and labels has it?
//!
//! `walk` lists files and `members` those in archives; `discover` decides by `file_name`, `labels` and a look inside
//! (`peek`) what is read and how; `columns` and `guess` say which column is the text and which the label.

mod columns;
mod discover;
mod file_name;
mod found;
mod guess;
mod labels;
mod members;
mod peek;
mod walk;

pub use columns::resolve_columns;
pub use discover::discover;
pub use found::{Discovery, FoundSource, Skipped};
