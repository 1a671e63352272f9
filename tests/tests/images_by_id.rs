//! Registered images, named by their ids or by their content wherever an image can be given.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::{Server, picture, uncounted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const QUESTION: &str = "What colour is the circle?";
const ANSWER: &str = "The circle is orange.";
const KEY: &str = "one";

fn server() -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_options(&["--data-dir", &folder.path().to_string_lossy()]);
    (folder, server)
}

fn png() -> Vec<u8> {
    BASE64_STANDARD.decode(picture()).unwrap()
}

fn sha256() -> String {
    Sha256::digest(png()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer without the members that differ from request to request.
fn told(response: gavel_tests::Response, path: &str) -> Value {
    let (status, mut body) = (response.status, response.json());
    assert_eq!(status, 200, "{path}: {body}");
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !["id", "created", "created_at", "receipt"].contains(&name.as_str()));
    }
    uncounted(body)
}

/// Requests in every dialect with an image that is given as `image`, or as `in_text` inside of texts.
fn requests(image: &str, in_text: &str) -> Vec<(&'static str, Value)> {
    let url = json!({ "type": "image_url", "image_url": { "url": image } });
    let text = json!({ "type": "text", "text": QUESTION });
    let user = |parts: Value| json!([{ "role": "user", "content": parts }]);
    let transcript = |question: &str| {
        format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{ANSWER}<|im_end|>\n")
    };
    let (plain, shown) = (transcript(QUESTION), transcript(&format!("{in_text}\n{QUESTION}")));
    // A data URL is a part of its message, while names are in the text.
    let in_message = if in_text.starts_with("data:") {
        json!([url, text])
    } else {
        json!(format!("{in_text}\n{QUESTION}"))
    };
    vec![
        ("/v1/chat/completions", json!({ "messages": user(json!([url, text])), "max_tokens": 8 })),
        (
            "/v1/chat/completions",
            json!({ "messages": user(json!([{ "type": "input_image", "image_url": image }, text])), "max_tokens": 8 }),
        ),
        ("/judge", json!({ "question": QUESTION, "images": [image], "response": ANSWER, "mode": "score" })),
        ("/reward", json!({ "question": QUESTION, "images": [image], "responses": [ANSWER, "A cat."] })),
        ("/get_reward", json!({ "query": [plain], "labels": [{ "image": image }] })),
        ("/get_reward", json!({ "query": [plain], "labels": [json!({ "images": [image] }).to_string()] })),
        ("/get_reward", json!({ "query": [shown] })),
        ("/rm", json!({ "prompt": QUESTION, "response": ANSWER, "label": { "image": image } })),
        ("/rm", json!({ "prompt": user(in_message), "response": ANSWER })),
        ("/v1/score/evaluation", json!({ "model": "model", "messages": [shown] })),
        ("/classify", json!({ "input": shown })),
        (
            "/v1/chat/reward",
            json!({ "messages": [
            { "role": "user", "content": [url, text] }, { "role": "assistant", "content": ANSWER },
        ] }),
        ),
    ]
}

