//! Weights of several tensors stacked by rows, to be multiplied as one matrix.

use std::borrow::Cow;

use half::{bf16, f16, slice::HalfBitsSliceExt};
use kernels::{Form, Matrix, QUANTISED_BLOCK};
use kernels_cuda::{Blocks, Weight};

use crate::{
    error::LoadError,
    weights::{FLOATS_AT_ONCE, Products, Stored, StoredType, WeightForm, map_all},
};

/// The name and shape of a tensor.
type Named = (String, Vec<usize>);

/// Weights stacked by rows. Those of a single tensor are borrowed from the file where possible.
pub(super) enum Joined<'a> {
    F32(Cow<'a, [f32]>),
    /// Floats, of which some were stored in blocks that no kernel supports, or in blocks and other types.
    Dequantised(Cow<'a, [f32]>),
    Bf16(Cow<'a, [u16]>),
    F16(Cow<'a, [u16]>),
    Q8_0(Cow<'a, [u8]>),
    Q4_0(Cow<'a, [u8]>),
    Iq4Nl(Cow<'a, [u8]>),
}

impl<'a> Joined<'a> {
    /// Reads the tensors in their stored type, or as floats where the types differ.
    pub(super) fn as_stored(products: Products<'a>, names: &[Named]) -> Result<Self, LoadError> {
        let stored: Vec<Stored<'a>> = read(products, names)?;
        let first = stored[0].stored_type;
        if stored.iter().any(|other| other.stored_type != first) {
            let blocks = stored.iter().any(|stored| stored.stored_type.dtype().is_none());
            let floats = floats(stored)?;
            return Ok(if blocks { Self::Dequantised(floats) } else { Self::F32(floats) });
        }
        Ok(match first {
            StoredType::F32 => Self::F32(floats(stored)?),
            StoredType::Bf16 => Self::Bf16(words(stored)?),
            StoredType::F16 => Self::F16(words(stored)?),
            StoredType::Q8_0 => Self::Q8_0(bytes(stored)?),
            StoredType::Q4_0 => Self::Q4_0(bytes(stored)?),
            StoredType::Iq4Nl => Self::Iq4Nl(bytes(stored)?),
            StoredType::Other(_) => Self::Dequantised(floats(stored)?),
        })
    }

    /// Reads the tensors as 32-bit floats, whatever their stored type.
    pub(super) fn as_floats(products: Products<'a>, names: &[Named]) -> Result<Self, LoadError> {
        Ok(Self::F32(floats(read(products, names)?)?))
    }

    /// The form in which the CPU keeps them as [`WeightForm::Stored`].
    pub(super) fn own_form(&self) -> Form {
        match self {
            Self::Dequantised(_) => Form::Q8,
            Self::F32(_) | Self::Bf16(_) | Self::F16(_) | Self::Q8_0(_) | Self::Q4_0(_) | Self::Iq4Nl(_) => {
                Form::Given
            }
        }
    }

    pub(super) fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::F32(floats) | Self::Dequantised(floats) => Matrix::F32(floats),
            Self::Bf16(words) => Matrix::Bf16(words),
            Self::F16(words) => Matrix::F16(words),
            Self::Q8_0(bytes) => Matrix::Q8_0(bytes),
            Self::Q4_0(bytes) => Matrix::Q4_0(bytes),
            Self::Iq4Nl(bytes) => Matrix::Iq4Nl(bytes),
        }
    }
}

/// Weights in a form that the GPU's kernels multiply with.
pub(super) enum ForGpu<'a> {
    /// The bits of bf16 numbers.
    Bf16(Cow<'a, [u16]>),
    Q8_0(Cow<'a, [u8]>),
    Q4_0(Cow<'a, [u8]>),
    Iq4Nl(Cow<'a, [u8]>),
}

impl ForGpu<'_> {
    pub(super) fn to_cuda(&self) -> Weight<'_> {
        match self {
            Self::Bf16(words) => Weight::Bf16(words.reinterpret_cast::<bf16>()),
            Self::Q8_0(bytes) => Weight::Blocks(Blocks::Q8_0(bytes)),
            Self::Q4_0(bytes) => Weight::Blocks(Blocks::Q4_0(bytes)),
            Self::Iq4Nl(bytes) => Weight::Blocks(Blocks::Iq4Nl(bytes)),
        }
    }
}

impl ForGpu<'_> {
    /// Pads rows of `input` numbers with zeros to `padded`. Blocks are left as they are, since rows of blocks are never
    /// padded.
    pub(super) fn with_padded_rows(self, input: usize, padded: usize) -> Self {
        match self {
            Self::Bf16(words) => {
                let mut rows = vec![0; words.len() / input * padded];
                for (row, words) in rows.chunks_exact_mut(padded).zip(words.chunks_exact(input)) {
                    row[..input].copy_from_slice(words);
                }
                Self::Bf16(Cow::Owned(rows))
            }
            Self::Q8_0(_) | Self::Q4_0(_) | Self::Iq4Nl(_) => self,
        }
    }
}

impl<'a> Joined<'a> {
    /// Converts weights with rows of `input` numbers to a form for a GPU. Quantised blocks stay as they are; rows
    /// that are not whole blocks become bf16.
    pub(super) fn for_gpu(self, form: WeightForm, input: usize) -> ForGpu<'a> {
        let wanted = match form {
            WeightForm::Q8 => Wanted::Q8_0,
            WeightForm::Q4 => Wanted::Iq4Nl,
            // Blocks that no kernel supports take as little memory as on the CPU.
            WeightForm::Stored if matches!(self, Self::Dequantised(_)) => Wanted::Q8_0,
            WeightForm::Stored | WeightForm::F32 => Wanted::Bf16,
        };
        let wanted = if input.is_multiple_of(QUANTISED_BLOCK) { wanted } else { Wanted::Bf16 };
        match self {
            Self::Q8_0(bytes) => ForGpu::Q8_0(bytes),
            Self::Q4_0(bytes) => ForGpu::Q4_0(bytes),
            Self::Iq4Nl(bytes) => ForGpu::Iq4Nl(bytes),
            Self::Bf16(words) if wanted == Wanted::Bf16 => ForGpu::Bf16(words),
            Self::Bf16(words) => wanted.make(&words, |bits| bf16::from_bits(*bits).to_f32()),
            Self::F16(words) => wanted.make(&words, |bits| f16::from_bits(*bits).to_f32()),
            Self::F32(floats) | Self::Dequantised(floats) => wanted.make(&floats, |float| *float),
        }
    }
}

/// The form to which numbers are converted for a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Bf16,
    Q8_0,
    Iq4Nl,
}

impl Wanted {
    /// Converts `numbers` to this form; `widen` converts a number to f32. Blocks are made in parts: all weights in
    /// f32 would take as much memory as several copies of them.
    fn make<T: Sync>(self, numbers: &[T], widen: impl Fn(&T) -> f32 + Sync) -> ForGpu<'static> {
        let blocks = |quantise: fn(&[f32]) -> Vec<u8>| {
            let mut all = Vec::new();
            for part in numbers.chunks(FLOATS_AT_ONCE) {
                all.append(&mut quantise(&map_all(part, &widen)));
            }
            all
        };
        match self {
            Self::Bf16 => {
                ForGpu::Bf16(Cow::Owned(map_all(numbers, |number| bf16::from_f32(widen(number)).to_bits())))
            }
            Self::Q8_0 => ForGpu::Q8_0(Cow::Owned(blocks(kernels::to_q8_0))),
            Self::Iq4Nl => ForGpu::Iq4Nl(Cow::Owned(blocks(kernels::to_iq4_nl))),
        }
    }
}

fn read<'a>(products: Products<'a>, names: &[Named]) -> Result<Vec<Stored<'a>>, LoadError> {
    names.iter().map(|(name, shape)| products.stored(name, shape)).collect()
}

