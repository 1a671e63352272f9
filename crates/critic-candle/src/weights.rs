//! Tensors of a checkpoint's safetensors files, checked against their headers before a byte is mapped.

use std::{collections::HashMap, fs::File, io::Read, path::Path, sync::Arc};

use candle_core::{DType, Device, Tensor};
use critic::LateDigest;
use memmap2::Mmap;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{error::LoadError, source::Source};

/// A header longer than this is damage, not a checkpoint (the format's own bound).
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The bytes of one file.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

/// One tensor in a file: its header entry and where its bytes are.
#[derive(Debug, Clone)]
struct Entry {
    info: TensorInfo,
    file: Arc<str>,
    bytes: Arc<Bytes>,
    /// Offset of the file's data section.
    data_start: usize,
}

/// Every tensor of a checkpoint, by its name in the file; bytes are read when a tensor is asked for.
#[derive(Debug)]
pub(crate) struct Weights {
    entries: HashMap<String, Entry>,
    /// The whole files by name, in order of their names.
    files: Vec<(String, Arc<Bytes>)>,
    place: String,
    device: Device,
    dtype: DType,
    form: WeightForm,
}

/// How the weights of products are kept in memory on the CPU, where arithmetic is in f32 whatever the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightForm {
    /// In the type of the file: 16-bit floats become f32 where they are multiplied, which loses nothing.
    #[default]
    Stored,
    /// In f32.
    F32,
    /// Layers of tower and decoder and the head in eight bits.
    Q8,
    /// Layers of tower and decoder in four bits, the head in eight.
    Q4,
}

impl WeightForm {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::F32 => "f32",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        }
    }

    /// The form of the head, whose errors go into the logits as they are.
    pub(crate) fn of_head(self) -> Self {
        match self {
            Self::Q4 => Self::Q8,
            Self::Stored | Self::F32 | Self::Q8 => self,
        }
    }

    /// The form of products that are never quantised: a small part of a model, through which all of a picture goes.
    pub(crate) fn of_the_rest(self) -> Self {
        match self {
            Self::Q8 | Self::Q4 => Self::Stored,
            Self::Stored | Self::F32 => self,
        }
    }

    /// Whether weights are quantised.
    pub(crate) fn is_quantised(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }
}

/// A tensor as its file has it, with finite values.
pub(crate) struct Stored<'a> {
    bytes: &'a [u8],
    pub(crate) dtype: DType,
}

