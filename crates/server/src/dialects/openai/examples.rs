//! Examples of OpenAI's interface, as the API document shows them.

use serde_json::{Value, json};

use crate::dialects::PICTURE;

/// A question about a picture.
pub(super) fn turn() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            {
                "role": "user",
                "content": [
                    { "type": "image_url", "image_url": { "url": PICTURE } },
                    { "type": "text", "text": "Describe the image." },
                ],
            },
        ],
        "max_completion_tokens": 64,
    })
}

/// What comes of it.
pub(super) fn turn_answer() -> Value {
    json!({
        "id": "chatcmpl-83c98b8b31f1bedb3bcc90f265dfac8d",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gavel-mini",
        "system_fingerprint": "gavel-mini",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "A large orange circle at the large orange circle is orange, not orange.",
                    "refusal": null,
                },
                "logprobs": null,
                "finish_reason": "stop",
            },
        ],
        "usage": {
            "prompt_tokens": 149,
            "completion_tokens": 15,
            "total_tokens": 164,
            "prompt_tokens_details": { "cached_tokens": 128 },
            "completion_tokens_details": { "reasoning_tokens": 0 },
        },
    })
}

/// The text while it is written.
pub(super) fn streamed() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            {
                "role": "user",
                "content": [
                    { "type": "image_url", "image_url": { "url": PICTURE } },
                    { "type": "text", "text": "Describe the image." },
                ],
            },
        ],
        "stream": true,
        "max_completion_tokens": 4,
        "stream_options": { "include_usage": true },
    })
}

/// What comes of it.
pub(super) fn streamed_answer() -> Value {
    json!([
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini","choices":[{"index":0,"delta":{"content":"A"},"logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#,
        "",
        "data: [DONE]",
        "",
        "",
    ]
    .join("\n"))
}

/// The one model.
pub(super) fn model() -> Value {
    json!({
        "id": "gavel-mini",
        "object": "model",
        "created": 1760000000,
        "owned_by": "gavel",
        "root": "gavel-mini",
        "max_model_len": 4096,
    })
}

/// The list of models.
pub(super) fn models() -> Value {
    json!({ "object": "list", "data": [model()] })
}
