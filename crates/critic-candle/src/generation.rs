//! How a checkpoint wants to generate: `generation_config.json`.

use critic::{GenerationDefaults, Processor, TokenId};
use serde::Deserialize;

use crate::{error::LoadError, source::Source};

const FILE: &str = "generation_config.json";

#[derive(Deserialize, Default)]
struct Config {
    eos_token_id: Option<EndTokens>,
    repetition_penalty: Option<f32>,
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
    let config: Config = source.json(FILE, "generation configuration")?.unwrap_or_default();
    let end_tokens = match config.eos_token_id {
        Some(EndTokens::One(token)) => vec![TokenId(token)],
        Some(EndTokens::Several(tokens)) => tokens.into_iter().map(TokenId).collect(),
        None => processor.turn_end().into_iter().take(1).collect(),
    };
    let repetition_penalty = config.repetition_penalty.unwrap_or(1.0);
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
