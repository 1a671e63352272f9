//! Examples of the interfaces of other servers for the API document.

use serde_json::{Value, json};

use crate::dialects::EXAMPLE_IMAGE;

/// A request with two transcripts and their images in the labels.
pub(super) fn get_reward() -> Value {
    json!({
        "query": [
            "<|im_start|>user\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\nThe circle is orange.<|im_end|>\n",
            "<|im_start|>user\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\nThe circle is purple.<|im_end|>\n",
        ],
        "prompts": [
            "<|im_start|>user\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\n",
            "<|im_start|>user\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\n",
        ],
        "labels": [{ "image": EXAMPLE_IMAGE }, { "image": EXAMPLE_IMAGE }],
    })
}

/// The answer to [`get_reward`].
pub(super) fn get_reward_answer() -> Value {
    json!({
        "rewards": [0.998332, 0.222318],
        "scores": [0.998332, 0.222318],
        "extra_logs": {
            "expected_score": [9.984986, 3.000858],
            "label_mass": [0.998148, 0.999538],
            "entropy": [0.01962, 0.002833],
        },
    })
}

/// A request with a prompt of messages and its answer.
pub(super) fn remote_rm() -> Value {
    json!({
        "prompt": [{ "role": "user", "content": "What colour is the circle?" }],
        "response": "The circle is orange.",
        "label": { "image": EXAMPLE_IMAGE, "reference": "The circle is orange." },
    })
}

/// The answer to [`remote_rm`].
pub(super) fn remote_rm_answer() -> Value {
    json!(0.998896)
}

/// A request with two transcripts.
pub(super) fn evaluation() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            transcript("The circle is orange."),
            transcript("The circle is purple."),
        ],
    })
}

/// The answer to [`evaluation`].
pub(super) fn evaluation_answer() -> Value {
    json!({
        "id": "scoreval-fb9b20b419d93cd73fb7ae5fcf0f1ca6",
        "object": "score.evaluation",
        "model": "gavel-mini",
        "scores": [0.998332, 0.222318],
    })
}

/// A request with two transcripts.
pub(super) fn classify() -> Value {
    json!({
        "model": "gavel-mini",
        "input": [
            transcript("The circle is orange."),
            transcript("The circle is purple."),
        ],
    })
}

/// The answer to [`classify`].
pub(super) fn classify_answer() -> Value {
    json!({
        "id": "classify-27bd8940cbf9ae6113b49a50fa29bb6d",
        "object": "list",
        "created": 1760000000,
        "model": "gavel-mini",
        "data": [
            { "index": 0, "label": "score", "probs": [0.998332], "num_classes": 1 },
            { "index": 1, "label": "score", "probs": [0.222318], "num_classes": 1 },
        ],
        "usage": { "prompt_tokens": 370, "total_tokens": 370, "completion_tokens": 0 },
    })
}

/// A request with a transcript in SGLang's own form.
pub(super) fn classify_text() -> Value {
    json!({ "text": transcript("The circle is orange.") })
}

/// The answer to [`classify_text`].
pub(super) fn classify_text_answer() -> Value {
    json!([{ "embedding": [0.998332], "meta_info": { "prompt_tokens": 185 } }])
}

/// A request with a transcript.
pub(super) fn pooling() -> Value {
    json!({
        "model": "gavel-mini",
        "input": [transcript("The circle is orange.")],
    })
}

/// The answer to [`pooling`].
pub(super) fn pooling_answer() -> Value {
    json!({
        "object": "list",
        "model": "gavel-mini",
        "data": [{ "index": 0, "object": "pooling", "data": [0.998332] }],
        "usage": { "prompt_tokens": 185, "total_tokens": 185, "completion_tokens": 0 },
    })
}

/// A request with a transcript.
pub(super) fn embeddings() -> Value {
    json!({
        "model": "gavel-mini",
        "input": [transcript("The circle is orange.")],
    })
}

/// The answer to [`embeddings`].
pub(super) fn embeddings_answer() -> Value {
    json!({
        "object": "list",
        "model": "gavel-mini",
        "data": [{ "index": 0, "object": "embedding", "embedding": [0.998332] }],
        "usage": { "prompt_tokens": 185, "total_tokens": 185, "completion_tokens": 0 },
    })
}

/// A request with two answers to one question.
pub(super) fn score() -> Value {
    json!({
        "model": "gavel-mini",
        "queries": {
            "content": [
                { "type": "image_url", "image_url": { "url": EXAMPLE_IMAGE } },
                { "type": "text", "text": "What colour is the circle?" },
            ],
        },
        "documents": ["The circle is orange.", "The circle is purple."],
    })
}

