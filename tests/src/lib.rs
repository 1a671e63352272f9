//! Shared code of the end-to-end tests: the built binary as a server for one test, and a small HTTP client.
//!
//! The binary is the one that `cargo build --release` puts beside the tests; build it first, or use
//! `tests/run`, which does both.

mod client;
mod collector;
mod files;
mod http;
mod keys;
mod server;
mod tool;

pub use client::{Client, client};
pub use collector::{Collector, Told, attribute};
pub use http::{Events, Response, SentEvent, read_from, send, send_raw};
pub use keys::Keys;
pub use server::{Server, binary, python, reference, run_steered};
pub use tool::{Background, free_port, run_well, signal, tool};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// An image of the reference data, as base64.
pub fn image(name: &str) -> String {
    let path = reference().join("images").join(name);
    let bytes =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    BASE64_STANDARD.encode(bytes)
}

/// Sends a POST request with a JSON body to a server at `address`, `host:port`.
pub fn post(address: &str, path: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    http::send(address, ("POST", path), &headers, body.to_string().as_bytes())
}

/// Sends a GET request to a server at `address`, `host:port`.
pub fn get(address: &str, path: &str) -> Response {
    http::send(address, ("GET", path), &[], b"")
}

/// The README's picture, as base64.
///
/// # Panics
/// When it is missing.
pub fn picture() -> String {
    let path = reference().join("../../training/examples/scene.png");
    BASE64_STANDARD.encode(std::fs::read(path).expect("the README's picture is there"))
}

/// The same as a data URL.
///
/// # Panics
/// When it is missing.
pub fn scene() -> String {
    format!("data:image/png;base64,{}", picture())
}

/// A transcript of one turn of each side in ChatML, the format of Qwen's models.
pub fn chatml(question: &str, answer: &str) -> String {
    format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n")
}

/// Removes from a body what differs when a request is repeated: the counts of cached tokens, whether the
/// verdict was remembered, and the digest of the weights, which is unknown at first.
pub fn uncounted(mut body: Value) -> Value {
    match &mut body {
        Value::Object(members) => {
            for repeated in ["cached_tokens", "memo", "weights"] {
                members.remove(repeated);
            }
            members.values_mut().for_each(|member| *member = uncounted(member.take()));
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| *element = uncounted(element.take()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    body
}

/// Calls `condition` until it holds, for at most ten seconds.
///
/// # Panics
/// When it does not hold in time.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "in ten seconds it did not come true that {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
