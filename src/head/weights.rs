//! A head's weights as safetensors bytes and back.
//!
//! Tensors are called `layers.<n>.weight` (`[outputs, inputs]`) and `layers.<n>.bias` (`[outputs]`), 32-bit floats. The
//! same head gives the same bytes, which is what the bundle's digest rests on.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{Dense, Error, Head, Result};

/// The head as the bytes of a safetensors file.
pub(super) fn to_safetensors(head: &Head) -> Result<Vec<u8>> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors = Vec::new();
    for (number, layer) in head.layers.iter().enumerate() {
        let shape = vec![layer.outputs, layer.inputs];
        tensors.push((format!("layers.{number}.weight"), shape, bytes(&layer.weight)));
        tensors.push((format!("layers.{number}.bias"), vec![layer.outputs], bytes(&layer.bias)));
    }
    let views =
        tensors.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::Serialize)?;
    safetensors::serialize(views, None).map_err(Error::Serialize)
}

/// The head in the bytes of a safetensors file; `path` is for the error.
pub(super) fn from_safetensors(bytes: &[u8], path: &Path) -> Result<Head> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|source| Error::Weights { path: path.to_owned(), source })?;
    let refuse = |reason: String| Error::WeightsShape { path: path.to_owned(), reason };
    if tensors.len() % 2 != 0 {
        return Err(refuse(format!("{} tensors are not pairs of weight and bias", tensors.len())));
    }
    let take = |name: String, dimensions: usize| {
        let tensor = tensors.tensor(&name).map_err(|_| refuse(format!("`{name}` is missing")))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape().len() != dimensions {
            return Err(refuse(format!("`{name}` is {:?} {:?}", tensor.dtype(), tensor.shape())));
        }
        let (chunks, _) = tensor.data().as_chunks::<4>();
        Ok((tensor.shape().to_vec(), chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>()))
    };
    let mut layers = Vec::new();
    for number in 0..tensors.len() / 2 {
        let (shape, weight) = take(format!("layers.{number}.weight"), 2)?;
        let (_, bias) = take(format!("layers.{number}.bias"), 1)?;
        layers.push(Dense { weight, bias, inputs: shape[1], outputs: shape[0] });
    }
    let head = Head { layers };
    head.fault().map_or(Ok(head), |reason| Err(refuse(reason)))
}

#[cfg(test)]
mod tests {
    use super::super::noise::random_head;
    use super::*;

    #[test]
    fn heads_come_back_as_they_were() {
        for sizes in [&[5, 2][..], &[5, 4, 3], &[3, 4, 5, 6]] {
            let head = random_head(sizes);
            let bytes = to_safetensors(&head).unwrap();
            assert_eq!(bytes, to_safetensors(&head).unwrap());
            assert_eq!(from_safetensors(&bytes, Path::new("x")).unwrap(), head);
        }
    }

    #[test]
    fn more_layers_than_ten_keep_their_order() {
        let head = random_head(&[2; 13]);
        assert_eq!(from_safetensors(&to_safetensors(&head).unwrap(), Path::new("x")).unwrap(), head);
    }

    #[test]
    fn what_makes_no_head_is_refused() {
        assert!(matches!(from_safetensors(b"nonsense", Path::new("x")), Err(Error::Weights { .. })));
        let mut head = random_head(&[5, 4, 3]);
        head.layers[1].inputs = 2;
        head.layers[1].weight.truncate(6);
        let bytes = to_safetensors(&head).unwrap();
        assert!(matches!(from_safetensors(&bytes, Path::new("x")), Err(Error::WeightsShape { .. })));
        let none = to_safetensors(&Head { layers: Vec::new() }).unwrap();
        assert!(matches!(from_safetensors(&none, Path::new("x")), Err(Error::WeightsShape { .. })));
    }
}
