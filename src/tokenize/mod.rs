//! Texts to WordPiece ids, as the model's own `tokenizer.json` says.
//!
//! The ids must equal Hugging Face's, or the encoder reads another text than the one it was trained on. The work runs
//! on a pool of its own so that the threads of tokio only move data; results keep the input's order. There is no
//! padding here: micro-batches are cut later, when the lengths are known.
//!
//! `tokenizers` is a release candidate and its API will move: only `tokenizer.rs` and `bert_normalizer.rs` name it.

mod bert_normalizer;
mod error;
mod export;
mod pool;
mod tokenized;
mod tokenizer;
mod window;

pub use error::{Error, Result};
pub(crate) use export::exported;
pub use pool::Pool;
pub use tokenized::Tokenized;
pub use tokenizer::Tokenizer;
pub use window::{Truncation, Window};
