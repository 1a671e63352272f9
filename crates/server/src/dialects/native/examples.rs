//! Examples of our own interface for the API document.

use serde_json::{Value, json};

use crate::dialects::EXAMPLE_IMAGE;

/// A request to score one response.
pub(super) fn one_response() -> Value {
    json!({
        "question": "What colour is the circle?",
        "images": [EXAMPLE_IMAGE],
        "response": "The circle is purple.",
    })
}

/// The answer to [`one_response`].
pub(super) fn one_response_answer() -> Value {
    json!({
        "kind": "pointwise",
        "score": 3.0,
        "scale": { "min": 1.0, "max": 10.0, "step": 1.0 },
        "justification": "The circle is orange, not purple.",
        "finish_reason": "stop",
        "rubric": "helpfulness",
        "model": "gavel-mini",
        "usage": {
            "prompt_tokens": 185,
            "cached_tokens": 160,
            "completion_tokens": 10,
            "total_tokens": 195,
        },
        "receipt": {
            "gavel": "0.1.0",
            "model": "gavel-mini",
            "weights": "457a681915790849910dfbe35ac75539b8bb36f61e40b9d16c33f30a148f8427",
            "precision": "f32",
            "weight_form": "stored",
            "tensor_parallel": 1,
            "determinism": "exact",
            "profile": "gavel-mini",
            "format": "plain",
            "rubric": "helpfulness",
            "rubric_version": 1,
            "rubric_digest": "0db979d0641b562afc92bfe9d9c6c318e59f74d83eb51cbb1b23864e4c970ea7",
            "prompt_digest": "95a339e747008d5fba575a4d8bd8a65c70b92579beea1508f26af299dbe3b92b",
            "mode": "trained",
            "distribution": false,
            "calibration": "none",
            "max_tokens": 512,
            "temperature": 0.0,
            "top_p": 1.0,
            "seed": null,
            "repetition_penalty": 1.0,
            "end_token_ids": [868],
            "cached_tokens": 160,
            "memo": false,
            "verdict_digest": "68a415c6c31ca5808c9e7c8b5f0e0fefcb6f9d66a8e7adfdb1f39b9f2777152a",
        },
    })
}

/// A request to compare two responses in both orders, without reasons.
pub(super) fn two_responses() -> Value {
    json!({
        "question": "What colour is the circle?",
        "images": [EXAMPLE_IMAGE],
        "responses": ["The circle is orange.", "The circle is purple."],
        "mode": "score",
        "order": "both",
    })
}

/// The answer to [`two_responses`].
pub(super) fn two_responses_answer() -> Value {
    json!({
        "kind": "pairwise",
        "preference": "first",
        "distribution": {
            "probabilities": [
                { "preference": "first", "probability": 0.994845 },
                { "preference": "second", "probability": 0.000109 },
                { "preference": "tie", "probability": 0.005046 },
            ],
            "entropy": 0.032826,
            "label_mass": 0.999461,
        },
        "consistent": true,
        "justification": "",
        "finish_reason": "stop",
        "rubric": "better",
        "model": "gavel-mini",
        "usage": { "prompt_tokens": 364, "cached_tokens": 320, "completion_tokens": 4, "total_tokens": 368 },
    })
}

/// A request to score one response by a rubric of the server and by criteria of its own.
pub(super) fn several_rubrics() -> Value {
    json!({
        "question": "What colour is the circle?",
        "images": [EXAMPLE_IMAGE],
        "response": "The circle is orange.",
        "rubrics": ["helpfulness", { "criteria": "Is the colour right?", "scale": { "min": 0, "max": 1 } }],
    })
}

/// The answer to [`several_rubrics`].
pub(super) fn several_rubrics_answer() -> Value {
    json!({
        "verdicts": [
            {
                "kind": "pointwise",
                "score": 10.0,
                "scale": { "min": 1.0, "max": 10.0, "step": 1.0 },
                "justification": "It is right and complete.",
                "finish_reason": "stop",
                "rubric": "helpfulness",
                "model": "gavel-mini",
                "usage": {
                    "prompt_tokens": 185,
                    "cached_tokens": 160,
                    "completion_tokens": 9,
                    "total_tokens": 194,
                },
            },
            {
                "kind": "pointwise",
                "score": 1.0,
                "scale": { "min": 0.0, "max": 1.0, "step": 1.0 },
                "justification": "It is right and complete.",
                "finish_reason": "stop",
                "rubric": "inline",
                "model": "gavel-mini",
                "usage": {
                    "prompt_tokens": 176,
                    "cached_tokens": 160,
                    "completion_tokens": 8,
                    "total_tokens": 184,
                },
            },
        ],
    })
}

/// A request with a streamed answer.
pub(super) fn streamed() -> Value {
    json!({
        "question": "What colour is the circle?",
        "images": [EXAMPLE_IMAGE],
        "response": "The circle is purple.",
        "stream": true,
    })
}

