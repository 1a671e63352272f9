//! The softmax of attention.

use candle_core::{DType, Result, Tensor};

/// The softmax over the last dimension, rounded to the type of `scores`. It is computed in f32, as in the reference:
/// the library sums in the type itself, where equal weights stop adding up at 256 terms in bf16, and at 2048 in f16.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    match scores.dtype() {
        DType::F32 => candle_nn::ops::softmax_last_dim(scores),
        narrow => candle_nn::ops::softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(narrow),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn equal_weights_of_a_long_row_add_up_to_one() {
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let scores = Tensor::zeros((1, 4096), dtype, &Device::Cpu).unwrap();
            let weights = softmax(&scores).unwrap();
            assert_eq!(weights.dtype(), dtype);
            let sum: f32 = weights.to_dtype(DType::F32).unwrap().sum_all().unwrap().to_scalar().unwrap();
            assert!((sum - 1.0).abs() < 0.01, "{dtype:?}: {sum}");
        }
    }
}
