//! The files beside the weights of a made checkpoint, which both transformers and this crate can read.

use serde_json::{Value, json};

use super::{MakeOptions, shape::Shape};
use crate::{
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
    fn read(vocabulary: &Source, options: MakeOptions) -> Result<Self, LoadError> {
        let tokenizer = Tokenizer::load(vocabulary)?;
        let config = options.shape.text();
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
            image: id("<image>")?,
            video: id("<video>")?,
        })
    }
}

/// The name and content of every file except the weights, with `config.json` last.
pub(super) fn describe(
    vocabulary: &Source,
    options: MakeOptions,
) -> Result<Vec<(&'static str, Vec<u8>)>, LoadError> {
    let ids = Ids::read(vocabulary, options)?;
    let shape = options.shape;
    let required = |file: &str, expected| {
        let bytes = vocabulary.read(file)?;
        let missing = || LoadError::MissingFile { file: file.into(), folder: vocabulary.place(), expected };
        bytes.map(std::borrow::Cow::into_owned).ok_or_else(missing)
    };
    let tokenizer: Value = vocabulary.required_json(TOKENIZER, "tokenizer")?;
    let ControlIds { padding, turn_end } = ids.text;
    let generation = json!({"bos_token_id": padding, "eos_token_id": turn_end, "pad_token_id": padding});
    Ok(vec![
        (TOKENIZER, required(TOKENIZER, "tokenizer")?),
        (CHAT_TEMPLATE, required(CHAT_TEMPLATE, "chat template")?),
        ("tokenizer_config.json", text(&tokenizer_config(&tokenizer, shape))),
        ("generation_config.json", text(&generation)),
        ("preprocessor_config.json", text(&image_processor(shape))),
        ("video_preprocessor_config.json", text(&video_processor(shape))),
        ("processor_config.json", text(&processor(shape))),
        ("config.json", text(&config(&ids, options))),
    ])
}

fn text(json: &Value) -> Vec<u8> {
    format!("{json:#}\n").into_bytes()
}

/// Grids of up to 6 by 6 tiles, as in published checkpoints.
fn grid_sizes(shape: Shape) -> Value {
    let tile = shape.vision().image_size;
    (1..=6).flat_map(|rows| (1..=6).map(move |columns| json!([tile * rows, tile * columns]))).collect()
}

fn config(ids: &Ids, options: MakeOptions) -> Value {
    let (vision, text) = (options.shape.vision(), options.shape.text());
    json!({
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "image_grid_pinpoints": grid_sizes(options.shape),
        "image_token_index": ids.image,
        "video_token_index": ids.video,
        "multimodal_projector_bias": true,
        "projector_hidden_act": "gelu",
        "text_config": (text.kind.config)(&text, ids.text),
        "tie_word_embeddings": text.tied,
        "use_image_newline_parameter": true,
        "vision_aspect_ratio": "anyres_max_9",
        "vision_config": {
            "model_type": "siglip_vision_model",
            "attention_dropout": 0.0,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": vision.hidden_size,
            "image_size": vision.image_size,
            "intermediate_size": vision.intermediate_size,
            "layer_norm_eps": vision.norm_epsilon,
            "num_attention_heads": vision.heads,
            "num_channels": 3,
            "num_hidden_layers": vision.layers,
            "patch_size": vision.patch_size,
            "vision_use_head": false,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "torch_dtype": options.form.torch_name(),
    })
}

fn image_processor(shape: Shape) -> Value {
    let mut keys = pixels(shape);
    keys["do_pad"] = true.into();
    keys["image_grid_pinpoints"] = grid_sizes(shape);
    keys["image_processor_type"] = "LlavaOnevisionImageProcessor".into();
    keys
}

fn video_processor(shape: Shape) -> Value {
    let mut keys = pixels(shape);
    keys["video_processor_type"] = "LlavaOnevisionVideoProcessor".into();
    keys
}

/// The settings that the processors of images and of videos share.
fn pixels(shape: Shape) -> Value {
    let size = shape.vision().image_size;
    json!({
        "do_convert_rgb": true,
        "do_normalize": true,
        "do_rescale": true,
        "do_resize": true,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "LlavaOnevisionProcessor",
        "resample": 3,
        "rescale_factor": 1.0 / 255.0,
        "size": {"height": size, "width": size},
    })
}

fn processor(shape: Shape) -> Value {
    json!({
        "image_token": "<image>",
        "num_image_tokens": shape.vision().patches_per_side().pow(2),
        "processor_class": "LlavaOnevisionProcessor",
        "video_token": "<video>",
        "vision_aspect_ratio": "anyres_max_9",
        "vision_feature_select_strategy": "full",
    })
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
        "processor_class": "LlavaOnevisionProcessor",
        "split_special_tokens": false,
        "tokenizer_class": class,
        "unk_token": null,
    })
}
