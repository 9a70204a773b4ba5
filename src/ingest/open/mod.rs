//! Which bytes are in a file: out of its archive, decompressed, as UTF-8?

pub(crate) mod archive;
pub(crate) mod compression;
pub(crate) mod encoding;
pub(crate) mod opener;
mod tar;
pub(crate) mod zip;

pub use encoding::Encoding;
pub use opener::content_digest;
