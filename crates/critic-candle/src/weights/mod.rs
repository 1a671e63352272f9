//! Tensors of a checkpoint by name, from safetensors and GGUF files whose headers have been checked.

mod digest;
mod file;
mod finite;
mod form;
mod gguf;
pub(crate) mod gguf_format;
mod naming;
mod parallel_map;
mod products;
mod safetensors;
mod stored;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use candle_core::Tensor;

use crate::{
    device::ComputeDevice,
    drawn::{DrawnCheckpoint, DrawnTensor},
    error::LoadError,
    parallel::Rank,
    source::Source,
};
use file::Bytes;
pub use form::WeightForm;
pub(crate) use naming::{GgufNaming, PartNames};
pub(crate) use parallel_map::{FLOATS_AT_ONCE, map_all};
pub(crate) use products::{MatrixShape, Products};
use stored::Part;
pub(crate) use stored::{Stored, StoredType};

/// One tensor in a file: its header entry and where its bytes are.
#[derive(Debug, Clone)]
struct Entry {
    /// Its name in the file.
    name: String,
    shape: Vec<usize>,
    /// How it is stored, or the name of a type that is not supported.
    stored_type: Result<StoredType, String>,
    file: Arc<str>,
    bytes: Arc<Bytes>,
    /// The range of its bytes in the file.
    range: Range<usize>,
    /// The generator of its random weights, where it is in no file.
    drawn: Option<DrawnTensor>,
}

impl Entry {
    /// Bytes that it takes in a file; for random weights, that it would take in bf16.
    fn stored_bytes(&self) -> usize {
        if self.drawn.is_some() { 2 * self.weights() } else { self.range.len() }
    }

    /// Its stored bytes.
    fn as_slice(&self) -> &[u8] {
        &self.bytes.as_slice()[self.range.clone()]
    }

    /// Number of weights.
    fn weights(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Tensors by their names in the files.
type Entries = HashMap<String, Entry>;

/// Every tensor of a checkpoint, by its name in the file. Bytes are read when a tensor is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    entries: Entries,
    naming: &'static GgufNaming,
    has_gguf: bool,
    /// The name of the source, for errors about a tensor that is in no file.
    files: String,
    rank: Rank,
    form: WeightForm,
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists, and every GGUF file
    /// beside them. Tensors are returned on the CPU, in the host type of the device of `rank`; matrix products keep
    /// their weights in `form`.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`] when there are no weights, [`LoadError::Twice`] when a tensor is in two files,
    /// and others when a file cannot be read or its header is wrong.
    pub(crate) fn open(
        source: &Source,
        naming: &'static GgufNaming,
        rank: &Rank,
        form: WeightForm,
    ) -> Result<Self, LoadError> {
        if let Source::Drawn(checkpoint) = source {
            return Ok(Self::drawn(checkpoint, naming, rank, form));
        }
        let files = source.names_ending(".gguf")?;
        let mut entries = match safetensors::read(source)? {
            None if files.is_empty() => return Err(safetensors::missing(source, "model.safetensors")),
            found => found.unwrap_or_default(),
        };
        // Tensors of safetensors by their names in GGUF, so that a tensor in both formats is detected.
        let mut known: HashMap<String, Arc<str>> = HashMap::new();
        if !files.is_empty() {
            for entry in entries.values() {
                known.extend(
                    (naming.names)(&entry.name).into_iter().map(|name| (name, Arc::clone(&entry.file))),
                );
            }
        }
        for file in &files {
            for entry in gguf::read(source, file, naming)? {
                if let Some(other) = known.insert(entry.name.clone(), Arc::clone(&entry.file)) {
                    let files = [other.to_string(), entry.file.to_string()];
                    return Err(LoadError::Twice { tensor: entry.name, files });
                }
                entries.insert(entry.name.clone(), entry);
            }
        }
        let has_gguf = !files.is_empty();
        Ok(Self { entries, naming, has_gguf, files: source.place(), rank: rank.clone(), form })
    }

    /// The same weights, read for another rank.
    pub(crate) fn on_behalf_of(&self, rank: &Rank) -> Self {
        Self { rank: rank.clone(), ..self.clone() }
    }

    /// The weights of a checkpoint of random weights.
    fn drawn(
        checkpoint: &DrawnCheckpoint,
        naming: &'static GgufNaming,
        rank: &Rank,
        form: WeightForm,
    ) -> Self {
        let files = checkpoint.name.clone();
        let (file, bytes) = (Arc::<str>::from(files.as_str()), Arc::new(Bytes::Synthetic(files.clone())));
        let entry = |(name, shape, drawn): &(String, Vec<usize>, DrawnTensor)| {
            let entry = Entry {
                name: name.clone(),
                shape: shape.clone(),
                stored_type: Ok(StoredType::Bf16),
                file: Arc::clone(&file),
                bytes: Arc::clone(&bytes),
                range: 0..0,
                drawn: Some(*drawn),
            };
            (name.clone(), entry)
        };
        let entries = checkpoint.tensors.iter().map(entry).collect();
        Self { entries, naming, has_gguf: false, files, rank: rank.clone(), form }
    }

    /// The generator of the random tensor `name`; `None` where the weights are in files, or the shape is not
    /// `expected`.
    pub(crate) fn drawn_tensor(&self, name: &str, expected: &[usize]) -> Option<DrawnTensor> {
        self.find(name, Some(expected)).filter(|entry| entry.shape == expected)?.drawn
    }

    /// Whether the tensor `name` exists, under this name or one of its names in GGUF.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name, None).is_some()
    }

