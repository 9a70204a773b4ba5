//! Token ids to vectors with a frozen BERT encoder.
//!
//! The encoder is a graph that is built here from `config.json` and `model.safetensors`, kept as ONNX in a folder and
//! run by ONNX Runtime; a ready-made graph serves where we cannot build one. Where only the CLS row leaves it, the last
//! layer computes one row after its keys and values: a fifth of the work of a six-layer model that no exported graph
//! saves.
//!
//! | question | file |
//! |---|---|
//! | which vectors may meet, and how were they computed? | `identity.rs`, `numerics.rs`, by digests of `digest.rs` |
//! | which models are supported, and is this one whole? | `model/`: a folder becomes a `Description`, plain data |
//! | what is computed? | `graph/`: a description is lowered to the messages of [`crate::onnx`], kept by `saved.rs` |
//! | which rows and layers make a vector? | `readout.rs` |
//! | what does a graph take and give? | `interface.rs` |
//! | on which device, by whom, in which number format? | `device.rs`, `provider.rs`, `precision.rs` |
//! | how is it computed? | `library.rs`, `session.rs`, `placement.rs`, `proof.rs` |
//! | which products bear 8 bits, and in which ranges? | `int8/` |
//! | what runs, out of flags, tuning and this CPU? how is the machine used? | `choose.rs`, `plan.rs` |
//! | how are texts packed? | `batch.rs` |
//! | what if a micro-batch fails? | `retry.rs`; for tests, `fault.rs` makes it fail |
//! | where does the time go? | `usage.rs`; by operator, `profile.rs` |
//! | how does it look to other programs? | `export.rs` |
//! | how do others reach it? | `encoder.rs`, over the channel of `service.rs` |
//!
//! **Invariants.** Nothing outside this room names `ort`, and within it only `library.rs`, `session.rs` and the error
//! type do. The library is loaded by `library.rs` before any other call, because a lazy failure inside `ort` panics.
//! One dedicated thread owns the session: tokio only waits for it.

mod allowance;
mod batch;
mod choose;
mod device;
mod digest;
mod encoder;
mod error;
mod export;
mod fault;
mod fidelity;
mod graph;
mod identity;
mod int8;
mod interface;
mod library;
mod model;
mod numerics;
mod placement;
mod plan;
mod precision;
mod profile;
mod proof;
mod provider;
mod readout;
mod retry;
mod saved;
mod service;
mod session;
#[cfg(test)]
mod tiny;
#[cfg(test)]
mod tiny_tests;
mod usage;

pub use batch::{BatchPlan, MicroBatch, plan_micro_batches};
pub use choose::{Chosen, Wanted, choose};
pub use device::{DeviceChoice, Gpus, UnknownDevice};
pub use encoder::{Encoder, EncoderOptions};
pub(crate) use encoder::{calibrate, is_built, kept_calibration, prove, width_of};
pub use error::{Error, Result};
pub(crate) use export::exported;
pub(crate) use fidelity::Fidelity;
pub use identity::EncoderIdentity;
pub(crate) use identity::identity_of;
pub use int8::Calibration;
pub(crate) use int8::SAMPLE_TEXTS;
pub use library::cpu_has_bf16;
pub(crate) use library::{LibraryReport, has_cuda, probe};
pub use numerics::Numerics;
pub use placement::OnCpu;
pub use plan::{Host, Measured, Plan, Tuned};
pub use precision::{Precision, PrecisionChoice};
pub use provider::{Provider, ProviderChoice};
pub use readout::{Layers, Pooling, Readout};
pub use retry::{Failed, Vectors};
pub use usage::Usage;
