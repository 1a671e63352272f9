//! The files beside the weights of a made checkpoint, which both transformers and this crate can read.

use serde_json::{Value, json};

use super::{MakeOptions, shape::Shape};
use crate::{
    architectures::SyntheticModel,
    decoders::{ControlIds, TokenizerKind},
    error::LoadError,
    source::Source,
    tokenizer::Tokenizer,
};

const TOKENIZER: &str = "tokenizer.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Ids of the control tokens that configurations refer to.
struct Ids {
    text: ControlIds,
    image: u32,
    video: u32,
}

impl Ids {
    fn read(vocabulary: &Source, shape: Shape) -> Result<Self, LoadError> {
        let tokenizer = Tokenizer::load(vocabulary)?;
        let (config, architecture) = (shape.text(), shape.architecture());
        let fault = |reason| LoadError::Tokenizer { file: vocabulary.path(TOKENIZER), reason };
        let id = |text: &str| {
            let token = tokenizer.control(text).map(|token| token.0);
            let token = token.ok_or_else(|| fault(format!("it has no control token {text}")))?;
            let rows = config.vocabulary;
            if token as usize >= rows {
                return Err(fault(format!("{text} is token {token} and the model has {rows}")));
            }
            Ok(token)
        };
        let TokenizerKind { padding, turn_end, .. } = config.kind.tokenizer;
        Ok(Self {
            text: ControlIds { padding: id(padding)?, turn_end: id(turn_end)? },
            image: id(architecture.image_token)?,
            video: id(architecture.video_token)?,
        })
    }
}

/// The name and content of every file except the weights, with `config.json` last.
pub(super) fn describe(
    vocabulary: &Source,
    options: MakeOptions,
) -> Result<Vec<(&'static str, Vec<u8>)>, LoadError> {
    let shape = options.shape;
    let ids = Ids::read(vocabulary, shape)?;
    let required = |file: &str, expected| {
        let bytes = vocabulary.read(file)?;
        let missing = || LoadError::MissingFile { file: file.into(), folder: vocabulary.place(), expected };
        bytes.map(std::borrow::Cow::into_owned).ok_or_else(missing)
    };
    let tokenizer: Value = vocabulary.required_json(TOKENIZER, "tokenizer")?;
    let ControlIds { padding, turn_end } = ids.text;
    let generation = json!({"bos_token_id": padding, "eos_token_id": turn_end, "pad_token_id": padding});
    let mut files = vec![
        (TOKENIZER, required(TOKENIZER, "tokenizer")?),
        (CHAT_TEMPLATE, required(CHAT_TEMPLATE, "chat template")?),
        ("tokenizer_config.json", text(&tokenizer_config(&tokenizer, shape))),
        ("generation_config.json", text(&generation)),
    ];
    let model = SyntheticModel {
        vision: &shape.vision(),
        text: &shape.text(),
        control: ids.text,
        image: ids.image,
        video: ids.video,
        dtype: options.form.torch_name(),
    };
    let configurations = (shape.architecture().files)(&model).into_iter();
    files.extend(configurations.map(|(name, content)| (name, text(&content))));
    Ok(files)
}

fn text(json: &Value) -> Vec<u8> {
    format!("{json:#}\n").into_bytes()
}

fn tokenizer_config(tokenizer: &Value, shape: Shape) -> Value {
    let text = shape.text();
    let TokenizerKind { class, padding, turn_start, turn_end, .. } = text.kind.tokenizer;
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let decoder = added.map(|token| {
        let mut entry = token.clone();
        let id = entry.as_object_mut().and_then(|entry| entry.remove("id")).unwrap_or_default();
        (id.to_string(), entry)
    });
    json!({
        "add_prefix_space": false,
        "added_tokens_decoder": decoder.collect::<serde_json::Map<_, _>>(),
        "additional_special_tokens": [turn_start, turn_end],
        "bos_token": null,
        "clean_up_tokenization_spaces": false,
        "eos_token": turn_end,
        "errors": "replace",
        "model_max_length": text.context_length,
        "pad_token": padding,
        "processor_class": shape.architecture().processor,
        "split_special_tokens": false,
        "tokenizer_class": class,
        "unk_token": null,
    })
}
