//! A body sent in a batch, as one line of a file, with its answer read from the batch's output.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::live::{Access, Manner, Reply, Request, ask, exchange};

/// The longest time that a batch of one line may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);
/// The boundary between the parts of a multipart form.
const BOUNDARY: &str = "a-boundary-that-no-content-has";

/// Sends a body for a route in a batch; returns the answer as if the body had been sent to the route.
///
/// # Errors
/// When the body is not JSON, or the batch fails or has no answer.
pub(crate) fn line(access: &Access, path: &str, body: &[u8]) -> Result<Reply, String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let line = json!({ "custom_id": "one", "method": "POST", "url": path, "body": body });
    let input = ok(access, &upload(access, &format!("{line}\n")))?;
    let batch = json!({ "input_file_id": input["id"], "endpoint": path, "completion_window": "24h" });
    let request = access.request("POST", "/v1/batches", batch.to_string().into_bytes());
    let id = ok(access, &request)?["id"].as_str().unwrap_or_default().to_owned();
    let start = Instant::now();
    let ended = loop {
        let batch = ask(access, &format!("/v1/batches/{id}"))?.json().unwrap_or_default();
        match batch["status"].as_str().unwrap_or_default() {
            "completed" => break batch,
            "failed" | "expired" | "cancelled" => return Err(format!("the batch ended so: {batch}")),
            _ if start.elapsed() > BATCH_TIMEOUT => return Err(format!("the batch does not end: {batch}")),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = ["output_file_id", "error_file_id"].into_iter().find_map(|name| ended[name].as_str());
    let output = output.ok_or_else(|| format!("a batch without an answer: {ended}"))?;
    let told = ask(access, &format!("/v1/files/{output}/content"))?.json().unwrap_or_default();
    let response = &told["response"];
    let status = response["status_code"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| format!("a line without a status: {told}"))?;
    let id = response["request_id"].as_str().unwrap_or_default();
    let headers = [("x-request-id", id), ("content-type", "application/json")];
    // Both files are deleted: thousands of batches are sent, and the server limits the number of files.
    for file in [input["id"].as_str().unwrap_or_default(), output] {
        let _ = exchange(
            &access.host,
            &access.request("DELETE", &format!("/v1/files/{file}"), vec![]),
            Manner::default(),
        );
    }
    Ok(Reply {
        status,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: response["body"].to_string().into_bytes(),
        time: Duration::ZERO,
    })
}

/// A multipart form with one file for a batch.
fn upload(access: &Access, content: &str) -> Request {
    let part = |head: &str, content: &str| {
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let purpose = part("name=\"purpose\"", "batch");
    let file = part("name=\"file\"; filename=\"a.jsonl\"", content);
    let mut request =
        access.request("POST", "/v1/files", format!("{purpose}{file}--{BOUNDARY}--\r\n").into_bytes());
    if let Request::Composed { headers, .. } = &mut request {
        headers.retain(|(name, _)| name != "content-type");
        headers.push((
            "content-type".to_owned(),
            format!("multipart/form-data; boundary={BOUNDARY}").into_bytes(),
        ));
    }
    request
}

/// Sends a request and returns the body of the answer, whose status must be 200.
fn ok(access: &Access, request: &Request) -> Result<Value, String> {
    let replies = exchange(&access.host, request, Manner::default()).map_err(|error| error.to_string())?;
    let reply = replies.into_iter().next().unwrap_or_default();
    let body = reply.json().unwrap_or_default();
    if reply.status == 200 { Ok(body) } else { Err(format!("status {}: {body}", reply.status)) }
}
