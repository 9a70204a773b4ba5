//! The device that libtorch trains on.
//!
//! It is one a process, as libtorch's random generator is: a process trains for one command. The CUDA part of libtorch is
//! loaded by whoever starts this process, before it runs, so that one binary does with and without it.

use std::sync::OnceLock;

use tch::{Cuda, Device, Kind, Tensor};

use super::libtorch::Torch;
use super::{Error, Result};

static GPU: OnceLock<usize> = OnceLock::new();

/// Has this process train on a GPU.
///
/// # Errors
/// Where libtorch cannot compute there.
pub(super) fn take_gpu(number: u32) -> Result<()> {
    let number = number as usize;
    if !tch::utils::has_cudart() {
        return Err(Error::NoCudaPart);
    }
    // It says what is missing: a driver, or this GPU.
    let _ = Tensor::f_zeros([1], (Kind::Float, Device::Cuda(number))).map_err(|source| {
        // Its first sentence: there may be a page of them.
        let page = source.to_string();
        let line = page.lines().next().unwrap_or_default().trim_start_matches("Internal torch error: ");
        let reason = line.split(". ").next().unwrap_or(line).to_owned();
        Error::NoGpu { number, found: Cuda::device_count(), reason }
    })?;
    GPU.get_or_init(|| number);
    Ok(())
}

/// Where tensors live.
pub(super) fn device() -> Device {
    GPU.get().map_or(Device::Cpu, |number| Device::Cuda(*number))
}

/// A tensor there.
pub(super) fn there(tensor: Tensor) -> Torch<Tensor> {
    match device() {
        Device::Cpu => Ok(tensor),
        gpu => tensor.f_to_device(gpu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_changes_nothing() {
        let error = take_gpu(63).unwrap_err();
        assert!(matches!(&error, Error::NoCudaPart | Error::NoGpu { number: 63, .. }), "{error}");
        assert_eq!(device(), Device::Cpu);
    }
}
