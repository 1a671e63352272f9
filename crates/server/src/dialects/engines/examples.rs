//! Examples of what programs that know other engines ask, as the API document shows them.

use serde_json::{Value, json};

/// What the critic is.
pub(super) fn model_info() -> Value {
    json!({
        "model_path": "gavel-mini",
        "tokenizer_path": "gavel-mini",
        "is_generation": true,
        "has_image_understanding": true,
        "max_model_len": 4096,
    })
}

/// The tokens of a text.
pub(super) fn tokenized() -> Value {
    json!({ "count": 4, "max_model_len": 4096, "tokens": [32, 391, 344, 13], "token_strs": null })
}

/// Tokens of a text.
pub(super) fn tokens() -> Value {
    json!({ "tokens": [32, 391, 344, 13] })
}
