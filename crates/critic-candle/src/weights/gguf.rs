//! Headers of GGUF files, versions 2 and 3: tensors, and what of the metadata says whose they are.
//!
//! A file may come from anywhere: every length is compared with what is left of the file before it is believed.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use super::{Entry, GgufNaming, file::Bytes, safetensors::missing, stored::StoredType};
use crate::{error::LoadError, source::Source};

/// More keys or tensors than this are damage: the largest models have a few thousand.
const MAX_ENTRIES: u64 = 1 << 16;

/// More dimensions than this no tensor has (the format's own bound).
const MAX_DIMENSIONS: u32 = 4;

/// What a file says about itself, as far as it matters here.
struct Header {
    architecture: Option<String>,
    tensors: Vec<Description>,
    data_start: usize,
}

/// A tensor of a header.
struct Description {
    name: String,
    /// Rows first, other than in the file.
    shape: Vec<usize>,
    stored_type: Result<StoredType, String>,
    /// From the start of the data.
    offset: usize,
    length: usize,
}

/// Reads one file.
pub(super) fn read(source: &Source, file: &str, naming: &GgufNaming) -> Result<Vec<Entry>, LoadError> {
    let bytes = Bytes::open(source, file)?.ok_or_else(|| missing(source, file))?;
    let path = source.path(file);
    let header =
        read_header(bytes.as_slice()).map_err(|reason| LoadError::Damaged { file: path.clone(), reason })?;
    // Parts of a split file after the first one do not say it.
    if let Some(found) = header.architecture.filter(|found| !naming.architectures.contains(&found.as_str())) {
        return Err(LoadError::Unsupported {
            file: path,
            key: "general.architecture",
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
    if reader.take(4)? != b"GGUF" {
        return Err("it does not begin with GGUF".into());
    }
    let version = reader.u32()?;
    if version != 2 && version != 3 {
        return Err(format!("it is of version {version}; expected 2 or 3, little-endian"));
    }
    let (tensors, keys) = (reader.count("tensors")?, reader.count("keys")?);
    let (mut architecture, mut alignment) = (None, 32);
    for _ in 0..keys {
        let key = reader.text()?;
        let kind = reader.u32()?;
        match (key.as_str(), kind) {
            ("general.architecture", TEXT) => architecture = Some(reader.text()?),
            ("general.alignment", U32) => alignment = reader.u32()? as usize,
            _ => reader.skip(kind).map_err(|reason| format!("key {key}: {reason}"))?,
        }
    }
    // Floats are read where they lie, so that less than their size will not do.
    if !alignment.is_power_of_two() || !(8..=1 << 16).contains(&alignment) {
        return Err(format!("general.alignment is {alignment}; expected a power of two from 8 to 65536"));
    }
    // Their number is only said; the file's length bounds them as they are read.
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

/// Kinds of values.
const U32: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a value of this kind, where all of them have as many.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        U32 | 5 | 6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// The type of a tensor by its number in the format.
fn stored_type(number: u32) -> Result<StoredType, String> {
    Ok(match number {
        0 => StoredType::F32,
        1 => StoredType::F16,
        2 => StoredType::Q4_0,
        3 => StoredType::Other(GgmlDType::Q4_1),
        6 => StoredType::Other(GgmlDType::Q5_0),
        7 => StoredType::Other(GgmlDType::Q5_1),
        8 => StoredType::Q8_0,
        10 => StoredType::Other(GgmlDType::Q2K),
        11 => StoredType::Other(GgmlDType::Q3K),
        12 => StoredType::Other(GgmlDType::Q4K),
        13 => StoredType::Other(GgmlDType::Q5K),
        14 => StoredType::Other(GgmlDType::Q6K),
        20 => StoredType::Iq4Nl,
        30 => StoredType::Bf16,
        other => return Err(format!("GGUF's type {other}")),
    })
}

/// What is left of a header.
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

    /// Leaves out a value of this kind.
    fn skip(&mut self, kind: u32) -> Result<(), String> {
        if kind != ARRAY {
            return self.skip_plain(kind, 1);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        self.skip_plain(kind, count)
    }

    /// Leaves out `count` values of a kind that is no array.
    fn skip_plain(&mut self, kind: u32, count: u64) -> Result<(), String> {
        if kind == TEXT {
            // Each takes eight bytes at least, so that a false count soon comes to the end of the file.
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
        // What is of a type that is not read has no length that is known; it is told when it is needed.
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
