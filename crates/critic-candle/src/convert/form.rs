//! Forms of weights in a GGUF file that is written.

use std::borrow::Cow;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};

use crate::{error::LoadError, weights::StoredType};

/// How weights of products are written. Norms and biases are always 32-bit floats, and of the four-bit forms the table of
/// the vocabulary and the head have eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufForm {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 5 exponent bits.
    F16,
    /// Eight bits, and a scale for 32 weights.
    Q8_0,
    /// Four bits at even levels.
    Q4_0,
    /// Four bits at uneven levels.
    Iq4Nl,
}

impl GgufForm {
    /// The number that the format has for a file whose weights are mostly like this.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Iq4Nl => 25,
        }
    }

    /// The form of a table of the vocabulary, whose weights have eight bits at least.
    pub(super) fn of_table(self, shape: &[usize]) -> Self {
        match self.of_tensor(shape) {
            Self::Q4_0 | Self::Iq4Nl => Self::Q8_0,
            form @ (Self::F32 | Self::F16 | Self::Q8_0) => form,
        }
    }

    /// The form of one tensor that is none.
    pub(super) fn of_tensor(self, shape: &[usize]) -> Self {
        let whole_blocks = shape.last().is_some_and(|row| row.is_multiple_of(32));
        match self {
            _ if shape.len() < 2 => Self::F32,
            Self::F32 | Self::F16 => self,
            Self::Q8_0 | Self::Q4_0 | Self::Iq4Nl if !whole_blocks => Self::F16,
            Self::Q8_0 | Self::Q4_0 | Self::Iq4Nl => self,
        }
    }

    /// The number that the format has for the type of a tensor.
    pub(super) fn tensor_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 8,
            Self::Iq4Nl => 20,
        }
    }

    /// Bytes that `weights` weights take.
    pub(super) fn size_bytes(self, weights: usize) -> usize {
        let stored_type = match self {
            Self::F32 => StoredType::F32,
            Self::F16 => StoredType::F16,
            Self::Q4_0 => StoredType::Q4_0,
            Self::Q8_0 => StoredType::Q8_0,
            Self::Iq4Nl => StoredType::Iq4Nl,
        };
        let (block, bytes) = stored_type.block();
        weights / block * bytes
    }

    /// The bytes of `weights` of the tensor `name`, whole blocks of it.
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
