//! What libtorch answers with, and how its failures are told.

use tch::{TchError, Tensor};

use super::Error;

/// What libtorch answers a call with.
pub(super) type Torch<T> = std::result::Result<T, TchError>;

/// Names what libtorch was doing when a call failed.
pub(super) fn torch(action: &'static str) -> impl Fn(TchError) -> Error {
    move |source| Error::Torch { action, source: Box::new(source) }
}

/// A tensor's values in row-major order, out of libtorch.
pub(super) fn copy(tensor: &Tensor) -> Torch<Vec<f32>> {
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_detach()?.f_contiguous()?.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}
