//! Which bytes does a source hold: out of its archive, without its compression, as UTF-8?
//!
//! `stream` and `compression` at the bottom; `zip` and `tar` list and read members, `archive` is the one door to both;
//! `digest` says whether they are still the same, `detect` tells the encoding of their bytes; `opener` reads a source for its records, `sample` looks at its start. Nothing here knows what a record is.

mod archive;
mod compression;
mod detect;
mod digest;
mod encoding;
mod location;
mod member;
mod opener;
mod sample;
mod stream;
mod tar;
mod zip;

pub(crate) use archive::{ArchiveFormat, list_members};
pub use digest::Digests;
pub use encoding::Encoding;
pub(crate) use encoding::encoding_by_name;
pub use location::{Location, any_path};
pub(crate) use member::{ArchiveMember, Listed, MemberPrefix, text_of};
pub(crate) use opener::{Opened, Opener, Text};
pub(crate) use sample::{Sample, Sampler};
pub(crate) use stream::{CHUNK_BYTES, Stream};
