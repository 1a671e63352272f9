//! Images in every form in which clients send them, and the number of tiles by `detail`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image, uncounted};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// The answer to a user message, and its token usage; `extra` has further members of the body.
#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn answer(server: &Server, content: Value, extra: Value) -> (Value, Value) {
    let mut body =
        json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 8, "ignore_eos": true });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let completion = server.ok(CHAT, &body);
    (completion["choices"][0]["message"]["content"].clone(), uncounted(completion["usage"].clone()))
}

#[test]
fn an_image_is_seen_in_any_shape() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let url = format!("data:image/png;base64,{picture}");
    let text = json!({ "type": "text", "text": "What is it?" });
    let with = |part: Value| answer(&server, json!([part, text]), json!({}));
    let seen = with(json!({ "type": "image_url", "image_url": { "url": url } }));
    assert_ne!(seen, answer(&server, json!([text]), json!({})));
    let wrapped: String =
        picture.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\n").collect();
    // As browsers write a data URL inside of another one.
    let escaped = picture.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    assert!(escaped.contains('%'));
    for part in [
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{escaped}") } }),
        // The bytes decide the format, not the media type of the URL.
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/jpeg;base64,{picture}") } }),
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/jpeg;base64, {picture}") } }),
        json!({ "type": "image_url", "image_url": { "url": format!("data:application/octet-stream;base64,{picture}") } }),
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/webp;base64,{picture}") } }),
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{wrapped}") } }),
        json!({ "type": "image_url", "image_url": { "url": format!(" {url}\n") } }),
        json!({ "type": "image_url", "image_url": url }),
        json!({ "type": "image_url", "image_url": picture }),
        json!({ "type": "image_url", "image_url": { "url": url, "detail": "auto" } }),
        json!({ "type": "input_image", "image_url": url, "detail": "auto" }),
        json!({ "type": "image", "image": picture }),
        json!({ "type": "image", "image": url }),
        json!({ "type": "image", "image": { "url": url } }),
        json!({ "image": url }),
        // As templates and data sets of Hugging Face have them.
        json!({ "type": "image", "url": url }),
        json!({ "type": "image", "base64": picture }),
        json!({ "type": "image", "image": { "bytes": picture, "path": null } }),
        json!({ "type": "image_url", "image_url": { "bytes": picture, "path": "scene.png" } }),
    ] {
        assert_eq!(with(part.clone()), seen, "{part}");
    }
    // Parts in the form of Qwen's interface.
    assert_eq!(answer(&server, json!([{ "image": url }, { "text": "What is it?" }]), json!({})), seen);
    // Images beside the messages, with a placeholder in the text or without one.
    let apart = |text: &str, images: Value| answer(&server, json!(text), json!({ "images": images }));
    assert_eq!(apart("<image>What is it?", json!([picture])), seen);
    assert_eq!(apart("What is it?", json!([{ "url": url }])), seen);
    let placed = |parts: Value, images: Value| answer(&server, parts, json!({ "images": images }));
    assert_eq!(placed(json!([{ "type": "image" }, text]), json!([picture])), seen);
    assert_eq!(placed(json!([{ "type": "image", "image": null }, text]), json!([url])), seen);
    // A place for which there is no image is a mistake.
    for (parts, images) in [
        (json!([{ "type": "image" }, text]), json!([])),
        (json!([{ "type": "image" }, { "type": "image" }, text]), json!([picture])),
    ] {
        let body = json!({ "messages": [{ "role": "user", "content": parts }], "images": images });
        let refused = server.post(CHAT, &body);
        let place = format!("messages[0].content[{}]", parts.as_array().unwrap().len() - 2);
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(place.as_str())));
    }
    assert_eq!(apart("What is it?", json!([])), answer(&server, json!("What is it?"), json!({})));
    // Without images beside the messages, the placeholder is text.
    let marked = answer(&server, json!([{ "image": url }, { "text": "<image>What is it?" }]), json!({}));
    assert!(marked.1["prompt_tokens"].as_u64() > seen.1["prompt_tokens"].as_u64());
}

#[test]
fn detail_says_how_finely_an_image_is_cut() {
    let server = Server::random();
    let (large, square) = (image("tiny56-large_1500x900-0.png"), image("tiny56-square-0.png"));
    let part = |picture: &str, detail: Option<&str>| json!({ "type": "image_url", "image_url": { "url": picture, "detail": detail } });
    let tokens =
        |parts: &[Value]| answer(&server, json!(parts), json!({})).1["prompt_tokens"].as_u64().unwrap();
    let alone = |detail: Option<&str>| tokens(&[part(&large, detail)]);
    assert_eq!((alone(None), alone(Some("high"))), (alone(Some("auto")), alone(Some("auto"))));
    // A tile of this critic has 4 x 4 vectors, and one more ends the row of tiles.
    let text = json!({ "type": "text", "text": "x" });
    assert_eq!(tokens(&[part(&large, Some("low")), text.clone()]) - tokens(&[text]), 17);
    assert!(alone(Some("low")) < alone(Some("high")));
    // Of several images, each is one tile unless its `detail` is high.
    let beside = |detail: Option<&str>| tokens(&[part(&large, detail), part(&square, None)]);
    assert_eq!(beside(None), beside(Some("low")));
    assert!(beside(Some("high")) > beside(Some("auto")));
    // Caches treat the same bytes with another `detail` as another image.
    let both = tokens(&[part(&large, Some("low")), part(&large, Some("high"))]);
    assert_eq!(both, tokens(&[part(&large, Some("high")), part(&large, Some("low"))]));
}