#[test]
fn an_image_is_the_same_whatever_names_it() {
    let (_folder, server) = server();
    let id = server.keep(KEY, "vision", &png());
    let inline = format!("data:image/png;base64,{}", picture());
    let ask = |(path, body): &(&str, Value)| told(server.keyed(KEY, ("POST", path), body), path);
    let expected: Vec<Value> = requests(&inline, &inline).iter().map(ask).collect();
    let content = sha256();
    for (name, in_text) in [
        (id.clone(), format!("<image:{id}>")),
        (format!("sha256:{content}"), format!("<image:{content}>")),
        (format!("sha256:{}", content.to_uppercase()), format!("<image:sha256:{content}>")),
        // The digits of the digest alone name it too, in upper or lower case.
        (content.clone(), format!("<image:{}>", content.to_uppercase())),
    ] {
        for (request, expected) in requests(&name, &in_text).iter().zip(&expected) {
            assert_eq!(&ask(request), expected, "{request:?}");
        }
    }
    // In the form of a part of the Responses API.
    let parts = json!([{ "type": "input_image", "file_id": id }, { "type": "input_text", "text": QUESTION }]);
    let chat = json!({ "messages": [{ "role": "user", "content": parts }], "max_tokens": 8 });
    assert_eq!(&ask(&("/v1/chat/completions", chat)), &expected[0]);
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let (_folder, server) = server();
    let id = server.keep(KEY, "vision", &png());
    let lines = server.keep(KEY, "batch", &png());
    let unknown = "file-0123456789abcdef0123456789abcdef";
    let refusal = |key: &str, (path, body): &(&str, Value)| {
        let response = server.keyed(key, ("POST", path), body);
        assert_eq!(response.status, 400, "{path}");
        response.json()
    };
    for request in requests(unknown, &format!("<image:{unknown}>")) {
        let error = &refusal(KEY, &request)["error"];
        assert_eq!(error["code"], "unknown_image", "{error}");
        assert!(
            error["message"].as_str().unwrap().contains(unknown) && error["param"].is_string(),
            "{error}"
        );
    }
    let judge = |image: &str| {
        ("/judge", json!({ "question": QUESTION, "images": [picture(), image], "response": ANSWER }))
    };
    let error = refusal("two", &judge(&id));
    assert_eq!(
        (&error["error"]["code"], &error["error"]["param"]),
        (&json!("unknown_image"), &json!("images[1]"))
    );
    assert_eq!(refusal("two", &judge(&format!("sha256:{}", sha256())))["code"], "unknown_image");
    let error = refusal(KEY, &judge(&lines));
    assert!(
        error["code"] == "invalid_image" && error["message"].as_str().unwrap().contains("batch"),
        "{error}"
    );
    server.keyed(KEY, ("DELETE", &format!("/v1/files/{id}")), &Value::Null);
    assert_eq!(refusal(KEY, &judge(&id))["code"], "unknown_image");

    let without = Server::with_options(&[]);
    let response = without.keyed(KEY, ("POST", "/judge"), &judge(&id).1);
    let (status, body) = (response.status, response.json());
    assert_eq!(
        (status, &body["code"], &body["error"]["param"]),
        (400, &json!("no_data_dir"), &json!("images[1]"))
    );
}

#[test]
fn a_registered_image_has_the_limit_of_any_image() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_string_lossy();
    let server = Server::with_options(&["--data-dir", &folder, "--max-image-mib", "1"]);
    let judge = |id: &str| {
        let body = json!({ "question": QUESTION, "images": [id], "response": ANSWER, "mode": "score" });
        let response = server.keyed(KEY, ("POST", "/judge"), &body);
        (response.status, response.json())
    };
    let small = server.keep(KEY, "vision", &png());
    assert_eq!(judge(&small).0, 200);
    let mut large = png();
    large.resize((1 << 20) + 1, 0);
    let (status, error) = judge(&server.keep(KEY, "vision", &large));
    assert_eq!((status, &error["code"]), (400, &json!("image_file_too_large")), "{error}");
    // An image in the body itself has the same code.
    large.resize(2 << 20, 0);
    assert_eq!(judge(&BASE64_STANDARD.encode(&large)).1["code"], error["code"]);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("1048576 bytes") && message.contains("max_image_mib"), "{message}");
}