/// The events that answer [`streamed`].
pub(super) fn streamed_answer() -> Value {
    json!([
        "event: decision",
        r#"data: {"score":3.0}"#,
        "",
        "event: justification",
        r#"data: {"text":"The"}"#,
        "",
        "event: justification",
        r#"data: {"text":" circle"}"#,
        "",
        "event: verdict",
        r#"data: {"kind": "pointwise", "score": 3.0, "scale": {"min": 1.0, "max": 10.0, "step": 1.0}, "justification": "The circle is orange, not purple.", "finish_reason": "stop", "rubric": "helpfulness", "model": "gavel-mini", "usage": {"prompt_tokens": 185, "cached_tokens": 160, "completion_tokens": 10, "total_tokens": 195}}"#,
        "",
        "",
    ]
    .join("\n"))
}

/// A request to rank responses by comparing all ordered pairs.
pub(crate) fn several_responses() -> Value {
    json!({
        "question": "What colour is the circle?",
        "images": [EXAMPLE_IMAGE],
        "responses": ["The circle is orange.", "The circle is purple.", "I like music."],
    })
}

/// The answer to [`several_responses`].
pub(crate) fn several_responses_answer() -> Value {
    json!({
        "rewards": [3.989431, 0.004117, -3.993549],
        "ranking": [0, 1, 2],
        "chosen": 0,
        "rejected": 2,
        "margin": 7.98298,
        "matrix": [[null, -0.990298, -0.999975], [0.999174, null, -0.994379], [0.999985, 0.99921, null]],
        "position_bias": { "second_place": 0.002286, "flips": 0.0 },
        "ties": 0,
        "failures": [],
        "method": "round_robin",
        "rubric": "better",
        "model": "gavel-mini",
        "usage": {
            "prompt_tokens": 1088,
            "cached_tokens": 960,
            "completion_tokens": 12,
            "total_tokens": 1100,
        },
    })
}

/// A request with two questions, in which each response is scored alone.
pub(crate) fn several_prompts() -> Value {
    json!({
        "method": "pointwise",
        "prompts": [
            {
                "question": "What colour is the circle?",
                "images": [EXAMPLE_IMAGE],
                "responses": ["The circle is orange.", "The circle is purple."],
            },
            { "question": "Is the circle red?", "images": [EXAMPLE_IMAGE], "responses": ["No.", "Yes."] },
        ],
    })
}

/// The answer to [`several_prompts`].
pub(crate) fn several_prompts_answer() -> Value {
    json!({
        "results": [
            {
                "rewards": [9.984986, 3.000858],
                "ranking": [0, 1],
                "chosen": 0,
                "rejected": 1,
                "margin": 6.984128,
                "ties": 0,
                "failures": [],
                "method": "pointwise",
                "rubric": "helpfulness",
                "model": "gavel-mini",
                "usage": {
                    "prompt_tokens": 370,
                    "cached_tokens": 320,
                    "completion_tokens": 5,
                    "total_tokens": 375,
                },
            },
            {
                "rewards": [5.584322, 5.626775],
                "ranking": [1, 0],
                "chosen": 1,
                "rejected": 0,
                "margin": 0.042453,
                "ties": 0,
                "failures": [],
                "method": "pointwise",
                "rubric": "helpfulness",
                "model": "gavel-mini",
                "usage": {
                    "prompt_tokens": 366,
                    "cached_tokens": 320,
                    "completion_tokens": 4,
                    "total_tokens": 370,
                },
            },
        ],
    })
}

/// The request of [`several_prompts`] with a streamed answer.
pub(crate) fn streamed_prompts() -> Value {
    let mut body = several_prompts();
    body["stream"] = json!(true);
    body
}

/// The events that answer [`streamed_prompts`].
pub(crate) fn streamed_prompts_answer() -> Value {
    let Value::Array(results) = several_prompts_answer()["results"].take() else { return Value::Null };
    let event = |(index, mut result): (usize, Value)| {
        result["index"] = json!(index);
        format!("event: result\ndata: {result}\n\n")
    };
    let events: String = results.into_iter().enumerate().map(event).collect();
    json!(events + "event: done\ndata: {}\n\n")
}

/// A few of the rubrics and formats that `GET /rubrics` lists.
pub(super) fn rubrics() -> Value {
    json!({
        "rubrics": [{
            "name": "helpfulness",
            "version": 1,
            "kind": "pointwise",
            "summary": "Overall: right, complete and clear. The default.",
            "criteria": "Is the response right about the images, complete and clear?",
            "scale": { "min": 1.0, "max": 10.0, "step": 1.0 },
            "direction": "higher",
            "fields": [],
            "critic_answer": "score_line",
            "reading": "written",
            "default": true,
        }],
        "formats": [{ "name": "plain", "kind": "pointwise", "held_out": false }],
    })
}
