//! How a checkpoint wants to generate: `generation_config.json`.

use std::collections::BTreeMap;

use critic::{GenerationDefaults, Processor, TokenId};
use serde::Deserialize;
use serde_json::Value;

use crate::{error::LoadError, source::Source};

const FILE: &str = "generation_config.json";

/// What it can ask for and is not done here. A value that asks for nothing is none.
const LEFT_OUT: [&str; 10] = [
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
    "no_repeat_ngram_size",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "num_beams",
];

#[derive(Deserialize)]
struct Config {
    eos_token_id: Option<EndTokens>,
    repetition_penalty: Option<f32>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What `config.json` says of it, where there is no file of its own.
#[derive(Deserialize)]
struct ModelConfig {
    eos_token_id: Option<EndTokens>,
    text_config: Option<TextConfig>,
}

#[derive(Deserialize)]
struct TextConfig {
    eos_token_id: Option<EndTokens>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndTokens {
    One(u32),
    Several(Vec<u32>),
}

/// Reads the defaults; without any a reply ends with the token that ends the turns of `processor`.
///
/// # Errors
/// [`LoadError`] when the file is damaged, or asks for a penalty that is none.
pub(crate) fn read(source: &Source, processor: &dyn Processor) -> Result<GenerationDefaults, LoadError> {
    let config: Option<Config> = source.json(FILE, "generation configuration")?;
    let (end_tokens, penalty) = match config {
        Some(Config { eos_token_id, repetition_penalty, others }) => {
            warn_of(&others);
            (eos_token_id, repetition_penalty)
        }
        None => (of_model(source)?, None),
    };
    let end_tokens = match end_tokens {
        Some(EndTokens::One(token)) => vec![TokenId(token)],
        Some(EndTokens::Several(tokens)) => tokens.into_iter().map(TokenId).collect(),
        None => processor.turn_end().into_iter().take(1).collect(),
    };
    let repetition_penalty = penalty.unwrap_or(1.0);
    // Logits are divided by it.
    if !repetition_penalty.is_finite() || repetition_penalty <= 0.0 {
        return Err(LoadError::Unsupported {
            file: source.path(FILE),
            key: "repetition_penalty",
            found: repetition_penalty.to_string(),
            expected: "a number above 0".into(),
        });
    }
    Ok(GenerationDefaults { end_tokens, repetition_penalty })
}

/// The end tokens of a model whose files do not say how to generate.
fn of_model(source: &Source) -> Result<Option<EndTokens>, LoadError> {
    let config: Option<ModelConfig> = source.json("config.json", "model configuration")?;
    Ok(config.and_then(|config| config.eos_token_id.or(config.text_config?.eos_token_id)))
}

/// Tells of what is not done that the checkpoint asks for.
fn warn_of(others: &BTreeMap<String, Value>) {
    let asks = |value: &Value| match value {
        Value::Null => false,
        Value::Number(number) => number.as_u64().is_none_or(|number| number > 1),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::String(_) | Value::Object(_) => true,
    };
    let left_out = LEFT_OUT.into_iter().filter(|key| others.get(*key).is_some_and(asks));
    for key in left_out {
        tracing::warn!("{FILE} has {key}, which changes nothing here");
    }
}
