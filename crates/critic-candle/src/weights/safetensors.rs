//! Reads headers of safetensors files and checks them against the length of the file.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Component, Path},
    sync::Arc,
};

use safetensors::{Dtype, tensor::TensorInfo};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{Entries, Entry, file::Bytes, stored::StoredType};
use crate::{error::LoadError, source::Source};

/// The most bytes of a header, the format's own limit; a longer one is damaged.
const MAX_HEADER_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The members of a header in their order. A map would hide duplicates.
struct Header(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Header(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The index of a checkpoint whose weights are in several files.
const INDEX: &str = "model.safetensors.index.json";

/// Reads `model.safetensors`, or the shards that `model.safetensors.index.json` lists; `None` when there is neither.
pub(super) fn read(source: &Source) -> Result<Option<Entries>, LoadError> {
    let mut entries = Entries::new();
    // As in transformers: where both exist, the index belongs to earlier weights, which the single file replaced.
    if read_file(source, "model.safetensors", &mut entries)? {
        return Ok(Some(entries));
    }
    let index: Option<Index> = source.json(INDEX, "safetensors index")?;
    let Some(index) = index else { return Ok(None) };
    let mut files: Vec<String> = index.weight_map.into_values().collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        // The index is downloaded with the weights, and must not be able to select files outside of the folder.
        if !Path::new(&file).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(LoadError::Damaged {
                file: source.path(INDEX),
                reason: format!("it names {file:?}, which is not inside the folder"),
            });
        }
        if !read_file(source, &file, &mut entries)? {
            return Err(missing(source, &file));
        }
    }
    Ok(Some(entries))
}

/// The error for a missing file of weights.
pub(super) fn missing(source: &Source, file: &str) -> LoadError {
    LoadError::MissingFile {
        file: file.into(),
        folder: source.place(),
        expected: "its weights as safetensors or GGUF",
    }
}

/// Adds the tensors of one file to `entries`. Returns whether the file exists.
fn read_file(source: &Source, file: &str, entries: &mut Entries) -> Result<bool, LoadError> {
    let Some(bytes) = Bytes::open(source, file)? else { return Ok(false) };
    let path = source.path(file);
    let (data_start, infos) = read_header(bytes.as_slice(), &path)?;
    let (bytes, file) = (Arc::new(bytes), Arc::from(path));
    for (name, info) in infos {
        let stored_type = match info.dtype {
            Dtype::F32 => Ok(StoredType::F32),
            Dtype::F16 => Ok(StoredType::F16),
            Dtype::BF16 => Ok(StoredType::Bf16),
            other => Err(format!("{other:?}")),
        };
        let (start, end) = info.data_offsets;
        let entry = Entry {
            name: name.clone(),
            shape: info.shape,
            stored_type,
            file: Arc::clone(&file),
            bytes: Arc::clone(&bytes),
            range: data_start + start..data_start + end,
            drawn: None,
        };
        entries.insert(name, entry);
    }
    Ok(true)
}

/// Reads a header and checks it against the length of the file. Returns the offset of the data, and the tensors.
fn read_header(bytes: &[u8], path: &str) -> Result<(usize, Vec<(String, TensorInfo)>), LoadError> {
    let damaged = |reason: String| LoadError::Damaged { file: path.into(), reason };
    let file_length = bytes.len();
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| {
        damaged(format!("it has {file_length} bytes; a safetensors file begins with 8 bytes of length"))
    })?;
    let header_length = u64::from_le_bytes(*length);
    if header_length > MAX_HEADER_BYTES || header_length > rest.len() as u64 {
        return Err(damaged(format!(
            "its header should have {header_length} bytes and the file has {file_length}; it is cut off or not safetensors"
        )));
    }
    let (header, data) = rest.split_at(header_length as usize);
    let fault = |cause| LoadError::Json { file: path.into(), expected: "safetensors header", cause };
    let Header(members) = serde_json::from_slice(header).map_err(fault)?;
    let mut infos: Vec<(String, TensorInfo)> = Vec::with_capacity(members.len());
    let mut names = HashSet::new();
    for (name, value) in members {
        if name == "__metadata__" {
            continue;
        }
        if !names.insert(name.clone()) {
            return Err(damaged(format!("tensor {name} is there twice")));
        }
        let info: TensorInfo = serde_json::from_value(value).map_err(fault)?;
        let (start, end) = info.data_offsets;
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, size| bits.checked_mul(*size));
        if start > end || bits.is_none_or(|bits| Some(bits) != (end - start).checked_mul(8)) {
            return Err(damaged(format!(
                "tensor {name} of shape {:?} is said to take bytes {start}..{end}",
                info.shape
            )));
        }
        if end > data.len() {
            return Err(damaged(format!(
                "tensor {name} ends at byte {end} of the data and the file has {}; it is cut off",
                data.len()
            )));
        }
        infos.push((name, info));
    }
    without_gaps(&infos, data.len()).map_err(damaged)?;
    Ok((8 + header.len(), infos))
}

/// Checks that tensors cover the data without overlaps and gaps, as the format requires.
fn without_gaps(infos: &[(String, TensorInfo)], data_length: usize) -> Result<(), String> {
    let mut ranges: Vec<(usize, usize, &str)> =
        infos.iter().map(|(name, info)| (info.data_offsets.0, info.data_offsets.1, name.as_str())).collect();
    ranges.sort_unstable();
    let mut end = 0;
    for (start, after, name) in ranges {
        if start != end {
            return Err(format!("tensor {name} begins at byte {start} of the data; expected {end}"));
        }
        end = after;
    }
    if end == data_length {
        Ok(())
    } else {
        Err(format!("its data has {data_length} bytes and its tensors have {end}"))
    }
}
