//! The language model of a checkpoint as a GGUF file, which llama.cpp and others load.

mod form;
mod vocabulary;
mod writer;

use std::{ops::Range, path::Path};

use crate::{
    decoders::{HEAD_IN_GGUF, QWEN2_IN_GGUF, TextAnatomy},
    error::LoadError,
    layers::ComputeDevice,
    load::read_architecture,
    parallel::Rank,
    source::Source,
    weights::{WeightForm, Weights},
};
pub use form::GgufForm;
use writer::{Outgoing, Value};

/// Some weights, by the name of their tensor in the published Hugging Face layout.
pub(crate) type ReadWeights<'a> = dyn Fn(&str, Range<usize>) -> Result<Vec<f32>, LoadError> + 'a;

/// What our names of the language model's tensors begin with, and its head.
const TEXT: &str = "language_model.model.";
const HEAD: &str = "language_model.lm_head.weight";

/// Writes the language model of the checkpoint in `source` into the new file `path`, with its vocabulary. The number of its
/// weights is returned.
///
/// # Errors
/// [`LoadError`] when the checkpoint cannot be read, or has a vocabulary of another kind than Qwen2's, or when the file is
/// there already or cannot be written.
pub fn convert(source: &Source, path: &Path, form: GgufForm) -> Result<usize, LoadError> {
    let architecture = read_architecture(source)?;
    let (anatomy, naming) = (architecture.text(), architecture.gguf_naming());
    let weights = Weights::open(source, naming, &Rank::alone(ComputeDevice::Kernels), WeightForm::Stored)?;
    let names = architecture.decoder_names(&weights);
    let anatomy = &TextAnatomy { tied: anatomy.ties_head(&weights, names), ..anatomy.clone() };
    let tensors = tensors(anatomy);
    let shape_of =
        |name: &str| tensors.iter().find(|(own, _)| own == name).map(|(_, shape)| shape.as_slice());
    let read = |name: &str, range: Range<usize>| {
        let stored_name = match name.strip_prefix(TEXT) {
            Some(rest) => format!("{}{rest}", names.prefix),
            None => names.head.to_owned(),
        };
        weights.stored(&stored_name, shape_of(name).unwrap_or_default())?.floats_of(range)
    };
    write_language_model(path, form, LanguageModel { anatomy, vocabulary: source, read: &read })
}

/// A language model that is to be written.
#[derive(Clone, Copy)]
pub(crate) struct LanguageModel<'a> {
    pub(crate) anatomy: &'a TextAnatomy,
    /// Where its tokenizer is.
    pub(crate) vocabulary: &'a Source,
    pub(crate) read: &'a ReadWeights<'a>,
}

/// Writes `model` into the new file `path`; the number of its weights is returned.
pub(crate) fn write_language_model(
    path: &Path,
    form: GgufForm,
    model: LanguageModel<'_>,
) -> Result<usize, LoadError> {
    let anatomy = model.anatomy;
    if path.exists() {
        return Err(LoadError::Exists { file: path.display().to_string() });
    }
    let mut metadata = describe(anatomy, form);
    metadata.extend(vocabulary::read(model.vocabulary, anatomy.vocabulary)?);
    let tensors = tensors(anatomy);
    let outgoing: Vec<Outgoing> = tensors
        .iter()
        .map(|(ours, shape)| {
            let is_table = ours == HEAD || ours.ends_with("embed_tokens.weight");
            Outgoing {
                name: name_in_gguf(ours),
                ours: ours.clone(),
                form: if is_table { form.of_table(shape) } else { form.of_tensor(shape) },
                shape: shape.clone(),
            }
        })
        .collect();
    writer::write(path, &metadata, &outgoing, model.read)?;
    Ok(tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum())
}

/// All tensors of the language model, by our names, with their shapes.
fn tensors(anatomy: &TextAnatomy) -> Vec<(String, Vec<usize>)> {
    let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
    let (queries, keys) = (anatomy.heads * anatomy.head_size, anatomy.kv_heads * anatomy.head_size);
    let mut tensors = vec![(format!("{TEXT}embed_tokens.weight"), vec![anatomy.vocabulary, size])];
    for layer in 0..anatomy.layers {
        let mut add = |part: &str, shape: &[usize]| {
            tensors.push((format!("{TEXT}layers.{layer}.{part}"), shape.to_vec()));
        };
        add("input_layernorm.weight", &[size]);
        for (part, output) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
            add(&format!("self_attn.{part}.weight"), &[output, size]);
            add(&format!("self_attn.{part}.bias"), &[output]);
        }
        add("self_attn.o_proj.weight", &[size, queries]);
        add("post_attention_layernorm.weight", &[size]);
        add("mlp.gate_proj.weight", &[wide, size]);
        add("mlp.up_proj.weight", &[wide, size]);
        add("mlp.down_proj.weight", &[size, wide]);
    }
    tensors.push((format!("{TEXT}norm.weight"), vec![size]));
    if !anatomy.tied {
        tensors.push((HEAD.into(), vec![anatomy.vocabulary, size]));
    }
    tensors
}

/// What llama.cpp calls the tensor of this name of ours.
fn name_in_gguf(ours: &str) -> String {
    match ours.strip_prefix(TEXT) {
        Some(name) => QWEN2_IN_GGUF.in_gguf(name).swap_remove(0),
        None => HEAD_IN_GGUF.into(),
    }
}

/// What llama.cpp wants to know of a Qwen2.
fn describe(anatomy: &TextAnatomy, form: GgufForm) -> Vec<(String, Value)> {
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let general = [
        ("general.architecture", Value::Text("qwen2".into())),
        ("general.type", Value::Text("model".into())),
        ("general.file_type", Value::U32(form.file_type())),
        ("general.quantization_version", Value::U32(2)),
    ];
    let own = [
        ("context_length", number(anatomy.context_length)),
        ("embedding_length", number(anatomy.hidden_size)),
        ("block_count", number(anatomy.layers)),
        ("feed_forward_length", number(anatomy.intermediate_size)),
        ("attention.head_count", number(anatomy.heads)),
        ("attention.head_count_kv", number(anatomy.kv_heads)),
        ("attention.key_length", number(anatomy.head_size)),
        ("attention.value_length", number(anatomy.head_size)),
        ("attention.layer_norm_rms_epsilon", Value::F32(anatomy.norm_epsilon as f32)),
        ("rope.freq_base", Value::F32(anatomy.rope_theta as f32)),
    ];
    let general = general.into_iter().map(|(key, value)| (key.to_owned(), value));
    general.chain(own.into_iter().map(|(key, value)| (format!("qwen2.{key}"), value))).collect()
}
