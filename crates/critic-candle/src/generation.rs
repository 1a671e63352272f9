//! The generation defaults of a checkpoint: `generation_config.json`.

use std::collections::BTreeMap;

use critic::{GenerationDefaults, Processor, TokenId};
use serde::Deserialize;
use serde_json::Value;

use crate::{error::LoadError, source::Source};

const FILE: &str = "generation_config.json";

/// Settings that are not supported; a warning is logged when one has an effect.
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

/// The end tokens in `config.json`, used where there is no `generation_config.json`.
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

/// Reads the defaults. Where no file names end tokens, the only one is the token that ends a turn in `processor`'s
/// format.
///
/// # Errors
/// [`LoadError`] when a file cannot be read or parsed, and [`LoadError::Unsupported`] when the penalty is not above
/// 0.
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
    // Logits are divided by the penalty.
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

/// The end tokens in `config.json`, its own or else those of its text configuration.
fn of_model(source: &Source) -> Result<Option<EndTokens>, LoadError> {
    let config: Option<ModelConfig> = source.json("config.json", "model configuration")?;
    Ok(config.and_then(|config| config.eos_token_id.or(config.text_config?.eos_token_id)))
}

/// Logs a warning for each unsupported setting that has an effect.
fn warn_of(others: &BTreeMap<String, Value>) {
    let asks = |key: &str, value: &Value| match value {
        Value::Null => false,
        // Any number is a token, and 0 or 1 of anything else changes nothing.
        Value::Number(_) if key.ends_with("_token_id") => true,
        Value::Number(number) => number.as_u64().is_none_or(|number| number > 1),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::String(_) | Value::Object(_) => true,
    };
    let left_out = LEFT_OUT.into_iter().filter(|key| others.get(*key).is_some_and(|value| asks(key, value)));
    for key in left_out {
        tracing::warn!("{FILE} has {key}, which changes nothing here");
    }
}
