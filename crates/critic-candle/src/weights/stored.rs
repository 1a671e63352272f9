//! One tensor as its file has it.

use std::{borrow::Cow, fmt, ops::Range};

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};

use super::Entry;
use crate::error::LoadError;

/// The type of a tensor in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredType {
    F32,
    F16,
    Bf16,
    /// Blocks that are kept as they are.
    Q8_0,
    Q4_0,
    Iq4Nl,
    /// Another of GGUF's quantised types, which becomes floats when it is read.
    Other(GgmlDType),
}

/// What the four bits of IQ4_NL stand for, times a block's scale.
const IQ4_NL_LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

impl StoredType {
    /// The type of number, where each weight is a number of its own.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
            Self::Q8_0 | Self::Q4_0 | Self::Iq4Nl | Self::Other(_) => None,
        }
    }

    /// Weights of a block and its bytes; a number of its own is a block of one.
    pub(crate) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 | Self::Iq4Nl => (32, 18),
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
            // The library has `Q4K` for Q4_K.
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
    /// All of a tensor: its first dimension are the rows, and the others together the columns.
    pub(super) fn all(shape: &[usize]) -> Self {
        let (rows, columns) =
            shape.split_first().map_or((1, 1), |(rows, rest)| (*rows, rest.iter().product()));
        Self { rows: 0..rows, columns: 0..columns }
    }
}

/// A tensor as its file has it, or a part of it, with finite values.
pub(crate) struct Stored<'a> {
    entry: &'a Entry,
    pub(crate) stored_type: StoredType,
    /// Those of the file where they stand together there.
    bytes: Cow<'a, [u8]>,
    weights: usize,
}

impl<'a> Stored<'a> {
    /// Checks that the type is read, and that values are finite. Nothing else of the tensor is read than the part.
    pub(super) fn new(entry: &'a Entry, part: Part) -> Result<Self, LoadError> {
        let stored_type = entry.stored_type.clone().map_err(|found| LoadError::WrongType {
            tensor: entry.name.clone(),
            file: entry.file.to_string(),
            found,
        })?;
        let weights = part.rows.len() * part.columns.len();
        let stored = Self { bytes: bytes_of(entry, stored_type, part)?, entry, stored_type, weights };
        let finite = match stored_type {
            StoredType::F32 => exponents_below(stored.bytes(), (4, 2), 0x7f80),
            StoredType::F16 => exponents_below(stored.bytes(), (2, 0), 0x7c00),
            StoredType::Bf16 => exponents_below(stored.bytes(), (2, 0), 0x7f80),
            // The scale, an f16, stands first.
            StoredType::Q8_0 | StoredType::Q4_0 | StoredType::Iq4Nl => {
                exponents_below(stored.bytes(), (stored_type.block().1, 0), 0x7c00)
            }
            // Looked at when it has become floats.
            StoredType::Other(_) => true,
        };
        if finite { Ok(stored) } else { Err(stored.not_finite()) }
    }

    fn not_finite(&self) -> LoadError {
        LoadError::NonFinite { tensor: self.entry.name.clone(), file: self.entry.file.to_string() }
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// In the type of the file, or in f32 where that is one of blocks; `shape` has as many weights.
    pub(super) fn tensor(&self, shape: &[usize]) -> Result<Tensor, LoadError> {
        Ok(match self.stored_type.dtype() {
            Some(dtype) => Tensor::from_raw_buffer(self.bytes(), dtype, shape, &Device::Cpu)?,
            None => Tensor::from_vec(self.floats()?, shape, &Device::Cpu)?,
        })
    }

    /// The bits of 16-bit floats.
    pub(crate) fn words(&self) -> Vec<u16> {
        self.bytes().as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    /// All weights as 32-bit floats.
    pub(crate) fn floats(&self) -> Result<Vec<f32>, LoadError> {
        self.floats_of(0..self.weights)
    }

    /// Some weights as 32-bit floats; the range begins and ends with a block.
    pub(crate) fn floats_of(&self, weights: Range<usize>) -> Result<Vec<f32>, LoadError> {
        let (block, width) = self.stored_type.block();
        let bytes = &self.bytes()[weights.start / block * width..weights.end / block * width];
        let words = || bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word));
        match self.stored_type {
            StoredType::F32 => {
                Ok(bytes.as_chunks().0.iter().map(|float| f32::from_le_bytes(*float)).collect())
            }
            StoredType::F16 => Ok(words().map(|bits| half::f16::from_bits(bits).to_f32()).collect()),
            StoredType::Bf16 => Ok(words().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()),
            StoredType::Q8_0 => Ok(dequantise(bytes, GgmlDType::Q8_0, weights.len())?),
            StoredType::Q4_0 => Ok(dequantise(bytes, GgmlDType::Q4_0, weights.len())?),
            StoredType::Iq4Nl => Ok(bytes.as_chunks().0.iter().flat_map(iq4_nl).collect()),
            StoredType::Other(other) => {
                let floats = dequantise(bytes, other, weights.len())?;
                let finite = floats.iter().all(|float| float.is_finite());
                if finite { Ok(floats) } else { Err(self.not_finite()) }
            }
        }
    }
}

/// The bytes of a part of a tensor: rows that are whole lie side by side, pieces of rows are put together.
fn bytes_of(entry: &Entry, stored_type: StoredType, part: Part) -> Result<Cow<'_, [u8]>, LoadError> {
    let bytes = match &entry.drawn {
        Some(drawn) => Cow::Owned(drawn.bytes(entry.weights())),
        None => Cow::Borrowed(&entry.bytes.as_slice()[entry.range.clone()]),
    };
    let whole = Part::all(&entry.shape);
    if part == whole {
        return Ok(bytes);
    }
    let (block, width) = stored_type.block();
    let row_bytes = whole.columns.len() / block * width;
    let rows = part.rows.start * row_bytes..part.rows.end * row_bytes;
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

/// Whether no little-endian float has all exponent bits set: one stands in every `width` bytes, whose upper two bytes, over
/// which `mask` is, begin at `upper`.
fn exponents_below(bytes: &[u8], (width, upper): (usize, usize), mask: u16) -> bool {
    bytes.chunks_exact(width).all(|float| u16::from_le_bytes([float[upper], float[upper + 1]]) & mask != mask)
}

/// The floats of blocks that the tensor library knows.
fn dequantise(bytes: &[u8], ggml_type: GgmlDType, weights: usize) -> candle_core::Result<Vec<f32>> {
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, ggml_type)?;
    QTensor::new(storage, weights)?.dequantize(&Device::Cpu)?.to_vec1()
}

/// The floats of a block of IQ4_NL: a scale as f16, then 16 bytes whose lower bits are the first half.
fn iq4_nl(block: &[u8; 18]) -> [f32; 32] {
    let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
    std::array::from_fn(|index| {
        let level = block[2 + index % 16] >> (index / 16 * 4) & 15;
        scale * IQ4_NL_LEVELS[usize::from(level)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_iq4_nl_has_its_lower_bits_first() {
        let mut block = [0x80; 18];
        block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        block[2] = 0xf1;
        let floats = iq4_nl(&block);
        assert_eq!((floats[0], floats[1], floats[16], floats[31]), (-52.0, -63.5, 56.5, 0.5));
    }

    /// Blocks of 256 that begin where a file's alignment lets them: at any multiple of eight.
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
