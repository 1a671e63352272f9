//! Checkpoints of random weights for benchmarks, with the shape of a real model and weights determined by a seed.

mod files;
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
    convert::{GgufForm, LanguageModel, ReadWeights, write_language_model},
    decoders::DecoderTensor,
    drawn::DrawnCheckpoint,
    error::LoadError,
    source::Source,
};
pub use shape::Shape;
use tensors::RandomTensor;

/// The file with the weights.
const WEIGHTS: &str = "model.safetensors";

/// The file with the language model, where it is stored as GGUF.
const LANGUAGE_MODEL: &str = "model.gguf";

/// Weights that are drawn and written at a time: few enough to bound the memory for a checkpoint of any size, and
/// enough to keep many cores busy for longer than their threads take to start.
const WEIGHTS_AT_ONCE: usize = 1 << 24;

/// Options of a checkpoint to make.
#[derive(Debug, Clone, Copy)]
pub struct MakeOptions {
    /// The shape of the model.
    pub shape: Shape,
    /// Determines all weights.
    pub seed: u64,
    /// How weights are stored.
    pub form: MadeForm,
}

/// How made weights are stored. Both forms of floats hold the same numbers, since all can be represented in bf16; the
/// other forms are quantised from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeForm {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, as in published checkpoints.
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

    /// The name of the float type in a configuration.
    fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 | Self::Q8 | Self::Q4 => "bfloat16",
        }
    }

    /// The form of the language model in its GGUF file; `None` where it is stored with the other weights.
    fn gguf(self) -> Option<GgufForm> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Q8 => Some(GgufForm::Q8_0),
            Self::Q4 => Some(GgufForm::Iq4Nl),
        }
    }
}

/// Writes a checkpoint in the Hugging Face layout to `folder`, with the tokenizer and the chat template of
/// `vocabulary`. Returns the number of weights. `config.json` is written last, so that an incomplete folder is not
/// a checkpoint.
///
/// # Errors
/// [`LoadError`] when `vocabulary` lacks a file or a control token, `folder` contains a checkpoint already, or a
/// file cannot be written.
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
        let (decoder, seed) = (&decoder, options.seed);
        let open = |tensor: &DecoderTensor| {
            let name = tensor.name.clone();
            let read: ReadWeights<'_> =
                Box::new(move |range: Range<usize>| Ok(draw(decoder, &name, seed, range)));
            Ok::<_, LoadError>(read)
        };
        let (path, config) = (folder.join(LANGUAGE_MODEL), options.shape.text());
        let names = config.kind.published;
        let model = LanguageModel { config: &config, names, vocabulary, open: &open };
        written = write_language_model(&path, form, model)?;
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

/// The checkpoint that [`make_model`] writes for the same shape and seed in bf16, with the tokenizer and the chat
/// template of `vocabulary`, but not on disk.
///
/// # Errors
/// [`LoadError`] when `vocabulary` lacks a file or a control token.
pub fn drawn_checkpoint(shape: Shape, seed: u64, vocabulary: &Source) -> Result<DrawnCheckpoint, LoadError> {
    let files = files::describe(vocabulary, MakeOptions { shape, seed, form: MadeForm::Bf16 })?;
    let drawn = |tensor: RandomTensor| {
        let weights = tensor.drawn(seed);
        (tensor.name, tensor.shape, weights)
    };
    let tensors = tensors::image(shape).into_iter().chain(tensors::decoder(shape)).map(drawn).collect();
    let name = format!("the checkpoint of shape {shape:?} drawn from seed {seed}");
    Ok(DrawnCheckpoint { name, files, tensors })
}

/// The weights `range` of the tensor `name`, one of `tensors`, for a seed.
fn draw(tensors: &[RandomTensor], name: &str, seed: u64, range: Range<usize>) -> Vec<f32> {
    let tensor = tensors.iter().find(|tensor| tensor.name == name);
    let bytes = tensor.map(|tensor| tensor.drawn(seed).bytes_of(range)).unwrap_or_default();
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_le_bytes(*word)));
    words.map(|bits| f32::from_bits(bits << 16)).collect()
}

/// Writes the header, then the tensors in pieces.
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
    // The data begins at a multiple of 8, so that tensors of a mapped file are aligned.
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
