//! `model.safetensors`, tensor by tensor, in f32.
//!
//! Every tensor is checked against the shape that config.json implies and for values that are not numbers, when it is
//! read: a damaged file must be refused before it fills a dataset with plausible vectors.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::super::{Error, Result};

/// The bytes of a weights file, read whole.
pub(in crate::encode) struct WeightsFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The tensors of a weights file.
pub(in crate::encode) struct Weights<'file> {
    path: &'file Path,
    tensors: SafeTensors<'file>,
    /// The family's prefix where the file was saved from a model with a task's head, else empty.
    prefix: &'static str,
}

impl WeightsFile {
    /// Reads `model.safetensors` of a model folder.
    pub(in crate::encode) fn read(model_dir: &Path) -> Result<WeightsFile> {
        let path = model_dir.join("model.safetensors");
        let bytes = fs_err::read(&path).map_err(Error::read(&path))?;
        Ok(WeightsFile { path, bytes })
    }

    #[cfg(test)]
    pub(in crate::encode) fn from_bytes(bytes: Vec<u8>) -> WeightsFile {
        WeightsFile { path: PathBuf::from("model.safetensors"), bytes }
    }

    /// The tensors in it, whose names may begin with `prefix`.
    ///
    /// # Errors
    /// Where the header is damaged or the file is shorter or longer than the header says.
    pub(in crate::encode) fn tensors(&self, prefix: &'static str) -> Result<Weights<'_>> {
        let tensors = SafeTensors::deserialize(&self.bytes)
            .map_err(|source| Error::Weights { path: self.path.clone(), source })?;
        let prefixed = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("embeddings."));
        let is_prefixed = tensors.names().into_iter().any(prefixed);
        Ok(Weights { path: &self.path, tensors, prefix: if is_prefixed { prefix } else { "" } })
    }
}

impl Weights<'_> {
    /// The values of tensor `name` (without the family's prefix), which must have this shape, in row-major order.
    pub(in crate::encode) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self.find(name)?;
        let (path, tensor) = (|| self.path.to_owned(), || name.to_owned());
        if view.shape() != shape {
            let (found, expected) = (view.shape().to_vec(), shape.to_vec());
            return Err(Error::Shape { path: path(), tensor: tensor(), found, expected });
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect(),
            Dtype::BF16 => view.data().chunks_exact(2).map(|two| f32::from_le_bytes([0, 0, two[0], two[1]])).collect(),
            Dtype::F16 => {
                view.data().chunks_exact(2).map(|two| from_half(u16::from_le_bytes([two[0], two[1]]))).collect()
            }
            other => return Err(Error::TensorType { path: path(), tensor: tensor(), found: format!("{other:?}") }),
        };
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::NotFinite { path: path(), tensor: tensor() }),
        }
    }

    /// The weight of a linear layer as PyTorch stores it, [outputs, inputs], transposed to [inputs, outputs] so that
    /// rows of activations multiply it from the left.
    pub(in crate::encode) fn transposed(&self, name: &str, inputs: usize, outputs: usize) -> Result<Vec<f32>> {
        let stored = self.tensor(name, &[outputs, inputs])?;
        let mut turned = vec![0.0; stored.len()];
        for (output, row) in stored.chunks_exact(inputs).enumerate() {
            for (input, &value) in row.iter().enumerate() {
                turned[input * outputs + output] = value;
            }
        }
        Ok(turned)
    }

    fn find(&self, name: &str) -> Result<safetensors::tensor::TensorView<'_>> {
        // TensorFlow checkpoints converted long ago call a norm's weight and bias gamma and beta.
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        [name, &old]
            .into_iter()
            .find_map(|name| self.tensors.tensor(&format!("{}{name}", self.prefix)).ok())
            .ok_or_else(|| Error::MissingTensor {
                path: self.path.to_owned(),
                tensor: format!("{}{name}", self.prefix),
            })
    }
}

/// IEEE half precision to f32, subnormals included.
fn from_half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{TensorView, serialize};

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> WeightsFile {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        WeightsFile::from_bytes(serialize(views, None).unwrap())
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn a_linear_weight_is_transposed_and_the_prefix_is_optional() {
        for name in ["embeddings.w", "bert.embeddings.w"] {
            let file = file(&[(name, Dtype::F32, &[2, 3], &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]);
            let weights = file.tensors("bert.").unwrap();
            assert_eq!(weights.transposed("embeddings.w", 3, 2).unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        }
    }

    #[test]
    fn half_precision_widens_exactly() {
        let data = [0x3c00u16, 0xc000, 0x0001, 0x7bff].map(u16::to_le_bytes).concat();
        let halves = file(&[("h", Dtype::F16, &[4], &data), ("b", Dtype::BF16, &[1], &[0x80, 0x3f])]);
        let weights = halves.tensors("bert.").unwrap();
        assert_eq!(weights.tensor("h", &[4]).unwrap(), [1.0, -2.0, 2f32.powi(-24), 65504.0]);
        assert_eq!(weights.tensor("b", &[1]).unwrap(), [1.0]);
    }

    #[test]
    fn old_names_of_norms_are_found() {
        let file = file(&[("x.LayerNorm.gamma", Dtype::F32, &[1], &floats(&[7.0]))]);
        assert_eq!(file.tensors("bert.").unwrap().tensor("x.LayerNorm.weight", &[1]).unwrap(), [7.0]);
    }

    #[test]
    fn what_is_missing_misshapen_cut_or_not_a_number_is_refused_by_name() {
        let mut file = file(&[("w", Dtype::F32, &[2], &floats(&[1.0, f32::NAN]))]);
        let message = |error: Error| error.to_string();
        let weights = file.tensors("bert.").unwrap();
        assert!(message(weights.tensor("v", &[2]).unwrap_err()).contains("no tensor `v`"));
        assert!(message(weights.tensor("w", &[3]).unwrap_err()).contains("[2], and config.json asks for [3]"));
        assert!(message(weights.tensor("w", &[2]).unwrap_err()).contains("not a number"));
        file.bytes.pop();
        assert!(message(file.tensors("bert.").err().unwrap()).contains("model.safetensors"));
    }
}
