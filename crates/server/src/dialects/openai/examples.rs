//! Examples of OpenAI's interface for the API document.

use serde_json::{Value, json};

use crate::dialects::EXAMPLE_IMAGE;

/// A request with a question about an image.
pub(super) fn turn() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            {
                "role": "user",
                "content": [
                    { "type": "image_url", "image_url": { "url": EXAMPLE_IMAGE } },
                    { "type": "text", "text": "Describe the image." },
                ],
            },
        ],
        "max_completion_tokens": 64,
    })
}

/// The answer to [`turn`].
pub(super) fn turn_answer() -> Value {
    json!({
        "id": "chatcmpl-83c98b8b31f1bedb3bcc90f265dfac8d",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gavel-mini",
        "system_fingerprint": "gavel-mini@457a68191579",
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

/// A request with a streamed answer.
pub(super) fn streamed() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            {
                "role": "user",
                "content": [
                    { "type": "image_url", "image_url": { "url": EXAMPLE_IMAGE } },
                    { "type": "text", "text": "Describe the image." },
                ],
            },
        ],
        "stream": true,
        "max_completion_tokens": 4,
        "stream_options": { "include_usage": true },
    })
}

/// The events that answer [`streamed`].
pub(super) fn streamed_answer() -> Value {
    json!([
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"delta":{"content":"A"},"logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"chatcmpl-0d2f43a3f0ce0fbd05533bb997047726","object":"chat.completion.chunk","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#,
        "",
        "data: [DONE]",
        "",
        "",
    ]
    .join("\n"))
}

/// The critic as a model.
pub(super) fn model() -> Value {
    json!({
        "id": "gavel-mini",
        "object": "model",
        "created": 1760000000,
        "owned_by": "gavel",
        "root": "gavel-mini",
        "max_model_len": 4096,
        "repetition_penalty": 1.0,
        "end_token_ids": [868],
    })
}

/// The list of models.
pub(super) fn models() -> Value {
    json!({ "object": "list", "data": [model()] })
}

/// A line of a batch's input.
pub(super) fn lines() -> Value {
    let line = json!({
        "custom_id": "one",
        "method": "POST",
        "url": "/judge",
        "body": { "question": "What is it?", "response": "A circle.", "mode": "score" },
    });
    format!("{line}\n").into()
}

/// The upload of a file with this line.
pub(super) fn file_form() -> Value {
    json!({ "purpose": "batch", "file": lines() })
}

/// The description of the file.
pub(super) fn file() -> Value {
    json!({
        "id": "file-5f0d4f1f6a8f5c6f0c0b8f8d1a2b3c4d",
        "object": "file",
        "bytes": 128,
        "created_at": 1760000000,
        "filename": "example.jsonl",
        "purpose": "batch",
        "status": "processed",
        "expires_at": 1762592000,
        "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    })
}

/// A list of files.
pub(super) fn files() -> Value {
    list(&file())
}

/// The confirmation that the file was deleted.
pub(super) fn file_deleted() -> Value {
    json!({ "id": file()["id"], "object": "file", "deleted": true })
}

/// A request to create a batch.
pub(super) fn batch_body() -> Value {
    json!({
        "input_file_id": file()["id"],
        "endpoint": "/judge",
        "completion_window": "24h",
        "metadata": { "run": "one" },
    })
}

/// The state of the batch.
pub(super) fn batch() -> Value {
    json!({
        "id": "batch_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "object": "batch",
        "endpoint": "/judge",
        "model": "gavel-mini",
        "errors": null,
        "input_file_id": file()["id"],
        "completion_window": "24h",
        "status": "in_progress",
        "output_file_id": null,
        "error_file_id": null,
        "created_at": 1760000000,
        "in_progress_at": 1760000001,
        "expires_at": 1760086400,
        "finalizing_at": null,
        "completed_at": null,
        "failed_at": null,
        "expired_at": null,
        "cancelling_at": null,
        "cancelled_at": null,
        "request_counts": { "total": 1, "completed": 0, "failed": 0 },
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 0,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 0,
        },
        "metadata": { "run": "one" },
    })
}

/// A list of batches.
pub(super) fn batches() -> Value {
    list(&batch())
}

/// A list with one item.
fn list(item: &Value) -> Value {
    let id = &item["id"];
    json!({ "object": "list", "data": [item], "first_id": id, "last_id": id, "has_more": false })
}
