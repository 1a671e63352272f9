//! A tokenizer as the metadata of a GGUF file.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    error::LoadError,
    source::Source,
    weights::gguf_format::{KeyValue, Value},
};

const FILE: &str = "tokenizer.json";

/// Qwen2's pre-tokenizer pattern. llama.cpp has it built in, under a name.
const QWEN2_PIECES: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

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

/// ChatML, the chat format of Qwen2, for programs that accept conversations only if the model has a template.
const CHAT_TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n\
    {{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Reads `tokenizer.json` as metadata. Ids below `size` without a token become padding tokens, as in other
/// converters.
pub(super) fn read(source: &Source, size: usize) -> Result<Vec<KeyValue>, LoadError> {
    let Tokenizer { model, added_tokens, pre_tokenizer } =
        source.required_json(FILE, "byte-level tokenizer")?;
    let fault = |reason| LoadError::Tokenizer { file: source.path(FILE), reason };
    if !pre_tokenizer.is_some_and(|json| cuts_like_qwen2(&json)) {
        return Err(fault("it does not cut text as Qwen2 does, which is what can be written".into()));
    }
    let mut tokens: Vec<(String, i32)> = (0..size).map(|id| (format!("[PAD{id}]"), UNUSED)).collect();
    let normal = model.vocab.into_iter().map(|(text, id)| (id, text, NORMAL));
    let kind = |special| if special { CONTROL } else { GIVEN };
    let added = added_tokens.iter().map(|token| (token.id, token.content.clone(), kind(token.special)));
    for (id, text, kind) in normal.chain(added) {
        let Some(place) = tokens.get_mut(id) else {
            return Err(fault(format!("token {text:?} is number {id} and the model has {size}")));
        };
        *place = (text, kind);
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
    let (texts, kinds) = tokens.into_iter().unzip();
    let values = [
        ("model", Value::Text("gpt2".into())),
        ("pre", Value::Text("qwen2".into())),
        ("tokens", Value::Texts(texts)),
        ("token_type", Value::Integers(kinds)),
        ("merges", Value::Texts(merges.collect())),
        ("bos_token_id", id("<|endoftext|>")?),
        ("eos_token_id", id("<|im_end|>")?),
        ("padding_token_id", id("<|endoftext|>")?),
        ("add_bos_token", Value::Bool(false)),
    ];
    let values = values.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
    let template = ("tokenizer.chat_template".to_owned(), Value::Text(CHAT_TEMPLATE.into()));
    Ok(values.chain([template]).collect())
}

/// Whether a pre-tokenizer, or one of its steps, splits by Qwen2's pattern.
fn cuts_like_qwen2(pre_tokenizer: &serde_json::Value) -> bool {
    let steps = pre_tokenizer["pretokenizers"].as_array();
    let mut steps = steps.into_iter().flatten().chain([pre_tokenizer]);
    steps.any(|step| step["pattern"]["Regex"] == QWEN2_PIECES)
}
