//! Reads headers of GGUF files, versions 2 and 3: the tensors, and the architecture in the metadata.
//!
//! A file is untrusted: every length is compared with the rest of the file before it is used.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use super::{
    Entry, GgufNaming,
    file::Bytes,
    gguf_format::{ALIGNMENT, ARCHITECTURE_KEY, MAGIC, tensor_type, value_kind},
    safetensors::missing,
    stored::StoredType,
};
use crate::{error::LoadError, source::Source};

/// The most keys or tensors of a file: the largest models have a few thousand, so more means damage.
const MAX_ENTRIES: u64 = 1 << 16;

/// The most dimensions of a tensor, the format's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// The contents of a header that are used here.
struct Header {
    architecture: Option<String>,
    tensors: Vec<Description>,
    data_start: usize,
}

/// A tensor in a header.
struct Description {
    name: String,
    /// Outermost dimension first; the file has the opposite order.
    shape: Vec<usize>,
    stored_type: Result<StoredType, String>,
    /// In bytes from the start of the data.
    offset: usize,
    length: usize,
}

/// Reads the tensors of one file.
///
/// # Errors
/// [`LoadError::Damaged`] for a wrong header, [`LoadError::Unsupported`] for an architecture that is not in `naming`.
pub(super) fn read(source: &Source, file: &str, naming: &GgufNaming) -> Result<Vec<Entry>, LoadError> {
    let bytes = Bytes::open(source, file)?.ok_or_else(|| missing(source, file))?;
    let path = source.path(file);
    let header =
        read_header(bytes.as_slice()).map_err(|reason| LoadError::Damaged { file: path.clone(), reason })?;
    // The parts of a split file after the first one have no architecture.
    if let Some(found) = header.architecture.filter(|found| !naming.architectures.contains(&found.as_str())) {
        return Err(LoadError::Unsupported {
            file: path,
            key: ARCHITECTURE_KEY,
            found,
            expected: naming.architectures.join(" or "),
        });
    }
    let (bytes, file) = (Arc::new(bytes), Arc::from(path));
    let entry = |tensor: Description| {
        let start = header.data_start + tensor.offset;
        Entry {
            name: tensor.name,
            shape: tensor.shape,
            stored_type: tensor.stored_type,
            file: Arc::clone(&file),
            bytes: Arc::clone(&bytes),
            range: start..start + tensor.length,
            drawn: None,
        }
    };
    Ok(header.tensors.into_iter().map(entry).collect())
}

fn read_header(bytes: &[u8]) -> Result<Header, String> {
    let mut reader = Reader { rest: bytes };
    if reader.take(4)? != MAGIC {
        return Err("it does not begin with GGUF".into());
    }
    let version = reader.u32()?;
    if version != 2 && version != 3 {
        return Err(format!("it is of version {version}; expected 2 or 3, little-endian"));
    }
    let (tensors, keys) = (reader.count("tensors")?, reader.count("keys")?);
    let (mut architecture, mut alignment) = (None, ALIGNMENT);
    for _ in 0..keys {
        let key = reader.text()?;
        let kind = reader.u32()?;
        match (key.as_str(), kind) {
            (ARCHITECTURE_KEY, value_kind::TEXT) => architecture = Some(reader.text()?),
            ("general.alignment", value_kind::U32) => alignment = reader.u32()? as usize,
            _ => reader.skip(kind).map_err(|reason| format!("key {key}: {reason}"))?,
        }
    }
    // Numbers are read in place, which needs at least the alignment of their type.
    if !alignment.is_power_of_two() || !(8..=1 << 16).contains(&alignment) {
        return Err(format!("general.alignment is {alignment}; expected a power of two from 8 to 65536"));
    }
    // No capacity is reserved for the count in the header, which may be false; the file's length bounds the loop.
    let mut descriptions = Vec::new();
    for _ in 0..tensors {
        let name = reader.text()?;
        let described = reader.tensor(name.clone(), alignment);
        descriptions.push(described.map_err(|reason| format!("tensor {name}: {reason}"))?);
    }
    let data_start = (bytes.len() - reader.rest.len()).next_multiple_of(alignment);
    let data = bytes.len().saturating_sub(data_start);
    for Description { name, offset, length, .. } in &descriptions {
        if offset.checked_add(*length).is_none_or(|end| end > data) {
            return Err(format!(
                "tensor {name} takes {length} bytes from byte {offset} of the data and the file has {data}; it is cut off"
            ));
        }
    }
    Ok(Header { architecture, tensors: descriptions, data_start })
}

