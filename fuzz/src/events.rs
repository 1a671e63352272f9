//! Server-sent events: whatever a critic writes, the stream keeps to the standard, has the same content as the
//! response that is not streamed, and ends once.

use serde_json::{Value, json};

use super::{
    bytes::Bytes,
    recital::{QUESTION, reciting},
};

/// An event as a strict parser reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its lines of data, joined by newlines.
    pub data: String,
}

/// Parses a stream by the standard's grammar; panics at anything that is not in it, which browsers would ignore.
pub fn parse(stream: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(stream).expect("a stream is UTF-8");
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    assert!(text.is_empty() || text.ends_with("\n\n"), "the last event is not closed: {text:?}");
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in text.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                events.push(Event { name: std::mem::take(&mut name), data: data.join("\n") });
                data.clear();
            }
            assert!(name.is_empty(), "the event {name:?} has no data");
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "event" => value.clone_into(&mut name),
            "data" => data.push(value),
            other => panic!("the field {other:?} in {text:?}"),
        }
    }
    events
}

/// Checks the stream of a response of `path`: events are JSON or `[DONE]`, and only the last one is an end.
pub fn check(path: &str, stream: &[u8]) {
    let events = parse(stream);
    let is_error = |event: &Event| {
        serde_json::from_str::<Value>(&event.data).is_ok_and(|data| data["error"].is_object())
    };
    let ends = |event: &Event| match event.name.as_str() {
        // A failed stream ends with an error in place of `[DONE]`.
        "" => event.data == "[DONE]" || is_error(event),
        name => ["verdict", "error", "done", "response.completed", "response.incomplete", "response.failed"]
            .contains(&name),
    };
    for event in events.iter().filter(|event| event.data != "[DONE]") {
        assert!(serde_json::from_str::<Value>(&event.data).is_ok(), "{path}: {event:?}");
    }
    let places: Vec<usize> =
        events.iter().enumerate().filter(|(_, event)| ends(event)).map(|(place, _)| place).collect();
    assert_eq!(places, [events.len() - 1], "{path}: {events:?}");
}

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/judge"];

/// Panics when a stream differs from the response that is not streamed.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (kind, options, bound) = (bytes.below(PATHS.len()), bytes.byte(), bytes.byte());
    let api = reciting(bytes.0);
    let most = usize::from(bound) + 1;
    let logprobs = options & 1 != 0;
    let count = usize::from(options >> 1 & 3) + 1;
    let stop = if options & 8 == 0 { json!([]) } else { json!(["\n", "ab"]) };
    let body = match kind {
        0 => json!({
            "messages": [{ "role": "user", "content": QUESTION }], "max_tokens": most, "n": count, "stop": stop,
            "logprobs": logprobs, "stream_options": { "include_usage": true }, "ignore_eos": options & 16 != 0,
        }),
        1 => json!({
            "prompt": QUESTION, "max_tokens": most, "n": count, "stop": stop, "logprobs": logprobs.then_some(1),
            "stream_options": { "include_usage": true },
        }),
        2 => json!({ "input": QUESTION, "max_output_tokens": most, "top_logprobs": i32::from(logprobs) }),
        _ => json!({
            "question": QUESTION, "response": "!", "max_tokens": most, "distribution": logprobs,
            "mode": if options & 16 == 0 { "explain_then_score" } else { "score_then_explain" },
        }),
    };
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let path = PATHS[kind];
    let whole = api.post(path, body.to_string().as_bytes());
    let stream = api.post(path, streamed.to_string().as_bytes());
    let told = || format!("{path} {body}: {}", String::from_utf8_lossy(&stream.body));
    if !stream.content_type.starts_with("text/event-stream") {
        assert_eq!(stream.status, whole.status, "{}", told());
        return;
    }
    check(path, &stream.body);
    let events: Vec<Event> = parse(&stream.body).into_iter().filter(|event| event.data != "[DONE]").collect();
    let read = |event: &Event| -> Value { serde_json::from_str(&event.data).expect("events are JSON") };
    let failed = events.iter().any(|event| {
        event.name == "error"
            || event.name == "response.failed"
            || read(event).get("error").is_some_and(Value::is_object)
    });
    assert_eq!(failed, whole.status != 200, "{} {}", whole.status, told());
    if failed {
        return;
    }
    let whole: Value = serde_json::from_slice(&whole.body).expect("answers are JSON");
    let events: Vec<Value> = events.iter().map(read).collect();
    match kind {
        0 | 1 => {
            for index in 0..count {
                let of_choice: Vec<&Value> = events
                    .iter()
                    .filter_map(|event| event["choices"].get(0))
                    .filter(|choice| choice["index"] == json!(index))
                    .collect();
                let choice = &whole["choices"][index];
                let (text, expected) = match kind {
                    0 => (joined(&of_choice, "/delta/content"), &choice["message"]["content"]),
                    _ => (joined(&of_choice, "/text"), &choice["text"]),
                };
                assert_eq!(&json!(text), expected, "{}", told());
                let reasons: Vec<&Value> = of_choice
                    .iter()
                    .map(|choice| &choice["finish_reason"])
                    .filter(|reason| !reason.is_null())
                    .collect();
                assert_eq!(reasons, [&choice["finish_reason"]], "{}", told());
            }
        }
        2 => {
            let numbers: Vec<u64> =
                events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
            assert!(numbers.iter().copied().eq(0..events.len() as u64), "{}", told());
            let text = joined(&events.iter().collect::<Vec<_>>(), "/delta");
            assert_eq!(json!(text), whole["output"][0]["content"][0]["text"], "{}", told());
        }
        _ => {
            let last = events.last().expect("a stream has an end");
            for member in ["kind", "score", "justification", "finish_reason", "distribution"] {
                assert_eq!(last[member], whole[member], "{member}: {}", told());
            }
            let text = joined(&events.iter().collect::<Vec<_>>(), "/text");
            assert_eq!(json!(text), whole["justification"], "{}", told());
        }
    }
}

/// The texts at `pointer`, concatenated.
fn joined(values: &[&Value], pointer: &str) -> String {
    values.iter().filter_map(|value| value.pointer(pointer)?.as_str()).collect()
}
