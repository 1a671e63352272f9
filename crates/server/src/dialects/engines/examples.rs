//! Examples of the routes of other engines for the API document.

use serde_json::{Value, json};

/// The description of the critic.
pub(super) fn model_info() -> Value {
    json!({
        "model_path": "gavel-mini",
        "tokenizer_path": "gavel-mini",
        "is_generation": true,
        "has_image_understanding": true,
        "max_model_len": 4096,
    })
}

/// The description of the server.
pub(super) fn server_info() -> Value {
    json!({
        "model_id": "gavel-mini",
        "model_type": { "reranker": { "id2label": { "0": "score" }, "label2id": { "score": 0 } } },
        "max_input_length": 4096,
        "max_client_batch_size": 65536,
        "auto_truncate": false,
        "version": "0.1.0",
    })
}

/// The tokens of a text, with their number.
pub(super) fn tokenized() -> Value {
    json!({ "count": 4, "max_model_len": 4096, "tokens": [32, 391, 344, 13], "token_strs": null })
}

/// Tokens to be converted to text.
pub(super) fn tokens() -> Value {
    json!({ "tokens": [32, 391, 344, 13] })
}

/// A text to continue.
pub(super) fn generate() -> Value {
    json!({ "text": "Score: 8\nThe answer", "sampling_params": { "max_new_tokens": 2, "temperature": 0 } })
}

/// The answer to [`generate`].
pub(super) fn generated() -> Value {
    json!({
        "text": "TheThe",
        "meta_info": {
            "id": "39ab3f11859f4e131848bab4eab98786",
            "finish_reason": { "type": "length" },
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "cached_tokens": 0,
        },
    })
}