/// Bytes of a value of this kind; `None` where values differ in length, and for unknown kinds.
fn width(kind: u32) -> Option<u64> {
    match kind {
        value_kind::U8 | value_kind::I8 | value_kind::BOOL => Some(1),
        value_kind::U16 | value_kind::I16 => Some(2),
        value_kind::U32 | value_kind::I32 | value_kind::F32 => Some(4),
        value_kind::U64 | value_kind::I64 | value_kind::F64 => Some(8),
        _ => None,
    }
}

/// The type of a tensor by its number in the format.
fn stored_type(number: u32) -> Result<StoredType, String> {
    Ok(match number {
        tensor_type::F32 => StoredType::F32,
        tensor_type::F16 => StoredType::F16,
        tensor_type::BF16 => StoredType::Bf16,
        tensor_type::Q8_0 => StoredType::Q8_0,
        tensor_type::Q4_0 => StoredType::Q4_0,
        tensor_type::IQ4_NL => StoredType::Iq4Nl,
        tensor_type::Q4_1 => StoredType::Other(GgmlDType::Q4_1),
        tensor_type::Q5_0 => StoredType::Other(GgmlDType::Q5_0),
        tensor_type::Q5_1 => StoredType::Other(GgmlDType::Q5_1),
        tensor_type::Q2_K => StoredType::Other(GgmlDType::Q2K),
        tensor_type::Q3_K => StoredType::Other(GgmlDType::Q3K),
        tensor_type::Q4_K => StoredType::Other(GgmlDType::Q4K),
        tensor_type::Q5_K => StoredType::Other(GgmlDType::Q5K),
        tensor_type::Q6_K => StoredType::Other(GgmlDType::Q6K),
        other => return Err(format!("GGUF's type {other}")),
    })
}

/// A cursor over the rest of a header.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| {
            format!(
                "{count} bytes of the header should follow and {} are left; it is cut off",
                self.rest.len()
            )
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(self.take(4)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(self.take(8)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn count(&mut self, what: &str) -> Result<usize, String> {
        match self.u64()? {
            count if count <= MAX_ENTRIES => Ok(count as usize),
            count => Err(format!("it is said to have {count} {what}; expected at most {MAX_ENTRIES}")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a name in its header is no text".into())
    }

    /// Skips a value of this kind.
    fn skip(&mut self, kind: u32) -> Result<(), String> {
        if kind != value_kind::ARRAY {
            return self.skip_plain(kind, 1);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        self.skip_plain(kind, count)
    }

    /// Skips `count` values of a kind other than array.
    fn skip_plain(&mut self, kind: u32, count: u64) -> Result<(), String> {
        if kind == value_kind::TEXT {
            // Each text takes at least eight bytes, so a false count soon reaches the end of the file.
            for _ in 0..count {
                let length = self.u64()?;
                self.take(length)?;
            }
            return Ok(());
        }
        let width =
            width(kind).ok_or_else(|| format!("its value is of the kind {kind}, which is not read"))?;
        self.take(count.saturating_mul(width)).map(drop)
    }

    fn tensor(&mut self, name: String, alignment: usize) -> Result<Description, String> {
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(format!("it has {dimensions} dimensions; expected at most {MAX_DIMENSIONS}"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(usize::try_from(self.u64()?).map_err(|_| "it is too large for this machine")?);
        }
        let stored_type = stored_type(self.u32()?);
        let offset = self.u64()?;
        let offset = usize::try_from(offset)
            .ok()
            .filter(|offset| offset.is_multiple_of(alignment))
            .ok_or_else(|| format!("it begins at byte {offset}; expected a multiple of {alignment}"))?;
        // The length of an unsupported type is unknown. It is an error only when the tensor is loaded.
        let (block, bytes) = stored_type.as_ref().map_or((1, 0), |stored_type| stored_type.block());
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("its rows of {row} weights are no whole blocks of {block}"));
        }
        let weights = shape.iter().try_fold(1, |product: usize, size| product.checked_mul(*size));
        let length = weights.and_then(|weights| (weights / block).checked_mul(bytes));
        let length = length.ok_or_else(|| format!("its shape is {shape:?}, which nothing can hold"))?;
        shape.reverse();
        Ok(Description { name, shape, stored_type, offset, length })
    }
}