fn floats(stored: Vec<Stored<'_>>) -> Result<Cow<'_, [f32]>, LoadError> {
    let count: usize = stored.iter().map(Stored::weights).sum();
    join(stored, count, Stored::into_floats)
}

fn words(stored: Vec<Stored<'_>>) -> Result<Cow<'_, [u16]>, LoadError> {
    let count: usize = stored.iter().map(Stored::weights).sum();
    join(stored, count, |stored| Ok(stored.into_words()))
}

fn bytes(stored: Vec<Stored<'_>>) -> Result<Cow<'_, [u8]>, LoadError> {
    let count: usize = stored.iter().map(|stored| stored.bytes().len()).sum();
    join(stored, count, |stored| Ok(stored.into_bytes()))
}

/// The results of `take` for each of `stored`, concatenated, `count` numbers in total; for a single one, without a
/// copy.
fn join<'a, T: Clone>(
    stored: Vec<Stored<'a>>,
    count: usize,
    take: impl Fn(Stored<'a>) -> Result<Cow<'a, [T]>, LoadError>,
) -> Result<Cow<'a, [T]>, LoadError> {
    let several = match <[Stored<'a>; 1]>::try_from(stored) {
        Ok([only]) => return take(only),
        Err(several) => several,
    };
    let mut all = Vec::with_capacity(count);
    for stored in several {
        all.extend_from_slice(&take(stored)?);
    }
    Ok(Cow::Owned(all))
}

#[cfg(test)]
mod tests;
