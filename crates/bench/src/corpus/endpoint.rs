//! The endpoints that accept content: their valid bodies, and where a client may put text and images.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::MARK;

/// An endpoint, and the form of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endpoint {
    Judge,
    JudgeStream,
    Chat,
    ChatStream,
    Reward,
    /// Text completion, without images.
    Completion,
    Responses,
    ResponsesStream,
    /// A line of a batch of chat completions.
    Batch,
}

impl Endpoint {
    /// The endpoints that a case is sent to by default.
    pub(super) fn all() -> Vec<Self> {
        vec![Self::Judge, Self::Chat, Self::ChatStream, Self::Reward]
    }

    /// The route.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Judge | Self::JudgeStream => "/judge",
            Self::Chat | Self::ChatStream | Self::Batch => "/v1/chat/completions",
            Self::Reward => "/reward",
            Self::Completion => "/v1/completions",
            Self::Responses | Self::ResponsesStream => "/v1/responses",
        }
    }

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::JudgeStream => "judge, streamed",
            Self::Chat => "chat",
            Self::ChatStream => "chat, streamed",
            Self::Reward => "reward",
            Self::Completion => "completion",
            Self::Responses => "responses",
            Self::ResponsesStream => "responses, streamed",
            Self::Batch => "chat in a batch",
        }
    }

    /// A valid body that is answered quickly.
    fn good(self) -> Value {
        let question = format!("What colour is the circle, {MARK}?");
        let answer = "The circle is orange.";
        match self {
            Self::Judge => {
                json!({ "question": question, "response": answer, "mode": "score", "memo": false })
            }
            Self::JudgeStream => json!({
                "question": question, "response": answer, "mode": "score", "memo": false, "stream": true,
            }),
            Self::Chat | Self::Batch => chat(&json!([{ "type": "text", "text": question }])),
            Self::Completion => json!({ "prompt": question, "max_tokens": 2 }),
            Self::Responses => responses(&json!([{ "type": "input_text", "text": question }])),
            Self::ResponsesStream => {
                let mut body = responses(&json!([{ "type": "input_text", "text": question }]));
                body["stream"] = json!(true);
                body
            }
            Self::ChatStream => {
                let mut body = chat(&json!([{ "type": "text", "text": question }]));
                body["stream"] = json!(true);
                body
            }
            Self::Reward => json!({
                "question": question, "responses": [answer, "The circle is purple."], "method": "pointwise",
            }),
        }
    }

    /// A valid body with other members.
    pub(super) fn with_changes(self, changes: Value) -> Value {
        merged(self.good(), changes)
    }

    /// A valid body with this text as the question.
    pub(super) fn with_text(self, text: Value) -> Value {
        let mut body = self.good();
        match self {
            Self::Judge | Self::JudgeStream | Self::Reward => body["question"] = text,
            Self::Chat | Self::ChatStream | Self::Batch => body["messages"][0]["content"][0]["text"] = text,
            Self::Completion => body["prompt"] = text,
            Self::Responses | Self::ResponsesStream => body["input"][0]["content"][0]["text"] = text,
        }
        body
    }

    /// A valid body with this text as the response to be judged, or as the question where nothing is judged.
    pub(super) fn with_response(self, text: Value) -> Value {
        let mut body = self.good();
        match self {
            Self::Judge | Self::JudgeStream => body["response"] = text,
            Self::Reward => body["responses"][0] = text,
            Self::Chat
            | Self::ChatStream
            | Self::Batch
            | Self::Completion
            | Self::Responses
            | Self::ResponsesStream => return self.with_text(text),
        }
        body
    }

    /// A valid body with these images; `None` where images are not possible.
    pub(super) fn with_images(self, images: &[Value]) -> Option<Value> {
        let mut body = self.good();
        match self {
            Self::Completion => return None,
            Self::Judge | Self::JudgeStream | Self::Reward => body["images"] = json!(images),
            Self::Responses | Self::ResponsesStream => {
                let image = |url: &Value| json!({ "type": "input_image", "image_url": url });
                let text = body["input"][0]["content"][0].take();
                let parts: Vec<Value> = images.iter().map(image).chain([text]).collect();
                body["input"][0]["content"] = json!(parts);
            }
            Self::Chat | Self::ChatStream | Self::Batch => {
                let image = |url: &Value| json!({ "type": "image_url", "image_url": { "url": url } });
                let text = body["messages"][0]["content"][0].take();
                let parts: Vec<Value> = images.iter().map(image).chain([text]).collect();
                body["messages"][0]["content"] = json!(parts);
            }
        }
        Some(body)
    }

    /// Valid bodies that have the text in one place each, with the name of the place.
    pub(super) fn everywhere(self, text: &Value) -> Vec<(&'static str, Value)> {
        let put = |changes: Value| merged(self.good(), changes);
        match self {
            Self::Judge | Self::JudgeStream => vec![
                ("question", self.with_text(text.clone())),
                ("response", self.with_response(text.clone())),
                ("reference", put(json!({ "reference": text }))),
                ("description", put(json!({ "description": text }))),
                ("criteria", put(json!({ "criteria": text, "scale": { "min": 1, "max": 5 } }))),
            ],
            Self::Reward => vec![
                ("question", self.with_text(text.clone())),
                ("response", self.with_response(text.clone())),
                ("reference", put(json!({ "reference": text }))),
            ],
            Self::Completion => vec![("prompt", self.with_text(text.clone()))],
            Self::Responses | Self::ResponsesStream => vec![
                ("user", self.with_text(text.clone())),
                ("instructions", put(json!({ "instructions": text }))),
                ("assistant", {
                    let user = json!({ "role": "user", "content": "What colour is it?" });
                    let said = json!({ "role": "assistant", "content": text });
                    put(json!({ "input": [user, said, user] }))
                }),
            ],
            Self::Chat | Self::ChatStream | Self::Batch => vec![
                ("user", self.with_text(text.clone())),
                ("system", {
                    let user = json!({ "role": "user", "content": "What colour is it?" });
                    put(json!({ "messages": [{ "role": "system", "content": text }, user] }))
                }),
                ("assistant", {
                    let user = json!({ "role": "user", "content": "What colour is it?" });
                    let said = json!({ "role": "assistant", "content": text });
                    put(json!({ "messages": [user, said, user] }))
                }),
            ],
        }
    }
}

fn chat(parts: &Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": parts }], "max_tokens": 2 })
}

fn responses(parts: &Value) -> Value {
    json!({ "input": [{ "role": "user", "content": parts }], "max_output_tokens": 2 })
}

/// Sets members of a body; the value `"$none"` removes one.
fn merged(mut body: Value, changes: Value) -> Value {
    if let (Value::Object(members), Value::Object(changes)) = (&mut body, changes) {
        for (name, value) in changes {
            if value == "$none" {
                members.remove(&name);
            } else {
                members.insert(name, value);
            }
        }
    }
    body
}