/// The answer to [`score`].
pub(super) fn score_answer() -> Value {
    json!({
        "id": "score-5075d5120e7923519f6752ff6c2c77f4",
        "object": "list",
        "created": 1760000000,
        "model": "gavel-mini",
        "data": [
            { "index": 0, "object": "score", "score": 0.998332 },
            { "index": 1, "object": "score", "score": 0.222318 },
        ],
        "usage": { "prompt_tokens": 370, "total_tokens": 370, "completion_tokens": 0 },
    })
}

/// A request with a text, and the tokens that may follow it.
pub(super) fn generative() -> Value {
    json!({
        "query": "Is an orange a fruit?",
        "items": [" Yes or no?"],
        "label_token_ids": [9, 10],
        "apply_softmax": true,
    })
}

/// The answer to [`generative`].
pub(super) fn generative_answer() -> Value {
    json!({
        "scores": [[0.548981, 0.451019]],
        "model": "gavel-mini",
        "object": "scoring",
        "usage": { "prompt_tokens": 15, "total_tokens": 15 },
    })
}

/// A request with a text, and the tokens that may follow it.
pub(super) fn first_tokens() -> Value {
    json!({ "query": "Is an orange a fruit?", "items": [" Yes or no?"], "label_token_ids": [9, 10] })
}

/// The answer to [`first_tokens`].
pub(super) fn first_tokens_answer() -> Value {
    json!({
        "id": "generative-score-043079db17b131a4dc6c2ab47522fe43",
        "object": "list",
        "created": 1760000000,
        "model": "gavel-mini",
        "data": [{ "index": 0, "object": "score", "score": 0.548981 }],
        "results": [{ "index": 0, "token_probs": { "9": 0.548981, "10": 0.451019 } }],
        "usage": { "prompt_tokens": 15, "total_tokens": 15 },
    })
}

/// A request with two answers, of which the better one is returned.
pub(super) fn rerank() -> Value {
    json!({
        "model": "gavel-mini",
        "query": {
            "content": [
                { "type": "image_url", "image_url": { "url": EXAMPLE_IMAGE } },
                { "type": "text", "text": "What colour is the circle?" },
            ],
        },
        "documents": ["The circle is purple.", "The circle is orange."],
        "top_n": 1,
    })
}

/// The answer to [`rerank`].
pub(super) fn rerank_answer() -> Value {
    json!({
        "id": "rerank-0db38dc364e7ae5425492813a06e35fd",
        "object": "list",
        "model": "gavel-mini",
        "usage": { "prompt_tokens": 370, "total_tokens": 370, "completion_tokens": 0 },
        "results": [
            {
                "index": 1,
                "relevance_score": 0.998332,
                "score": 0.998332,
                "document": { "text": "The circle is orange." },
            },
        ],
        "meta": { "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } },
    })
}

/// A request with two answers in the form of text-embeddings-inference.
pub(super) fn rerank_texts() -> Value {
    json!({ "query": "Is a circle round?", "texts": ["No.", "Yes."] })
}

/// The answer to [`rerank_texts`].
pub(super) fn rerank_texts_answer() -> Value {
    json!([{ "index": 1, "score": 0.769597 }, { "index": 0, "score": 0.757076 }])
}

/// A request with a question and its answer, and a transcript.
pub(super) fn predict() -> Value {
    json!({ "inputs": [["Is a circle round?", "Yes."], [transcript("The circle is orange.")]] })
}

/// The answer to [`predict`].
pub(super) fn predict_answer() -> Value {
    json!([[{ "score": 0.769597, "label": "score" }], [{ "score": 0.998332, "label": "score" }]])
}

/// A request with a question about an image and its answer.
pub(super) fn chat_reward() -> Value {
    json!({
        "model": "gavel-mini",
        "messages": [
            {
                "role": "user",
                "content": [
                    { "type": "image_url", "image_url": { "url": EXAMPLE_IMAGE } },
                    { "type": "text", "text": "What colour is the circle?" },
                ],
            },
            { "role": "assistant", "content": "The circle is orange." },
        ],
    })
}

/// The answer to [`chat_reward`].
pub(super) fn chat_reward_answer() -> Value {
    json!({
        "id": "chatreward-18b971f3b3aebe34a199089d804fc27c",
        "object": "chat.reward",
        "created": 1760000000,
        "model": "gavel-mini",
        "data": [{ "index": 0, "object": "reward", "score": [0.998332] }],
        "usage": { "prompt_tokens": 185, "total_tokens": 185, "completion_tokens": 0 },
    })
}

/// A transcript with a question about the image and its answer.
fn transcript(answer: &str) -> String {
    format!(
        "<|im_start|>user\n{EXAMPLE_IMAGE}\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
    )
}
