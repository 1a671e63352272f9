//! Examples of text completions for the API document.

use serde_json::{Value, json};

/// A request with a text to continue.
pub(super) fn whole() -> Value {
    json!({ "model": "gavel-mini", "prompt": "Score: 8\nThe answer", "max_tokens": 2, "logprobs": 1 })
}

/// The answer to [`whole`].
pub(super) fn whole_answer() -> Value {
    json!({
        "id": "cmpl-39ab3f11859f4e131848bab4eab98786",
        "object": "text_completion",
        "created": 1760000000,
        "model": "gavel-mini",
        "system_fingerprint": "gavel-mini@457a68191579",
        "choices": [
            {
                "index": 0,
                "text": "TheThe",
                "logprobs": {
                    "tokens": ["The", "The"],
                    "token_logprobs": [-0.4801453, -0.6458208],
                    "top_logprobs": [{ "The": -0.4801453 }, { "The": -0.6458208 }],
                    "text_offset": [0, 3],
                },
                "finish_reason": "length",
            },
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "total_tokens": 9,
            "prompt_tokens_details": { "cached_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0 },
        },
    })
}

/// A request with a streamed answer.
pub(super) fn streamed() -> Value {
    json!({ "model": "gavel-mini", "prompt": "Score: 8\nThe answer", "max_tokens": 2, "stream": true })
}

/// The events that answer [`streamed`].
pub(super) fn streamed_answer() -> Value {
    json!([
        r#"data: {"id":"cmpl-465f14c5cb95be8b3b8ebafa074649d1","object":"text_completion","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"text":"The","logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"cmpl-465f14c5cb95be8b3b8ebafa074649d1","object":"text_completion","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"text":"The","logprobs":null,"finish_reason":null}]}"#,
        "",
        r#"data: {"id":"cmpl-465f14c5cb95be8b3b8ebafa074649d1","object":"text_completion","created":1760000000,"model":"gavel-mini","system_fingerprint":"gavel-mini@457a68191579","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}]}"#,
        "",
        "data: [DONE]",
        "",
        "",
    ]
    .join("\n"))
}