impl Stored<'_> {
    /// The bits of 16-bit floats.
    pub(crate) fn words(&self) -> Vec<u16> {
        self.bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    /// 32-bit floats.
    pub(crate) fn floats(&self) -> Vec<f32> {
        self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists. Tensors come out on
    /// `device` as `dtype`; products keep their weights in `form`.
    pub(crate) fn open(
        source: &Source,
        (device, dtype): (&Device, DType),
        form: WeightForm,
    ) -> Result<Self, LoadError> {
        let index: Option<Index> = source.json("model.safetensors.index.json", "safetensors index")?;
        let mut files: Vec<String> = match index {
            Some(index) => index.weight_map.into_values().collect(),
            None => vec!["model.safetensors".into()],
        };
        files.sort_unstable();
        files.dedup();
        let mut entries = HashMap::new();
        let read = |file: String| Ok((file.clone(), read_file(source, &file, &mut entries)?));
        let files = files.into_iter().map(read).collect::<Result<_, LoadError>>()?;
        Ok(Self { entries, files, place: source.place(), device: device.clone(), dtype, form })
    }

    /// Works out the digest of the files on a thread of its own, since those of a large critic take many seconds. Of one
    /// file it is its SHA-256; of several, that of the lines that `sha256sum` writes for them in order of their names. The
    /// files of a `tower` that is kept elsewhere come last, as if they lay in a folder of that name.
    pub(crate) fn digest(&self, tower: Option<&Self>) -> LateDigest {
        let (digest, mut files) = (LateDigest::pending(), self.files.clone());
        let beside = tower.into_iter().flat_map(|tower| &tower.files);
        files.extend(beside.map(|(name, bytes)| (format!("tower/{name}"), Arc::clone(bytes))));
        let told = digest.clone();
        let work = move || {
            let sums = files.iter().map(|(name, bytes)| (name, Sha256::digest(bytes.as_slice())));
            let sums: Vec<_> = sums.collect();
            told.set(match &sums[..] {
                [(_, only)] => (*only).into(),
                several => {
                    let lines = several.iter().map(|(name, sum)| format!("{sum:x}  {name}\n"));
                    Sha256::digest(lines.collect::<String>()).into()
                }
            });
        };
        std::thread::Builder::new()
            .name("weights-digest".into())
            .spawn(work)
            .expect("a process can start one more thread");
        digest
    }

    /// Whether a tensor of this name is there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The first of `prefixes` under which `suffix` is there, or the first prefix when it is nowhere.
    pub(crate) fn prefix_of<'a>(&self, prefixes: &[&'a str], suffix: &str) -> &'a str {
        let found = prefixes.iter().find(|prefix| self.contains(&format!("{prefix}{suffix}")));
        found.unwrap_or(&prefixes[0])
    }

    /// Number of weights in all tensors.
    pub(crate) fn parameter_count(&self) -> usize {
        self.entries.values().map(|entry| entry.info.shape.iter().product::<usize>()).sum()
    }

    /// Bytes of all tensors as stored.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.entries.values().map(|entry| entry.info.data_offsets.1 - entry.info.data_offsets.0).sum()
    }

    /// Where tensors come out.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The type in which tensors come out.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// How products keep their weights.
    pub(crate) fn form(&self) -> WeightForm {
        self.form
    }

    /// The tensor `name`, which must have shape `expected` and finite values.
    pub(crate) fn get(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        let Stored { bytes, dtype } = self.stored(name, expected)?;
        Ok(Tensor::from_raw_buffer(bytes, dtype, expected, &self.device)?.to_dtype(self.dtype)?)
    }

    /// The same for a table of which only a few rows are read at a time: in the type of the file where that is the
    /// shorter one, unless everything is to be f32.
    pub(crate) fn table(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        let Stored { bytes, dtype } = self.stored(name, expected)?;
        let table = Tensor::from_raw_buffer(bytes, dtype, expected, &self.device)?;
        let keep = dtype.size_in_bytes() < self.dtype.size_in_bytes() && self.form != WeightForm::F32;
        if keep { Ok(table) } else { Ok(table.to_dtype(self.dtype)?) }
    }

    /// The tensor `name` as it is stored, which must have shape `expected` and finite values.
    pub(crate) fn stored(&self, name: &str, expected: &[usize]) -> Result<Stored<'_>, LoadError> {
        let entry = self.entries.get(name).ok_or_else(|| LoadError::MissingTensor {
            tensor: name.into(),
            file: self.place.clone(),
            expected: expected.to_vec(),
        })?;
        if entry.info.shape != expected {
            return Err(LoadError::WrongShape {
                tensor: name.into(),
                file: entry.file.to_string(),
                found: entry.info.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        let (start, end) = entry.info.data_offsets;
        let bytes = &entry.bytes.as_slice()[entry.data_start + start..entry.data_start + end];
        let (stored, finite) = match entry.info.dtype {
            Dtype::F32 => (DType::F32, exponents_below(bytes, 4, 0x7f80)),
            Dtype::F16 => (DType::F16, exponents_below(bytes, 2, 0x7c00)),
            Dtype::BF16 => (DType::BF16, exponents_below(bytes, 2, 0x7f80)),
            other => {
                return Err(LoadError::WrongType {
                    tensor: name.into(),
                    file: entry.file.to_string(),
                    found: format!("{other:?}"),
                });
            }
        };
        if !finite {
            return Err(LoadError::NonFinite { tensor: name.into(), file: entry.file.to_string() });
        }
        Ok(Stored { bytes, dtype: stored })
    }
}

/// Whether no little-endian float of `width` bytes has all exponent bits set; `mask` is over its upper two bytes.
fn exponents_below(bytes: &[u8], width: usize, mask: u16) -> bool {
    bytes
        .chunks_exact(width)
        .all(|float| u16::from_le_bytes([float[width - 2], float[width - 1]]) & mask != mask)
}

/// Checks one file against its header, adds its tensors and returns its bytes.
fn read_file(
    source: &Source,
    file: &str,
    entries: &mut HashMap<String, Entry>,
) -> Result<Arc<Bytes>, LoadError> {
    let path = source.path(file);
    let missing = || LoadError::MissingFile {
        file: file.into(),
        folder: source.place(),
        expected: "its weights as safetensors",
    };
    let (bytes, header) = match source {
        Source::Embedded(_) => {
            let bytes = source.read(file)?.ok_or_else(missing)?;
            let std::borrow::Cow::Borrowed(bytes) = bytes else {
                unreachable!("embedded files are borrowed from the binary")
            };
            let header = read_header(&mut &bytes[..], bytes.len() as u64, &path)?;
            (Bytes::Static(bytes), header)
        }
        Source::Folder(folder) => {
            let opened = open_file(&folder.join(file)).map_err(|cause| match cause.kind() {
                std::io::ErrorKind::NotFound => missing(),
                _ => LoadError::Read { file: path.clone(), cause },
            })?;
            let (mut opened, length) = opened;
            let header = read_header(&mut opened, length, &path)?;
            (Bytes::Mapped(map_file(&opened, &path)?), header)
        }
    };
    let (data_start, infos) = header;
    let (bytes, file) = (Arc::new(bytes), Arc::from(path));
    for (name, info) in infos {
        entries.insert(name, Entry { info, file: Arc::clone(&file), bytes: Arc::clone(&bytes), data_start });
    }
    Ok(bytes)
}

fn open_file(path: &Path) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

#[expect(unsafe_code, reason = "weights are mapped, not copied: a 7B checkpoint has 16 GB")]
fn map_file(file: &File, path: &str) -> Result<Mmap, LoadError> {
    // SAFETY: the map is read only. A checkpoint that another process shortens while it is served would raise a
    // signal; the README asks not to write into a folder that is being served.
    unsafe { Mmap::map(file) }.map_err(|cause| LoadError::Read { file: path.into(), cause })
}

/// Reads a safetensors header and checks it against the length of the file: where the data starts, and its tensors.
fn read_header(
    reader: &mut impl Read,
    file_length: u64,
    path: &str,
) -> Result<(usize, Vec<(String, TensorInfo)>), LoadError> {
    let damaged = |reason: String| LoadError::Damaged { file: path.into(), reason };
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(|_| {
        damaged(format!("it has {file_length} bytes; a safetensors file begins with 8 bytes of length"))
    })?;
    let header_length = u64::from_le_bytes(length);
    if header_length > MAX_HEADER_BYTES || header_length + 8 > file_length {
        return Err(damaged(format!(
            "its header should have {header_length} bytes and the file has {file_length}; it is cut off or not safetensors"
        )));
    }
    let mut header = vec![0; header_length as usize];
    reader.read_exact(&mut header).map_err(|cause| LoadError::Read { file: path.into(), cause })?;
    let json: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|cause| LoadError::Json { file: path.into(), expected: "safetensors header", cause })?;
    let data_length = (file_length - 8 - header_length) as usize;
    let mut infos = Vec::with_capacity(json.len());
    for (name, value) in json {
        if name == "__metadata__" {
            continue;
        }
        let info: TensorInfo = serde_json::from_value(value).map_err(|cause| LoadError::Json {
            file: path.into(),
            expected: "safetensors header",
            cause,
        })?;
        let (start, end) = info.data_offsets;
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, size| bits.checked_mul(*size));
        if start > end || bits.is_none_or(|bits| bits != (end - start) * 8) {
            return Err(damaged(format!(
                "tensor {name} of shape {:?} is said to take bytes {start}..{end}",
                info.shape
            )));
        }
        if end > data_length {
            return Err(damaged(format!(
                "tensor {name} ends at byte {end} of the data and the file has {data_length}; it is cut off"
            )));
        }
        infos.push((name, info));
    }
    Ok((8 + header_length as usize, infos))
}
