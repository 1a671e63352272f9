//! Examples of `/v1/systemone` for the API document.

use serde_json::{Value, json};

use crate::dialects::EXAMPLE_IMAGE;

/// A request with one question.
pub(super) fn systemone() -> Value {
    json!({
        "state": "A picture of a circle.",
        "images": [EXAMPLE_IMAGE],
        "questions": { "is_orange": { "type": "noul", "instructions": "Is the circle orange?" } },
    })
}

/// The answer to [`systemone`].
pub(super) fn systemone_answer() -> Value {
    json!({
        "id": "decision-0f4c1a7be2d95836a1c07e5f92d4b83c",
        "object": "structured_decision",
        "created": 1_760_000_000,
        "model": "gavel-mini",
        "answers": {
            "is_orange": {
                "type": "noul",
                "noul": 0.999952,
                "probabilities": { "yes": 0.999952, "no": 4.8e-05 },
                "confidence": 0.001524,
                "x_label_mass": 0.001524,
            },
        },
        "diagnostics": { "is_orange": { "argmax_is_label": false, "label_mass": 0.001524 } },
        "usage": {
            "input_tokens": 177,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": 0,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 177,
            "prompt_tokens": 177,
            "prompt_tokens_details": { "cached_tokens": 0 },
            "completion_tokens": 0,
        },
    })
}
