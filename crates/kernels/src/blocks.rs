//! Quantises weights to blocks of GGUF's types, for files.

use rayon::prelude::*;

use crate::{
    gguf::{EIGHT_BITS, FOUR_BITS},
    isa::Isa,
    quantise::{BLOCK, Quantised, ToQ4, to_q8},
};

/// Quantises weights to blocks of Q8_0 with the same codes and scales as [`Form::Q8`](crate::Form::Q8).
///
/// # Panics
/// If the number of weights is not a multiple of 32.
pub fn to_q8_0(weights: &[f32]) -> Vec<u8> {
    blocks::<EIGHT_BITS>(weights, |weights| {
        let Quantised { codes, scale } = to_q8(weights);
        let scale = scale.to_le_bytes();
        std::array::from_fn(|index| if index < 2 { scale[index] } else { codes[index - 2] as u8 })
    })
}

/// Quantises weights to blocks of IQ4_NL with the same codes and scales as [`Form::Q4`](crate::Form::Q4).
///
/// # Panics
/// If the number of weights is not a multiple of 32.
pub fn to_iq4_nl(weights: &[f32]) -> Vec<u8> {
    blocks::<FOUR_BITS>(weights, |weights| {
        let Quantised { codes, scale } = Isa::best().vectorize(ToQ4(weights));
        let scale = scale.to_le_bytes();
        let pair = |index: usize| codes[index] as u8 | (codes[index + BLOCK / 2] as u8) << 4;
        std::array::from_fn(|index| if index < 2 { scale[index] } else { pair(index - 2) })
    })
}

fn blocks<const BYTES: usize>(
    weights: &[f32],
    quantise: impl Fn(&[f32; BLOCK]) -> [u8; BYTES] + Sync + Send,
) -> Vec<u8> {
    let (blocks, rest) = weights.as_chunks();
    assert!(rest.is_empty(), "{} weights are no whole blocks", weights.len());
    blocks.par_iter().map(quantise).collect::<Vec<_>>().into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Form, Linear, Matrix};

    #[test]
    fn blocks_are_what_a_product_makes_of_the_same_weights() {
        let (output, input) = (3, 96);
        let weights: Vec<f32> = (0..output * input).map(|index| (index as f32 * 0.7).sin() * 0.3).collect();
        let rows = |linear: &Linear| -> Vec<f32> {
            (0..output).flat_map(|row| linear.weight_row(row).collect::<Vec<_>>()).collect()
        };
        let made = |matrix: Matrix<'_>, form| rows(&Linear::with_form(matrix, form, (output, input), None));
        assert_eq!(
            made(Matrix::Q8_0(&to_q8_0(&weights)), Form::Given),
            made(Matrix::F32(&weights), Form::Q8)
        );
        assert_eq!(
            made(Matrix::Iq4Nl(&to_iq4_nl(&weights)), Form::Given),
            made(Matrix::F32(&weights), Form::Q4)
        );
    }
}