#[test]
fn what_an_answer_says_shows_nothing() {
    let (_folder, server) = server();
    let id = server.keep(KEY, "vision", &png());
    let reward = |answer: &str| {
        let body = json!({ "prompt": QUESTION, "response": answer });
        told(server.keyed(KEY, ("POST", "/rm"), &body), "/rm").as_f64().unwrap()
    };
    // In an answer the marks are plain text, whether the image exists or not.
    reward("<image:file-0123456789abcdef0123456789abcdef>");
    let (marked, shown) = (reward(&format!("<image:{id}> Orange.")), json!({ "image": id }));
    let body = json!({ "prompt": QUESTION, "response": format!("<image:{id}> Orange."), "label": shown });
    let with_image = told(server.keyed(KEY, ("POST", "/rm"), &body), "/rm").as_f64().unwrap();
    assert!((marked - with_image).abs() > 1e-9, "the image was shown to whoever wrote its name");
    // Text that is not a mark stays in the question. A mark of an unknown image is refused, since the question would
    // be judged without its image.
    let ask = |prompt: String| {
        let response =
            server.keyed(KEY, ("POST", "/rm"), &json!({ "prompt": prompt, "response": "It is round." }));
        (response.status, response.json())
    };
    let plain = ask("<image>\nWhat does <image: mean?".into());
    assert_eq!(plain.0, 200, "{plain:?}");
    let digits = sha256();
    for name in
        ["logo", "SHA256", "sha256:abc", &digits[1..], &id.to_uppercase(), "scene.png", "http://a/b.png", ""]
    {
        let (status, body) = ask(format!("<image:{name}>\n{QUESTION}"));
        assert_eq!(
            (status, &body["code"], &body["error"]["param"]),
            (400, &json!("unknown_image"), &json!("prompt")),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_image_is_not_registered_as_one() {
    let (_folder, server) = server();
    let send = |purpose: &[u8], content: &[u8]| {
        // With the fields in either order.
        let first = server.send_form(KEY, &[("purpose", purpose), ("file", content)]);
        let second = server.send_form(KEY, &[("file", content), ("purpose", purpose)]);
        assert_eq!(first.status, second.status);
        (first.status, first.json())
    };
    for (content, code) in [
        (&b"{}"[..], "unsupported_image_media_type"),
        (&b"%PDF-1.7"[..], "unsupported_image_media_type"),
        (&b"RIFF\0\0\0\0WAVEfmt "[..], "unsupported_image_media_type"),
        (&b""[..], "empty_image_file"),
    ] {
        let (status, body) = send(b"vision", content);
        assert_eq!(
            (status, &body["code"], &body["error"]["param"]),
            (400, &json!(code), &json!("file")),
            "{body}"
        );
    }
    assert_eq!(send(b"user_data", b"{}").0, 200);
    assert_eq!(send(b"vision", &png()).0, 200);
}

#[test]
fn the_lifetime_of_a_file_begins_when_it_is_created() {
    let (_folder, server) = server();
    let send = |anchor: &[u8]| {
        let lifetime: [(&str, &[u8]); 2] =
            [("expires_after[anchor]", anchor), ("expires_after[seconds]", b"3600")];
        let file: [(&str, &[u8]); 2] = [("purpose", b"user_data"), ("file", b"x")];
        server.send_form(KEY, &[lifetime, file].concat())
    };
    let refused = send(b"last_active_at");
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("expires_after")));
    let kept = send(b"created_at").json();
    let time = |name: &str| kept[name].as_i64().unwrap();
    assert_eq!(time("expires_at"), time("created_at") + 3600, "{kept}");
}

#[test]
fn without_keys_a_client_s_key_owns_its_files_in_whichever_header_it_is() {
    let (_folder, server) = server();
    let id = server.keep(KEY, "vision", &png());
    let status =
        |headers: &[(&str, &str)]| server.send("GET", &format!("/v1/files/{id}"), headers, b"").status;
    let bearer = format!("Bearer {KEY}");
    for headers in [[("authorization", &*bearer)], [("api-key", KEY)], [("x-api-key", KEY)]] {
        assert_eq!(status(&headers), 200, "{headers:?}");
    }
    for headers in [&[][..], &[("api-key", "two")], &[("authorization", "Bearer two")]] {
        assert_eq!(status(headers), 404, "{headers:?}");
    }
    // Below a base that is a full URL, it is the same file.
    let path = format!("/v1/chat/completions/files/{id}");
    assert_eq!(server.keyed(KEY, ("GET", &path), &Value::Null).json()["id"], id);
}
