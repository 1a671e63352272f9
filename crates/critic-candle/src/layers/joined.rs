//! Weights of several tensors one below the other, which become one product.

use half::{bf16, f16};
use kernels::{Form, Matrix};
use kernels_cuda::{Blocks, Weight};

use crate::{
    error::LoadError,
    weights::{Products, Stored, StoredType, WeightForm},
};

/// A name and a shape.
type Named = (String, Vec<usize>);

/// Weights one below the other.
pub(super) enum Joined {
    F32(Vec<f32>),
    /// Floats of which some were in blocks that no kernel takes, or in different types.
    Dequantised(Vec<f32>),
    Bf16(Vec<u16>),
    F16(Vec<u16>),
    Q8_0(Vec<u8>),
    Q4_0(Vec<u8>),
    Iq4Nl(Vec<u8>),
}

impl Joined {
    /// In the type of the files, or as floats where that is not one for all.
    pub(super) fn as_stored(products: Products<'_>, names: &[Named]) -> Result<Self, LoadError> {
        let stored: Vec<Stored<'_>> = read(products, names)?;
        let bytes = || stored.iter().flat_map(|stored| stored.bytes()).copied().collect();
        let words = || stored.iter().flat_map(Stored::words).collect();
        let first = stored[0].stored_type;
        if stored.iter().any(|other| other.stored_type != first) {
            let blocks = stored.iter().any(|stored| stored.stored_type.dtype().is_none());
            let floats = floats(&stored)?;
            return Ok(if blocks { Self::Dequantised(floats) } else { Self::F32(floats) });
        }
        Ok(match first {
            StoredType::F32 => Self::F32(floats(&stored)?),
            StoredType::Bf16 => Self::Bf16(words()),
            StoredType::F16 => Self::F16(words()),
            StoredType::Q8_0 => Self::Q8_0(bytes()),
            StoredType::Q4_0 => Self::Q4_0(bytes()),
            StoredType::Iq4Nl => Self::Iq4Nl(bytes()),
            StoredType::Other(_) => Self::Dequantised(floats(&stored)?),
        })
    }

    /// As 32-bit floats, whatever they are stored as.
    pub(super) fn as_floats(products: Products<'_>, names: &[Named]) -> Result<Self, LoadError> {
        Ok(Self::F32(floats(&read(products, names)?)?))
    }

    /// In what form they are kept when nothing else is asked for.
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

/// Weights in a form that a GPU multiplies with.
pub(super) enum ForGpu {
    Bf16(Vec<bf16>),
    Q8_0(Vec<u8>),
    Q4_0(Vec<u8>),
    Iq4Nl(Vec<u8>),
}

impl ForGpu {
    pub(super) fn to_cuda(&self) -> Weight<'_> {
        match self {
            Self::Bf16(numbers) => Weight::Bf16(numbers),
            Self::Q8_0(bytes) => Weight::Blocks(Blocks::Q8_0(bytes)),
            Self::Q4_0(bytes) => Weight::Blocks(Blocks::Q4_0(bytes)),
            Self::Iq4Nl(bytes) => Weight::Blocks(Blocks::Iq4Nl(bytes)),
        }
    }
}

/// Weights that share a scale.
const BLOCK: usize = 32;

impl Joined {
    /// In a form for a GPU, for products of `input` numbers. What is in blocks stays as it is; a row that is no whole
    /// blocks stays in bf16.
    pub(super) fn for_gpu(self, form: WeightForm, input: usize) -> ForGpu {
        let floats = match self {
            Self::Q8_0(bytes) => return ForGpu::Q8_0(bytes),
            Self::Q4_0(bytes) => return ForGpu::Q4_0(bytes),
            Self::Iq4Nl(bytes) => return ForGpu::Iq4Nl(bytes),
            Self::Bf16(words) if !form.is_quantised() || !input.is_multiple_of(BLOCK) => {
                return ForGpu::Bf16(words.into_iter().map(bf16::from_bits).collect());
            }
            Self::Dequantised(floats) if form == WeightForm::Stored && input.is_multiple_of(BLOCK) => {
                return ForGpu::Q8_0(kernels::to_q8_0(&floats));
            }
            Self::F32(floats) | Self::Dequantised(floats) => floats,
            Self::Bf16(words) => words.into_iter().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            Self::F16(words) => words.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect(),
        };
        match form {
            WeightForm::Q8 if input.is_multiple_of(BLOCK) => ForGpu::Q8_0(kernels::to_q8_0(&floats)),
            WeightForm::Q4 if input.is_multiple_of(BLOCK) => ForGpu::Iq4Nl(kernels::to_iq4_nl(&floats)),
            WeightForm::Stored | WeightForm::F32 | WeightForm::Q8 | WeightForm::Q4 => {
                ForGpu::Bf16(floats.into_iter().map(bf16::from_f32).collect())
            }
        }
    }
}

fn read<'a>(products: Products<'a>, names: &[Named]) -> Result<Vec<Stored<'a>>, LoadError> {
    names.iter().map(|(name, shape)| products.stored(name, shape)).collect()
}

fn floats(stored: &[Stored<'_>]) -> Result<Vec<f32>, LoadError> {
    let mut all = Vec::new();
    for stored in stored {
        all.append(&mut stored.floats()?);
    }
    Ok(all)
}