    /// The file that holds the tensor `name`, if it exists.
    pub(crate) fn file_of(&self, name: &str) -> Option<String> {
        self.find(name, None).map(|entry| entry.file.to_string())
    }

    /// Whether two tensors have the same shape, type and stored bytes. Always false for random weights.
    pub(crate) fn are_equal(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.find(one, None), self.find(other, None)) else { return false };
        let alike = one.shape == other.shape && one.stored_type == other.stored_type;
        alike && one.drawn.is_none() && one.as_slice() == other.as_slice()
    }

    /// The tensor of this name. Where it may have several names in GGUF, the tensor with shape `expected` is
    /// preferred: older files swap the names of two layers.
    fn find(&self, name: &str, expected: Option<&[usize]>) -> Option<&Entry> {
        if let Some(entry) = self.entries.get(name) {
            return Some(entry);
        }
        if !self.has_gguf {
            return None;
        }
        let names = (self.naming.names)(name);
        let found = || names.iter().filter_map(|name| self.entries.get(name));
        found().find(|entry| expected == Some(&entry.shape)).or_else(|| found().next())
    }

    /// The first of `prefixes` for which a tensor named prefix and `suffix` exists, or else the first prefix.
    pub(crate) fn prefix_of<'a>(&self, prefixes: &[&'a str], suffix: &str) -> &'a str {
        let found = prefixes.iter().find(|prefix| self.contains(&format!("{prefix}{suffix}")));
        found.unwrap_or(&prefixes[0])
    }

    /// Number of weights in all tensors.
    pub(crate) fn parameter_count(&self) -> usize {
        self.entries.values().map(Entry::weights).sum()
    }

    /// Bytes of all tensors in the files.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.entries.values().map(Entry::stored_bytes).sum()
    }

    /// Bytes of all tensors in memory when they are kept as stored.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = |entry: &Entry| {
            let stored_type = entry.stored_type.as_ref();
            stored_type.map_or(entry.stored_bytes(), |stored_type| stored_type.kept_bytes(entry.weights()))
        };
        self.entries.values().map(kept).sum()
    }

    /// The number of tensors of each stored type.
    pub(crate) fn types(&self) -> BTreeMap<String, usize> {
        let mut types = BTreeMap::new();
        for entry in self.entries.values() {
            let name = entry.stored_type.as_ref().map_or_else(Clone::clone, |known| known.to_string());
            *types.entry(name).or_default() += 1;
        }
        types
    }

    /// The device that the model computes on.
    pub(crate) fn device(&self) -> &ComputeDevice {
        &self.rank.device
    }

    /// The rank that they are read for.
    pub(crate) fn rank(&self) -> &Rank {
        &self.rank
    }

    /// The form in which matrix products keep their weights.
    pub(crate) fn form(&self) -> WeightForm {
        self.form
    }

    /// The tensor `name`, which must have shape `expected` and finite values, in the device's host type.
    pub(crate) fn get(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        Ok(self.as_stored(name, expected)?.to_dtype(self.device().dtype())?)
    }

    /// Like [`Self::get`], for a table of which only a few rows are read at a time: in the stored type where that
    /// is smaller, unless the form is f32.
    pub(crate) fn table(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        let table = self.as_stored(name, expected)?;
        let dtype = self.device().dtype();
        let keep = table.dtype().size_in_bytes() < dtype.size_in_bytes() && self.form != WeightForm::F32;
        if keep { Ok(table) } else { Ok(table.to_dtype(dtype)?) }
    }

    /// The tensor `name` in its stored type, or in f32 where that is quantised.
    fn as_stored(&self, name: &str, expected: &[usize]) -> Result<Tensor, LoadError> {
        self.stored(name, expected)?.tensor(expected)
    }

    /// The stored tensor `name`, which must have shape `expected` and finite values.
    pub(crate) fn stored(&self, name: &str, expected: &[usize]) -> Result<Stored<'_>, LoadError> {
        self.stored_part(name, expected, Part::all(expected))
    }

    /// A part of the stored tensor `name`. The whole must have shape `expected`, the part finite values.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::WrongShape`], and those of [`Stored::new`].
    fn stored_part(&self, name: &str, expected: &[usize], part: Part) -> Result<Stored<'_>, LoadError> {
        let entry = self.find(name, Some(expected)).ok_or_else(|| {
            let in_gguf = self.has_gguf.then(|| (self.naming.names)(name).into_iter().next()).flatten();
            LoadError::MissingTensor {
                tensor: in_gguf.unwrap_or_else(|| name.into()),
                file: self.files.clone(),
                expected: expected.to_vec(),
            }
        })?;
        if entry.shape != expected {
            return Err(LoadError::WrongShape {
                tensor: entry.name.clone(),
                file: entry.file.to_string(),
                found: entry.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        Stored::new(entry, part)
    }
}
