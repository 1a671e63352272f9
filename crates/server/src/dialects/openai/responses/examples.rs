//! Examples of the Responses interface for the API document.

use serde_json::{Value, json};

/// A request with a text as input.
pub(super) fn whole() -> Value {
    json!({ "model": "gavel-mini", "input": "Describe a red circle.", "max_output_tokens": 4 })
}

/// The answer to [`whole`].
pub(super) fn whole_answer() -> Value {
    json!({
        "id": "resp_ca14e1798a833a8debf0bebddb0c4f50",
        "object": "response",
        "created_at": 1760000000,
        "status": "incomplete",
        "error": null,
        "incomplete_details": { "reason": "max_output_tokens" },
        "model": "gavel-mini",
        "system_fingerprint": "gavel-mini@457a68191579",
        "output": [
            {
                "id": "msg_451747b86d2e40b4e2e1893477bd0710",
                "type": "message",
                "status": "incomplete",
                "role": "assistant",
                "content": [{ "type": "output_text", "text": "ItItItIt", "annotations": [], "logprobs": [] }],
            },
        ],
        "usage": {
            "input_tokens": 13,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": 4,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 17,
        },
        "instructions": null,
        "max_output_tokens": 4,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_logprobs": 0,
        "reasoning": { "effort": null, "summary": null },
        "metadata": {},
        "user": null,
        "text": { "format": { "type": "text" } },
        "background": false,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "store": false,
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
    })
}

/// A request with messages as input and a streamed answer.
pub(super) fn streamed() -> Value {
    let content = json!([{ "type": "input_text", "text": "Describe a red circle." }]);
    json!({
        "model": "gavel-mini",
        "instructions": "Be short.",
        "input": [{ "role": "user", "content": content }],
        "max_output_tokens": 4,
        "stream": true,
    })
}

/// Some of the events that answer [`streamed`].
pub(super) fn streamed_answer() -> Value {
    json!([
        "event: response.output_text.delta",
        r#"data: {"type":"response.output_text.delta","item_id":"msg_451747b86d2e40b4e2e1893477bd0710","output_index":0,"content_index":0,"delta":"It","logprobs":[],"sequence_number":4}"#,
        "",
        "event: response.output_text.delta",
        r#"data: {"type":"response.output_text.delta","item_id":"msg_451747b86d2e40b4e2e1893477bd0710","output_index":0,"content_index":0,"delta":"It","logprobs":[],"sequence_number":5}"#,
        "",
        "event: response.output_text.done",
        r#"data: {"type":"response.output_text.done","item_id":"msg_451747b86d2e40b4e2e1893477bd0710","output_index":0,"content_index":0,"text":"ItIt","logprobs":[],"sequence_number":6}"#,
        "",
        "",
    ]
    .join("\n"))
}
