//! The forms in which weights are written to a GGUF file.

use std::borrow::Cow;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};

use crate::{
    error::LoadError,
    weights::{
        StoredType,
        gguf_format::{file_type, tensor_type},
    },
};

/// How weights of matrix products are written. Norms and biases are always 32-bit floats; in the four-bit forms, the
/// embedding table and the head have eight bits. Matrices whose rows are not whole blocks become 16-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufForm {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 5 exponent bits.
    F16,
    /// Eight bits, and a scale for each 32 weights.
    Q8_0,
    /// Four bits with evenly spaced levels, and a scale for each 32 weights.
    Q4_0,
    /// Four bits with unevenly spaced levels, and a scale for each 32 weights.
    Iq4Nl,
}

impl GgufForm {
    /// The format's number for a file whose weights mostly have this form.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Self::F32 => file_type::F32,
            Self::F16 => file_type::F16,
            Self::Q4_0 => file_type::Q4_0,
            Self::Q8_0 => file_type::Q8_0,
            Self::Iq4Nl => file_type::IQ4_NL,
        }
    }

    /// The form of the embedding table or the head, whose weights have at least eight bits.
    pub(super) fn of_table(self, shape: &[usize]) -> Self {
        match self.of_tensor(shape) {
            Self::Q4_0 | Self::Iq4Nl => Self::Q8_0,
            form @ (Self::F32 | Self::F16 | Self::Q8_0) => form,
        }
    }

    /// The form of any other tensor.
    pub(super) fn of_tensor(self, shape: &[usize]) -> Self {
        let (block, _) = self.stored_type().block();
        match shape {
            [] | [_] => Self::F32,
            [.., row] if !row.is_multiple_of(block) => Self::F16,
            [..] => self,
        }
    }

    /// The format's number for a tensor of this form.
    pub(super) fn tensor_type(self) -> u32 {
        match self {
            Self::F32 => tensor_type::F32,
            Self::F16 => tensor_type::F16,
            Self::Q4_0 => tensor_type::Q4_0,
            Self::Q8_0 => tensor_type::Q8_0,
            Self::Iq4Nl => tensor_type::IQ4_NL,
        }
    }

    /// The type with which such a tensor is read.
    fn stored_type(self) -> StoredType {
        match self {
            Self::F32 => StoredType::F32,
            Self::F16 => StoredType::F16,
            Self::Q4_0 => StoredType::Q4_0,
            Self::Q8_0 => StoredType::Q8_0,
            Self::Iq4Nl => StoredType::Iq4Nl,
        }
    }

    /// Bytes that `weights` weights take.
    pub(super) fn size_bytes(self, weights: usize) -> usize {
        let (block, bytes) = self.stored_type().block();
        weights / block * bytes
    }

    /// Encodes `weights` of the tensor `name`, a whole number of blocks.
    ///
    /// # Errors
    /// [`LoadError::TooLarge`] when a weight is too large for f16, [`LoadError::Tensor`] when quantising fails.
    pub(super) fn encode(self, weights: &[f32], name: &str) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::F32 => Ok(weights.iter().flat_map(|weight| weight.to_le_bytes()).collect()),
            Self::F16 => {
                let halves: Vec<half::f16> =
                    weights.iter().map(|weight| half::f16::from_f32(*weight)).collect();
                if !halves.iter().all(|half| half.is_finite()) {
                    return Err(LoadError::TooLarge { tensor: name.into() });
                }
                Ok(halves.iter().flat_map(|half| half.to_le_bytes()).collect())
            }
            Self::Q8_0 => Ok(kernels::to_q8_0(weights)),
            Self::Iq4Nl => Ok(kernels::to_iq4_nl(weights)),
            Self::Q4_0 => {
                let weights = Tensor::from_slice(weights, weights.len(), &Device::Cpu)?;
                Ok(QTensor::quantize(&weights, GgmlDType::Q4_0)?.data().map(Cow::into_owned)?)
            }
        }
    }
}
