//! Checkpoints of random weights, for measuring: the shape of a real one, and weights that follow from a seed.

mod drawn;
mod files;
mod random;
mod shape;
mod tensors;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    path::Path,
};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::{
    convert::{GgufForm, LanguageModel, write_language_model},
    error::LoadError,
    source::Source,
};
pub use drawn::DrawnCheckpoint;
pub(crate) use drawn::DrawnTensor;
pub use shape::Shape;
use tensors::RandomTensor;

/// The file with the weights.
const WEIGHTS: &str = "model.safetensors";

/// The file with the language model, where it has one of its own.
const LANGUAGE_MODEL: &str = "model.gguf";

/// Weights that are drawn before they are written: bounds the memory that a checkpoint of any size takes, and keeps many processors
/// busy for longer than it takes to start their threads.
const WEIGHTS_AT_ONCE: usize = 1 << 24;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct MakeOptions {
    /// Which model's shape it has.
    pub shape: Shape,
    /// From which all weights follow.
    pub seed: u64,
    /// How weights are stored.
    pub form: MadeForm,
}

/// How made weights are stored. The numbers are the same in both forms of floats, since all of them are numbers of bf16;
/// other forms are made of the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeForm {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, as published checkpoints have them.
    Bf16,
    /// The language model as GGUF in eight bits, the rest in bf16.
    Q8,
    /// The language model as GGUF in four bits, the rest in bf16.
    Q4,
}

impl MadeForm {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 | Self::Q8 | Self::Q4 => Dtype::BF16,
        }
    }

    /// What a configuration calls it.
    fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 | Self::Q8 | Self::Q4 => "bfloat16",
        }
    }

    /// The form of the language model, where it gets a file of its own.
    fn gguf(self) -> Option<GgufForm> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Q8 => Some(GgufForm::Q8_0),
            Self::Q4 => Some(GgufForm::Iq4Nl),
        }
    }
}

/// Makes a checkpoint in the Hugging Face layout in `folder`, with the tokenizer and the chat template of `vocabulary`.
/// The number of its weights is returned. `config.json` is written last: without it a folder is no checkpoint.
///
/// # Errors
/// [`LoadError`] when `vocabulary` lacks what a checkpoint needs, when `folder` has a checkpoint already, or when it
/// cannot be written.
pub fn make_model(folder: &Path, vocabulary: &Source, options: MakeOptions) -> Result<usize, LoadError> {
    let config = folder.join("config.json");
    if config.exists() {
        return Err(LoadError::Exists { file: config.display().to_string() });
    }
    let files = files::describe(vocabulary, options)?;
    let failed = |cause| LoadError::Write { file: folder.display().to_string(), cause };
    fs::create_dir_all(folder).map_err(failed)?;
    let decoder = tensors::decoder(options.shape);
    let mut tensors = tensors::image(options.shape);
    let mut written = 0;
    if let Some(form) = options.form.gguf() {
        let read = |name: &str, range: Range<usize>| Ok(draw(&decoder, name, options.seed, range));
        let (path, anatomy) = (folder.join(LANGUAGE_MODEL), options.shape.text());
        written =
            write_language_model(&path, form, LanguageModel { anatomy: &anatomy, vocabulary, read: &read })?;
    } else {
        tensors.extend(decoder);
    }
    let path = folder.join(WEIGHTS);
    write_weights(&path, &tensors, options)
        .map_err(|cause| LoadError::Write { file: path.display().to_string(), cause })?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content)
            .map_err(|cause| LoadError::Write { file: path.display().to_string(), cause })?;
    }
    Ok(written + tensors.iter().map(RandomTensor::len).sum::<usize>())
}

/// Weights of the tensor `name`, one of `tensors`, from a seed.
fn draw(tensors: &[RandomTensor], name: &str, seed: u64, range: Range<usize>) -> Vec<f32> {
    let tensor = tensors.iter().find(|tensor| tensor.name == name);
    let bytes = tensor.map(|tensor| tensor.drawn(seed).bytes_of(range)).unwrap_or_default();
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_le_bytes(*word)));
    words.map(|bits| f32::from_bits(bits << 16)).collect()
}

/// Writes the header, and then one piece of one tensor after the other.
fn write_weights(path: &Path, tensors: &[RandomTensor], options: MakeOptions) -> std::io::Result<()> {
    let width = options.form.dtype().bitsize() / 8;
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut end = 0;
    for tensor in tensors {
        let start = end;
        end += tensor.len() * width;
        let entry =
            json!({"dtype": options.form.dtype(), "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // The data begins at a multiple of 8, so that a mapped file is aligned.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for tensor in tensors {
        let drawn = tensor.drawn(options.seed);
        for start in (0..tensor.len()).step_by(WEIGHTS_AT_ONCE) {
            let words = drawn.bytes_of(start..tensor.len().min(start + WEIGHTS_AT_ONCE));
            let bytes = match options.form {
                MadeForm::F32 => {
                    words.as_chunks().0.iter().flat_map(|[low, high]| [0, 0, *low, *high]).collect()
                }
                MadeForm::Bf16 | MadeForm::Q8 | MadeForm::Q4 => words,
            };
            file.write_all(&bytes)?;
        }
    }
    file.flush()
}
