//! One tensor as stored in its file.

use std::{borrow::Cow, fmt, ops::Range};

use bytemuck::AnyBitPattern;
use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};
use half::{bf16, f16};
use kernels::{IQ4_NL_LEVELS, Q4_BYTES, Q8_0_BYTES, QUANTISED_BLOCK};

use super::{
    Entry,
    finite::{are_finite, floats_are_finite},
    parallel_map::{FLOATS_AT_ONCE, map_all},
};
use crate::error::LoadError;

/// The type of a tensor in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredType {
    F32,
    F16,
    Bf16,
    /// Quantised blocks, which are kept as they are; so are those of the next two types.
    Q8_0,
    Q4_0,
    Iq4Nl,
    /// Another of GGUF's quantised types, which is dequantised on reading.
    Other(GgmlDType),
}

impl StoredType {
    /// The number type, where each weight is stored as a number; `None` for quantised blocks.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
            Self::Q8_0 | Self::Q4_0 | Self::Iq4Nl | Self::Other(_) => None,
        }
    }

    /// The weights of a block, and its bytes. Types of plain numbers have blocks of one weight.
    pub(crate) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (QUANTISED_BLOCK, Q8_0_BYTES),
            Self::Q4_0 | Self::Iq4Nl => (QUANTISED_BLOCK, Q4_BYTES),
            Self::Other(other) => (other.block_size(), other.type_size()),
        }
    }

    /// Bytes that `weights` weights take in memory when they are kept as stored.
    pub(crate) fn kept_bytes(self, weights: usize) -> usize {
        let (weights_of_block, bytes) = match self {
            Self::Other(_) => Self::Q8_0.block(),
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q8_0 | Self::Q4_0 | Self::Iq4Nl => self.block(),
        };
        weights / weights_of_block * bytes
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => formatter.write_str("F32"),
            Self::F16 => formatter.write_str("F16"),
            Self::Bf16 => formatter.write_str("BF16"),
            Self::Q8_0 => formatter.write_str("Q8_0"),
            Self::Q4_0 => formatter.write_str("Q4_0"),
            Self::Iq4Nl => formatter.write_str("IQ4_NL"),
            // The library writes `Q4K` for Q4_K.
            Self::Other(other) => formatter.write_str(&format!("{other:?}").replace('K', "_K")),
        }
    }
}

/// A part of a tensor of `[rows, columns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Part {
    /// The whole of a tensor: its first dimension is the rows, the product of the others the columns.
    pub(super) fn all(shape: &[usize]) -> Self {
        let (rows, columns) =
            shape.split_first().map_or((1, 1), |(rows, rest)| (*rows, rest.iter().product()));
        Self { rows: 0..rows, columns: 0..columns }
    }
}

/// A tensor as stored in its file, or a part of it. Its values have been checked to be finite.
pub(crate) struct Stored<'a> {
    entry: &'a Entry,
    pub(crate) stored_type: StoredType,
    /// Borrowed from the file where they are contiguous there.
    bytes: Cow<'a, [u8]>,
    weights: usize,
}

impl<'a> Stored<'a> {
    /// Checks that the type is supported and the values are finite. Reads only the part of the tensor.
    ///
    /// # Errors
    /// [`LoadError::WrongType`], [`LoadError::CutBlock`] and [`LoadError::NonFinite`].
    pub(super) fn new(entry: &'a Entry, part: Part) -> Result<Self, LoadError> {
        let stored_type = entry.stored_type.clone().map_err(|found| LoadError::WrongType {
            tensor: entry.name.clone(),
            file: entry.file.to_string(),
            found,
        })?;
        let weights = part.rows.len() * part.columns.len();
        let stored = Self { bytes: bytes_of(entry, stored_type, part)?, entry, stored_type, weights };
        if are_finite(stored_type, stored.bytes()) { Ok(stored) } else { Err(stored.not_finite()) }
    }

    fn not_finite(&self) -> LoadError {
        LoadError::NonFinite { tensor: self.entry.name.clone(), file: self.entry.file.to_string() }
    }

