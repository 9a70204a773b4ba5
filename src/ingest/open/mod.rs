//! Which bytes are in a file: out of its archive, decompressed, as UTF-8?

pub(crate) mod archive;
pub(crate) mod compress;
pub(crate) mod encoding;
pub(crate) mod opener;
mod tape;
pub(crate) mod zip;

pub use encoding::Encoding;
pub use opener::content_digest;
