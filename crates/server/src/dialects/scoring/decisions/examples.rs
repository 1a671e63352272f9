//! Examples of `/v1/decisions` for the API document.

use serde_json::{Value, json};

use crate::dialects::EXAMPLE_IMAGE;

/// A request in OpenAI's form, with a choice and a predicate.
pub(super) fn openai() -> Value {
    json!({
        "model": "gavel",
        "input": [{
            "role": "user",
            "content": [
                { "type": "input_image", "image_url": EXAMPLE_IMAGE },
                { "type": "input_text", "text": "A picture of a circle." },
            ],
        }],
        "questions": [
            {
                "type": "choice",
                "name": "colour",
                "instructions": "What colour is the circle?",
                "choices": [{ "value": "orange" }, { "value": "purple" }],
            },
            { "type": "predicate", "name": "round", "instructions": "Is it round?" },
        ],
    })
}

/// The answer to [`openai`].
pub(super) fn openai_answer() -> Value {
    json!({
        "object": "decisions",
        "model": "gavel",
        "prompt_format_version": 1,
        "answers": [
            {
                "type": "choice",
                "name": "colour",
                "choice": "orange",
                "probabilities": [
                    { "value": "orange", "label": "orange", "probability": 0.99998 },
                    { "value": "purple", "label": "purple", "probability": 2e-05 },
                ],
                "confidence": 0.001067,
                "label_mass": 0.001067,
            },
            {
                "type": "predicate",
                "name": "round",
                "probability": 0.999995,
                "score": 0.999995,
                "probabilities": [
                    { "value": 1, "label": "yes", "probability": 0.999995 },
                    { "value": 0, "label": "no", "probability": 5e-06 },
                ],
                "confidence": 0.029571,
                "label_mass": 0.029571,
            },
        ],
        "usage": usage(),
    })
}

/// A request in SGLang's form, with a choice and a yes-or-no question.
pub(super) fn sglang() -> Value {
    json!({
        "input": "A picture of a circle.",
        "images": [EXAMPLE_IMAGE],
        "questions": [
            {
                "id": "colour",
                "type": "choice",
                "question": "What colour is the circle?",
                "options": ["orange", "purple"],
            },
            { "id": "round", "type": "yes_no", "question": "Is it round?" },
        ],
    })
}

/// The answer to [`sglang`].
pub(super) fn sglang_answer() -> Value {
    json!({
        "object": "decisions",
        "model": "gavel-mini",
        "prompt_format_version": 1,
        "answers": {
            "colour": {
                "type": "choice",
                "choice": "orange",
                "probabilities": { "orange": 0.99998, "purple": 2e-05 },
                "label_mass": 0.001067,
            },
            "round": {
                "type": "yes_no",
                "choice": "yes",
                "probabilities": { "yes": 0.999995, "no": 5e-06 },
                "label_mass": 0.029571,
            },
        },
        "usage": usage(),
    })
}

/// The token counts of both requests, which ask the critic the same.
fn usage() -> Value {
    json!({
        "input_tokens": 357,
        "input_tokens_details": { "cached_tokens": 320, "cache_write_tokens": 0 },
        "output_tokens": 0,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": 357,
        "prompt_tokens": 357,
        "prompt_tokens_details": { "cached_tokens": 320 },
        "completion_tokens": 0,
    })
}