#[test]
fn what_is_no_image_is_told_in_the_words_that_clients_look_for() {
    let server = Server::random();
    for (path, body) in [
        (CHAT, json!({ "messages": [{ "role": "user", "content": [{ "image": "AAAA" }] }] })),
        (
            CHAT,
            json!({ "messages": [{ "role": "user", "content": [{ "image": "data:image/png;base64,%%" }] }] }),
        ),
        (CHAT, json!({ "messages": [{ "role": "user", "content": "a" }], "images": ["AAAA"] })),
        (
            "/v1/responses",
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "image_url": "AAAA" }] }] }),
        ),
        ("/judge", json!({ "question": "?", "response": "a", "images": ["AAAA"] })),
    ] {
        let response = server.post(path, &body);
        assert_eq!(response.status, 400, "{path}");
        let error = response.json();
        let code = error["error"]["code"].as_str().unwrap();
        assert!(["unsupported_image_media_type", "invalid_base64_image"].contains(&code), "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("You uploaded an unsupported image."), "{message}");
    }
}

#[test]
fn an_image_in_the_place_of_a_message_s_text_is_refused() {
    let server = Server::random();
    let url = "data:image/png;base64,AAECAw==";
    let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
    for (path, body, param) in [
        (CHAT, json!({ "messages": [turn("user", url)] }), "messages[0].content"),
        (CHAT, json!({ "messages": [turn("system", url), turn("user", "a")] }), "messages[0].content"),
        ("/v1/responses", json!({ "input": url }), "input"),
        ("/v1/responses", json!({ "input": [turn("user", url)] }), "input[0].content"),
    ] {
        let refused = server.post(path, &body);
        let (status, error) = (refused.status, refused.json()["error"].take());
        assert_eq!((status, error["code"].as_str()), (400, Some("unsupported_content")), "{error}");
        assert_eq!(error["param"], param);
    }
    // A text with something else in it is a text, and so is whatever the assistant wrote.
    for messages in [
        json!([turn("user", &format!("What is this? {url}"))]),
        json!([turn("user", "a"), turn("assistant", url), turn("user", "b")]),
    ] {
        server.ok(CHAT, &json!({ "messages": messages, "max_tokens": 1 }));
    }
}

#[test]
fn a_part_that_has_more_than_its_type_shows_is_refused() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let ask = |part: &Value| {
        let content = json!([{ "type": "text", "text": "What is it?" }, part]);
        server.post(CHAT, &json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 1 }))
    };
    for part in [
        json!({ "type": "text", "text": "Is it red?", "image_url": { "url": picture } }),
        json!({ "type": "input_text", "text": "Is it red?", "image": picture }),
        json!({ "type": "text", "text": "Is it red?", "frames": [picture] }),
        json!({ "type": "image_url", "image_url": { "url": picture }, "text": "Is it red?" }),
        json!({ "type": "image", "image": picture, "frames": [picture] }),
        json!({ "type": "video", "frames": [picture], "text": "Is it red?" }),
    ] {
        let refused = ask(&part);
        let (status, error) = (refused.status, refused.json()["error"].take());
        assert_eq!((status, error["code"].as_str()), (400, Some("unsupported_content")), "{error}");
        assert_eq!(error["param"], "messages[0].content[1]");
    }
    for part in [
        json!({ "type": "image", "image": picture, "text": null, "video": null }),
        json!({ "type": "image", "image": picture, "text": "" }),
        json!({ "type": "text", "text": "Is it red?", "image": null, "frames": [] }),
    ] {
        assert_eq!(ask(&part).status, 200, "{part}");
    }
}

#[test]
fn a_part_that_cannot_be_read_is_named_with_its_type_or_its_member() {
    let server = Server::random();
    let text = json!({ "type": "text", "text": "What is it?" });
    for (part, place, words) in [
        (json!({ "type": "input_audio", "input_audio": { "data": "AAAA" } }), "", "\"input_audio\""),
        // The type is told even if a known member is wrong, too.
        (json!({ "type": "document", "text": 1 }), "", "\"document\""),
        (json!({ "type": "document" }), "", "Types that can be shown are text, "),
        (json!({ "type": "image_url", "image_url": { "path": "a.png" } }), ".image_url", "none of the forms"),
        (json!({ "type": "image", "image": { "bytes": null } }), ".image", "none of the forms"),
        (json!({ "type": "text", "text": 1 }), ".text", "must be text, not a number"),
        (json!({ "type": "video", "frames": ["AAAA", 1] }), ".frames[1]", "must be text, not a number"),
        (json!({ "type": 1 }), ".type", "must be text, not a number"),
    ] {
        for (content, index) in [(json!([text, part]), "[1]"), (part.clone(), "")] {
            let response =
                server.post(CHAT, &json!({ "messages": [{ "role": "user", "content": content }] }));
            let (status, error) = (response.status, response.json()["error"].take());
            let param = format!("messages[0].content{index}{place}");
            assert_eq!((status, error["param"].as_str()), (400, Some(param.as_str())), "{part}: {error}");
            assert!(error["message"].as_str().unwrap().contains(words), "{part}: {error}");
        }
    }
}
