//! Converts the language model of a checkpoint to a GGUF file, for llama.cpp and other programs.

mod form;
mod vocabulary;
mod writer;

use std::{ops::Range, path::Path};

use crate::{
    architectures::read_architecture,
    decoders::{DecoderConfig, DecoderNames, DecoderTensor},
    device::ComputeDevice,
    error::LoadError,
    parallel::Rank,
    source::Source,
    weights::{
        WeightForm, Weights,
        gguf_format::{ARCHITECTURE_KEY, KeyValue, Value},
    },
};
pub use form::GgufForm;
use writer::TensorToWrite;

/// Opens a tensor to read its weights.
pub(crate) type OpenTensor<'a> = dyn Fn(&DecoderTensor) -> Result<ReadWeights<'a>, LoadError> + 'a;

/// Reads a range of a tensor's weights.
pub(crate) type ReadWeights<'a> = Box<dyn Fn(Range<usize>) -> Result<Vec<f32>, LoadError> + 'a>;

/// Writes the language model of the checkpoint in `source` to the new file `path`, with its vocabulary. Returns the
/// number of weights.
///
/// # Errors
/// [`LoadError`] when the checkpoint cannot be read, its tokenizer is not of its decoder's kind, or the file exists
/// already or cannot be written.
pub fn convert(source: &Source, path: &Path, form: GgufForm) -> Result<usize, LoadError> {
    let architecture = read_architecture(source)?;
    let (config, naming) = (architecture.text(), architecture.gguf_naming());
    let weights = Weights::open(source, naming, &Rank::alone(ComputeDevice::Kernels), WeightForm::Stored)?;
    let names = architecture.decoder_names(&weights);
    let config = &DecoderConfig { tied: config.ties_head(&weights, names), ..config.clone() };
    let open = |tensor: &DecoderTensor| {
        let stored = weights.stored(&tensor.name, &tensor.shape)?;
        let read: ReadWeights<'_> = Box::new(move |range: Range<usize>| stored.floats_of(range));
        Ok::<_, LoadError>(read)
    };
    write_language_model(path, form, LanguageModel { config, names, vocabulary: source, open: &open })
}

/// A language model to write.
#[derive(Clone, Copy)]
pub(crate) struct LanguageModel<'a> {
    pub(crate) config: &'a DecoderConfig,
    /// Names of its tensors where they are read.
    pub(crate) names: DecoderNames,
    /// The source of its tokenizer.
    pub(crate) vocabulary: &'a Source,
    pub(crate) open: &'a OpenTensor<'a>,
}

/// Writes `model` to the new file `path`. Returns the number of weights.
pub(crate) fn write_language_model(
    path: &Path,
    form: GgufForm,
    model: LanguageModel<'_>,
) -> Result<usize, LoadError> {
    let config = model.config;
    if path.exists() {
        return Err(LoadError::Exists { file: path.display().to_string() });
    }
    let mut metadata = describe(config, form);
    metadata.extend(vocabulary::read(model.vocabulary, config)?);
    let tensors: Vec<TensorToWrite> = config
        .tensors(model.names)
        .into_iter()
        .map(|tensor| {
            let shape = &tensor.shape;
            let form = if tensor.is_table() { form.of_table(shape) } else { form.of_tensor(shape) };
            TensorToWrite { tensor, form }
        })
        .collect();
    writer::write(path, &metadata, &tensors, model.open)?;
    Ok(tensors.iter().map(|written| written.tensor.weights()).sum())
}

/// The metadata that llama.cpp needs, without the vocabulary.
fn describe(config: &DecoderConfig, form: GgufForm) -> Vec<KeyValue> {
    let general = [
        (ARCHITECTURE_KEY, Value::Text(config.kind.gguf.architecture.into())),
        ("general.type", Value::Text("model".into())),
        ("general.file_type", Value::U32(form.file_type())),
        ("general.quantization_version", Value::U32(2)),
    ];
    let general = general.into_iter().map(|(key, value)| (key.to_owned(), value));
    general.chain((config.kind.gguf.metadata)(config)).collect()
}
