//! Which encoder a stage opens: the model, what its vectors mean, how it computes, and which vectors it need not compute.

mod cached;
mod calibration;
mod of_head;
mod planned;
mod target;

pub(crate) use cached::{Cached, warn_of_damage};
pub(crate) use calibration::CalibrateFrom;
pub(crate) use calibration::Purpose;
pub(crate) use of_head::{encoder_of, target_of};
pub(crate) use planned::{Planned, warn_of_cpu};
pub(crate) use target::Target;
pub(crate) use target::say_event;
