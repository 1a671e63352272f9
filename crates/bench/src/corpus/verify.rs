//! Whether an answer is what a case expects, and reveals nothing that it must not.

use serde_json::Value;

use super::case::Case;
use crate::live::{MARK, Reply};

/// The problems of an answer, whose status must be one of `statuses`; empty if there are none.
pub(crate) fn problems(case: &Case, statuses: &[u16], reply: &Reply) -> Vec<String> {
    let mut found = Vec::new();
    let said = || String::from_utf8_lossy(&reply.body).chars().take(300).collect::<String>();
    if !statuses.contains(&reply.status) {
        found.push(format!("status {} and not {statuses:?}: {}", reply.status, said()));
    }
    match reply.status {
        200 => found.extend(good_answer(reply)),
        // No answer, answers without a body, and requests that the HTTP layer refuses without giving a reason.
        0 | 204 | 304 => {}
        400 | 414 | 431 if reply.body.is_empty() => {}
        status if status >= 400 => found.extend(error_body(case, reply)),
        _ => {}
    }
    found
}

/// The part of an answer that has the verdict, the text or the error, without ids and times.
pub(crate) fn essence(reply: &Reply) -> Value {
    let body = reply.json().unwrap_or_default();
    for name in ["error", "choices", "rewards"] {
        if !body[name].is_null() {
            return body[name].clone();
        }
    }
    if body["kind"].is_string() {
        return serde_json::json!([body["score"], body["preference"], body["distribution"]]);
    }
    let texts = body["output"].as_array().into_iter().flatten().map(|item| item["content"].clone()).collect();
    if body["output"].is_array() { Value::Array(texts) } else { body }
}

/// The problems of an error's body: its form, its code, and internals that it reveals.
fn error_body(case: &Case, reply: &Reply) -> Vec<String> {
    let text = String::from_utf8_lossy(&reply.body);
    let Some(body) = reply.json() else {
        return vec![format!(
            "an error whose body is no JSON: {}",
            text.chars().take(200).collect::<String>()
        )];
    };
    let mut found = Vec::new();
    let error = &body["error"];
    for member in ["message", "type", "code"] {
        if !error[member].is_string() {
            found.push(format!("error.{member} is no text: {body}"));
        }
    }
    if !(error["param"].is_string() || error["param"].is_null()) {
        found.push(format!("error.param is neither text nor null: {body}"));
    }
    if reply.header("x-request-id").is_none_or(str::is_empty) {
        found.push("an error without x-request-id".to_owned());
    }
    let code = error["code"].as_str().unwrap_or_default();
    if !case.code.is_empty() && !case.code.iter().any(|expected| expected == code) {
        found.push(format!("code {code:?} and not {:?}: {}", case.code, error["message"]));
    }
    let message = error["message"].as_str().unwrap_or_default();
    if message.chars().count() > 600 {
        found.push(format!("a message of {} characters", message.chars().count()));
    }
    found.extend(leak(&text).map(|what| format!("the error tells {what}: {message}")));
    found
}

/// Which internal detail a text reveals, if any.
pub(crate) fn leak(text: &str) -> Option<&'static str> {
    let signs = [
        ("/home/", "a path"),
        ("/root/", "a path"),
        ("/usr/", "a path"),
        ("/tmp/", "a path"),
        (".rs:", "a place in the program"),
        ("::", "the name of a type"),
        ("struct ", "the name of a type"),
        ("untagged enum", "the name of a type"),
        ("Option<", "the name of a type"),
        ("Vec<", "the name of a type"),
        ("panicked", "a panic"),
        ("RUST_BACKTRACE", "a panic"),
        (MARK, "what the client asked"),
    ];
    if let Some((_, what)) = signs.iter().find(|(sign, _)| text.contains(sign)) {
        return Some(what);
    }
    // Sizes of images contain an x, too.
    let is_pointer = |(place, _): (usize, &str)| {
        let before = text[..place].chars().next_back();
        let digits = text[place + 2..].chars().take_while(char::is_ascii_hexdigit).count();
        digits >= 4 && !before.is_some_and(|c| c.is_ascii_digit())
    };
    if text.match_indices("0x").any(is_pointer) {
        return Some("an address in memory");
    }
    let is_address = |word: &str| {
        let parts: Vec<&str> = word.split('.').collect();
        parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok())
    };
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).any(is_address).then_some("an address")
}

/// What is wrong with an answer of status 200; `None` if nothing is, or its content is not ours.
fn good_answer(reply: &Reply) -> Option<String> {
    let kind = reply.header("content-type").unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        let text = String::from_utf8_lossy(&reply.body);
        let ends = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let endings =
            ["event: verdict", "event: response.completed", "event: response.incomplete", "event: done"];
        let ended = ends.ends_with("data: [DONE]") || endings.iter().any(|ending| ends.starts_with(ending));
        let failed = ["event: error", "event: response.failed", "data: {\"error\""];
        let failed = text.lines().any(|line| failed.iter().any(|sign| line.starts_with(sign)));
        // The end marker occurs once.
        let ended = ended && text.lines().filter(|line| *line == "data: [DONE]").count() <= 1;
        return (failed || !ended)
            .then(|| format!("a stream that ends badly: {}", ends.chars().take(200).collect::<String>()));
    }
    if !kind.starts_with("application/json") || reply.body.is_empty() {
        return None;
    }
    let Some(body) = reply.json() else { return Some("a body that is no JSON".to_owned()) };
    let sane = match &body {
        Value::Object(members) if members.contains_key("kind") => {
            body["score"].as_f64().is_some_and(f64::is_finite) || body["preference"].is_string()
        }
        Value::Object(members) if members.contains_key("choices") => {
            let choices = body["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
            !choices.is_empty()
                && choices.iter().all(|choice| {
                    let message = &choice["message"];
                    message["content"].is_string()
                        || message["tool_calls"].is_array()
                        || choice["text"].is_string()
                })
        }
        Value::Object(members) if members.get("object").is_some_and(|kind| kind == "response") => {
            let ended = ["completed", "incomplete"].iter().any(|status| body["status"] == *status);
            ended && body["output"].as_array().is_some_and(|output| !output.is_empty())
        }
        Value::Object(members) if members.contains_key("rewards") => {
            let rewards = body["rewards"].as_array().map(Vec::as_slice).unwrap_or_default();
            !rewards.is_empty() && rewards.iter().all(Value::is_number)
        }
        _ => true,
    };
    (!sane).then(|| {
        format!("an answer that makes no sense: {}", body.to_string().chars().take(300).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::leak;

    #[test]
    fn what_tells_of_the_inside_is_seen() {
        for text in
            ["in /usr/lib", "at 0x7f00", "Option<u8>", "from 10.0.0.1 it", "core::fmt", "a quokkaberry"]
        {
            assert!(leak(text).is_some(), "{text}");
        }
        for text in ["version 1.2.3", "at least 1, not 0.", "The body is not JSON: line 1 column 2."] {
            assert_eq!(leak(text), None, "{text}");
        }
    }
}
