//! Files and batches on a running server, as plain requests.

use serde_json::{Value, json};

use crate::{Response, Server, wait_until};

/// The boundary between the parts of a multipart form.
const BOUNDARY: &str = "a-boundary-that-no-content-has";

/// A multipart form with these fields in this order; the field named `file` is sent as a file.
fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in fields {
        let file = if *name == "file" { "; filename=\"a.jsonl\"" } else { "" };
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

impl Server {
    /// Sends a form to `/v1/files` under a key.
    pub fn send_form(&self, key: &str, fields: &[(&str, &[u8])]) -> Response {
        let (kind, key) = (format!("multipart/form-data; boundary={BOUNDARY}"), format!("Bearer {key}"));
        self.send("POST", "/v1/files", &[("content-type", &kind), ("authorization", &key)], &form(fields))
    }

    /// Stores a file under a key, and returns its id.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn keep(&self, key: &str, purpose: &str, content: &[u8]) -> String {
        let response = self.send_form(key, &[("purpose", purpose.as_bytes()), ("file", content)]);
        let (status, body) = (response.status, response.json());
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().expect("a file has an id").to_owned()
    }

    /// Sends a request under a key.
    pub fn keyed(&self, key: &str, (method, path): (&str, &str), body: &Value) -> Response {
        let key = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &headers, body.as_bytes())
    }

    /// Creates a batch of `bodies`, with their indices as custom ids, and returns its id.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn begin_batch(&self, key: &str, (endpoint, window): (&str, &str), bodies: &[Value]) -> String {
        let line = |(index, body): (usize, &Value)| {
            let line =
                json!({ "custom_id": index.to_string(), "method": "POST", "url": endpoint, "body": body });
            format!("{line}\n")
        };
        let lines: String = bodies.iter().enumerate().map(line).collect();
        let input = self.keep(key, "batch", lines.as_bytes());
        let batch = json!({ "input_file_id": input, "endpoint": endpoint, "completion_window": window });
        let response = self.keyed(key, ("POST", "/v1/batches"), &batch);
        let (status, body) = (response.status, response.json());
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().expect("a batch has an id").to_owned()
    }

    /// The state of a batch.
    pub fn batch(&self, key: &str, id: &str) -> Value {
        self.keyed(key, ("GET", &format!("/v1/batches/{id}")), &Value::Null).json()
    }

    /// Waits until a batch has ended, and returns its final state.
    ///
    /// # Panics
    /// When the batch makes no progress for ten seconds.
    pub fn ended_batch(&self, key: &str, id: &str) -> Value {
        let (mut batch, mut done) = (self.batch(key, id), -1);
        let has_ended = |batch: &Value| {
            ["completed", "failed", "expired", "cancelled"].iter().any(|state| batch["status"] == *state)
        };
        while !has_ended(&batch) {
            // As long as there is progress, a slow machine may take its time.
            wait_until("a batch goes on or ends", || {
                batch = self.batch(key, id);
                let counts = &batch["request_counts"];
                let now = counts["completed"].as_i64().unwrap_or(0) + counts["failed"].as_i64().unwrap_or(0);
                let goes_on = now > done;
                done = now;
                goes_on || has_ended(&batch)
            });
        }
        batch
    }

    /// The lines of a file; empty if `id` is not a string.
    pub fn lines(&self, key: &str, id: &Value) -> Vec<Value> {
        let Some(id) = id.as_str() else { return Vec::new() };
        let text = self.keyed(key, ("GET", &format!("/v1/files/{id}/content")), &Value::Null).text();
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}
