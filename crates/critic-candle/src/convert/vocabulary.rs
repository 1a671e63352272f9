//! A tokenizer as the metadata of a GGUF file.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    decoders::DecoderConfig,
    error::LoadError,
    source::Source,
    weights::gguf_format::{KeyValue, Value},
};

const FILE: &str = "tokenizer.json";

/// Token types of the format.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const GIVEN: i32 = 4;
const UNUSED: i32 = 5;

#[derive(Deserialize)]
struct Tokenizer {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    pre_tokenizer: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, usize>,
    merges: Vec<Merge>,
}

/// A pair of tokens to merge: older files join it to one text, newer ones list both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
}

/// Reads `tokenizer.json` as metadata of a decoder with this `config`. Ids of its vocabulary without a token become
/// padding tokens, as in other converters.
pub(super) fn read(source: &Source, config: &DecoderConfig) -> Result<Vec<KeyValue>, LoadError> {
    let (kind, size) = (config.kind, config.vocabulary);
    let Tokenizer { model, added_tokens, pre_tokenizer } =
        source.required_json(FILE, "byte-level tokenizer")?;
    let fault = |reason| LoadError::Tokenizer { file: source.path(FILE), reason };
    if !pre_tokenizer.is_some_and(|json| cuts_by(&json, kind.tokenizer.pattern)) {
        let reason = format!("it does not cut text as {} does, which is what can be written", kind.name);
        return Err(fault(reason));
    }
    let mut tokens: Vec<(String, i32)> = (0..size).map(|id| (format!("[PAD{id}]"), UNUSED)).collect();
    let normal = model.vocab.into_iter().map(|(text, id)| (id, text, NORMAL));
    let token_type = |special| if special { CONTROL } else { GIVEN };
    let added = added_tokens.iter().map(|token| (token.id, token.content.clone(), token_type(token.special)));
    for (id, text, token_type) in normal.chain(added) {
        let Some(place) = tokens.get_mut(id) else {
            return Err(fault(format!("token {text:?} is number {id} and the model has {size}")));
        };
        *place = (text, token_type);
    }
    let id = |text: &str| {
        let token = added_tokens.iter().find(|token| token.content == text);
        let token = token.ok_or_else(|| fault(format!("it has no control token {text}")))?;
        Ok::<_, LoadError>(Value::U32(token.id as u32))
    };
    let merges = model.merges.into_iter().map(|merge| match merge {
        Merge::Joined(text) => text,
        Merge::Pair(first, second) => format!("{first} {second}"),
    });
    let (texts, token_types) = tokens.into_iter().unzip();
    let values = [
        ("model", Value::Text("gpt2".into())),
        ("pre", Value::Text(kind.tokenizer.pattern_in_gguf.into())),
        ("tokens", Value::Texts(texts)),
        ("token_type", Value::Integers(token_types)),
        ("merges", Value::Texts(merges.collect())),
        ("bos_token_id", id(kind.tokenizer.padding)?),
        ("eos_token_id", id(kind.tokenizer.turn_end)?),
        ("padding_token_id", id(kind.tokenizer.padding)?),
        ("add_bos_token", Value::Bool(false)),
    ];
    let values = values.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
    let template = ("tokenizer.chat_template".to_owned(), Value::Text(kind.tokenizer.chat_template.into()));
    Ok(values.chain([template]).collect())
}

/// Whether a pre-tokenizer, or one of its steps, splits by this `pattern`.
fn cuts_by(pre_tokenizer: &serde_json::Value, pattern: &str) -> bool {
    let steps = pre_tokenizer["pretokenizers"].as_array();
    let mut steps = steps.into_iter().flatten().chain([pre_tokenizer]);
    steps.any(|step| step["pattern"]["Regex"] == pattern)
}