    /// The stored bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stored bytes, without a copy where they are contiguous in the file.
    pub(crate) fn into_bytes(self) -> Cow<'a, [u8]> {
        self.bytes
    }

    /// Number of weights.
    pub(crate) fn weights(&self) -> usize {
        self.weights
    }

    /// A tensor of this `shape`, which has as many weights; in the stored type, or in f32 where that is quantised.
    pub(super) fn tensor(&self, shape: &[usize]) -> Result<Tensor, LoadError> {
        Ok(match self.stored_type.dtype() {
            Some(dtype) => Tensor::from_raw_buffer(self.bytes(), dtype, shape, &Device::Cpu)?,
            None => Tensor::from_vec(self.floats()?, shape, &Device::Cpu)?,
        })
    }

    /// The bits of 16-bit floats, without a copy where alignment and byte order permit.
    pub(crate) fn into_words(self) -> Cow<'a, [u16]> {
        if let Cow::Borrowed(bytes) = self.bytes
            && let Some(words) = in_place(bytes)
        {
            return Cow::Borrowed(words);
        }
        Cow::Owned(map_all(self.bytes().as_chunks().0, |word| u16::from_le_bytes(*word)))
    }

    /// All weights as 32-bit floats, without a copy where type, alignment and byte order permit.
    pub(crate) fn into_floats(self) -> Result<Cow<'a, [f32]>, LoadError> {
        if self.stored_type == StoredType::F32
            && let Cow::Borrowed(bytes) = self.bytes
            && let Some(floats) = in_place(bytes)
        {
            return Ok(Cow::Borrowed(floats));
        }
        self.floats().map(Cow::Owned)
    }

    /// The bits of the nearest bf16 of every weight, without a copy where type, alignment and byte order permit.
    pub(crate) fn into_bf16(self) -> Result<Cow<'a, [u16]>, LoadError> {
        if self.stored_type == StoredType::Bf16 {
            return Ok(self.into_words());
        }
        let mut all = Vec::with_capacity(self.weights);
        for start in (0..self.weights).step_by(FLOATS_AT_ONCE) {
            let floats = self.floats_of(start..self.weights.min(start + FLOATS_AT_ONCE))?;
            all.append(&mut map_all(&floats, |float| bf16::from_f32(*float).to_bits()));
        }
        Ok(Cow::Owned(all))
    }

    /// All weights as 32-bit floats.
    pub(crate) fn floats(&self) -> Result<Vec<f32>, LoadError> {
        self.floats_of(0..self.weights)
    }

    /// A range of weights as 32-bit floats; it begins and ends at the boundary of a block.
    pub(crate) fn floats_of(&self, weights: Range<usize>) -> Result<Vec<f32>, LoadError> {
        let (block, width) = self.stored_type.block();
        let bytes = &self.bytes()[weights.start / block * width..weights.end / block * width];
        match self.stored_type {
            StoredType::F32 => Ok(map_all(bytes.as_chunks().0, |float| f32::from_le_bytes(*float))),
            StoredType::F16 => Ok(map_all(bytes.as_chunks().0, |word| f16::from_le_bytes(*word).to_f32())),
            // The same as half's conversion, without its test for NaN, since the weights are finite.
            StoredType::Bf16 => Ok(map_all(bytes.as_chunks().0, |word| {
                f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16)
            })),
            StoredType::Q8_0 => Ok(dequantise(bytes, GgmlDType::Q8_0, weights.len())?),
            StoredType::Q4_0 => Ok(dequantise(bytes, GgmlDType::Q4_0, weights.len())?),
            StoredType::Iq4Nl => Ok(map_all(bytes.as_chunks().0, iq4_nl).into_flattened()),
            StoredType::Other(other) => {
                let floats = dequantise(bytes, other, weights.len())?;
                if floats_are_finite(&floats) { Ok(floats) } else { Err(self.not_finite()) }
            }
        }
    }
}

/// The bytes of a part of a tensor. Whole rows are contiguous in the file; parts of rows are copied together.
fn bytes_of(entry: &Entry, stored_type: StoredType, part: Part) -> Result<Cow<'_, [u8]>, LoadError> {
    let whole = Part::all(&entry.shape);
    let (block, width) = stored_type.block();
    let row_bytes = whole.columns.len() / block * width;
    let rows = part.rows.start * row_bytes..part.rows.end * row_bytes;
    let bytes = match &entry.drawn {
        Some(drawn) => Cow::Owned(drawn.bytes(entry.weights())),
        None => {
            entry.bytes.will_read(entry.range.start + rows.start..entry.range.start + rows.end);
            Cow::Borrowed(entry.as_slice())
        }
    };
    if part == whole {
        return Ok(bytes);
    }
    if part.columns == whole.columns {
        return Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[rows]),
            Cow::Owned(bytes) => Cow::Owned(bytes[rows].to_vec()),
        });
    }
    let Range { start, end } = part.columns;
    if !start.is_multiple_of(block) || !end.is_multiple_of(block) {
        return Err(LoadError::CutBlock {
            tensor: entry.name.clone(),
            file: entry.file.to_string(),
            block,
            columns: part.columns,
        });
    }
    let piece = |row: &'_ [u8]| row[start / block * width..end / block * width].to_vec();
    Ok(Cow::Owned(bytes[rows].chunks_exact(row_bytes).flat_map(piece).collect()))
}

/// `bytes` as numbers, without a copy; `None` where they are misaligned or this processor has another byte order.
fn in_place<T: AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
}

/// The floats of blocks of a type that the tensor library supports.
fn dequantise(bytes: &[u8], ggml_type: GgmlDType, weights: usize) -> candle_core::Result<Vec<f32>> {
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, ggml_type)?;
    QTensor::new(storage, weights)?.dequantize(&Device::Cpu)?.to_vec1()
}

/// The floats of a block of IQ4_NL: a scale as f16, then 16 bytes whose lower four bits are the first 16 weights.
fn iq4_nl(block: &[u8; Q4_BYTES]) -> [f32; QUANTISED_BLOCK] {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    std::array::from_fn(|index| {
        let level = block[2 + index % 16] >> (index / 16 * 4) & 15;
        scale * f32::from(IQ4_NL_LEVELS[usize::from(level)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_iq4_nl_has_its_lower_bits_first() {
        let mut block = [0x80; Q4_BYTES];
        block[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        block[2] = 0xf1;
        let floats = iq4_nl(&block);
        assert_eq!((floats[0], floats[1], floats[16], floats[31]), (-52.0, -63.5, 56.5, 0.5));
    }

    /// Blocks of 256 weights that begin at a multiple of eight bytes, the least alignment of a file.
    #[test]
    fn blocks_of_256_are_read_where_they_lie() {
        let weights: Vec<f32> = (0..512).map(|index| (index as f32 * 0.3).sin()).collect();
        let tensor = candle_core::Tensor::new(weights, &Device::Cpu).unwrap();
        for ggml_type in [GgmlDType::Q2K, GgmlDType::Q3K, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K] {
            let quantised = QTensor::quantize(&tensor, ggml_type).unwrap();
            let wanted: Vec<f32> = quantised.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
            let bytes = [&[0; 8], &*quantised.data().unwrap()].concat();
            assert_eq!(dequantise(&bytes[8..], ggml_type, 512).unwrap(), wanted, "{ggml_type:?}");
        }
    }
}
