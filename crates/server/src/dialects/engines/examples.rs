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

/// What the server is.
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

/// The tokens of a text.
pub(super) fn tokenized() -> Value {
    json!({ "count": 4, "max_model_len": 4096, "tokens": [32, 391, 344, 13], "token_strs": null })
}

/// Tokens of a text.
pub(super) fn tokens() -> Value {
    json!({ "tokens": [32, 391, 344, 13] })
}
