//! What counts as an image, and what as text, in the bodies of each dialect.

use gavel_tests::{Server, chatml, scene};
use serde_json::{Value, json};

/// The code and the parameter of the error that answers a request.
fn refused(server: &Server, path: &str, body: &Value) -> (String, String) {
    let response = server.post(path, body);
    let (status, told) = (response.status, response.json());
    assert_eq!(status, 400, "{path}: {told}");
    let text = |name: &str| told["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("param"))
}

/// A body of `/v1/decisions` with this input.
fn decisions(input: &Value) -> Value {
    json!({ "input": input, "questions": [{ "type": "predicate", "instructions": "Is it orange?" }] })
}

/// A body of `/v1/systemone` with this state.
fn systemone(state: &Value) -> Value {
    json!({ "state": state, "questions": { "a": { "type": "noul", "instructions": "Is it orange?" } } })
}

#[test]
fn members_of_json_that_is_shown_as_text_are_text_whatever_they_are_called() {
    let server = Server::with_options(&["--max-images", "2", "--max-text-mib", "1"]);
    let links =
        json!({ "links": [{ "url": "a" }, { "url": "b" }, { "image": "c" }], "images": ["d", "e", "f"] });
    let long = json!({ "page": { "url": "x".repeat((1 << 20) + 1) } });
    server.ok("/v1/decisions", &decisions(&links));
    server.ok("/v1/systemone", &systemone(&links));
    assert_eq!(refused(&server, "/v1/decisions", &decisions(&long)).0, "string_too_long");
    assert_eq!(refused(&server, "/v1/systemone", &systemone(&long)).0, "string_too_long");
}

#[test]
fn an_image_that_is_sent_to_decisions_is_no_text() {
    let server = Server::with_options(&["--max-text-mib", "1"]);
    // Larger than all texts may be: it is no picture, which is found when it is decoded.
    let large = "A".repeat(2 << 20);
    for input in [json!([{ "type": "image", "base64": large }]), json!([{ "image_url": { "url": large } }])] {
        let (code, param) = refused(&server, "/v1/decisions", &decisions(&input));
        assert_eq!((code.as_str(), param.as_str()), ("unsupported_image_media_type", "input[0]"));
    }
}

#[test]
fn images_are_counted_wherever_a_dialect_reads_them() {
    let server = Server::with_options(&["--max-images", "2"]);
    let part = json!({ "type": "image_url", "image_url": { "url": scene() } });
    let (parts, images) = (json!([part, part, part]), json!([scene(), scene(), scene()]));
    let turn = |role: &str, content: &Value| json!({ "role": role, "content": content });
    let asked = json!([turn("user", &parts), turn("assistant", &json!("A circle."))]);
    let inside = |member: &str, value: &Value, mut body: Value| {
        body[member] = value.clone();
        body
    };
    let two_beside = inside("images", &json!([scene(), scene()]), decisions(&json!("A picture.")));
    let mut with_question = two_beside.clone();
    with_question["questions"][0]["instructions"] =
        json!([part, { "type": "text", "text": "Is it orange?" }]);
    let rewarded = json!({ "question": "What is it?", "responses": ["A circle.", "A square."] });
    let judged = json!({ "question": "What is it?", "response": "A circle." });
    let chat = json!({ "messages": [turn("user", &json!("What is it?"))] });
    for (path, body, param) in [
        ("/judge", inside("images", &images, judged.clone()), "images[2]"),
        ("/judge", inside("frames", &images, judged), "frames[2]"),
        ("/reward", inside("images", &images, rewarded), "images[2]"),
        ("/v1/chat/completions", inside("images", &images, chat), "images[2]"),
        (
            "/v1/chat/completions",
            json!({ "messages": [turn("user", &parts)] }),
            "messages[0].content[2].image_url.url",
        ),
        ("/v1/responses", json!({ "input": [turn("user", &parts)] }), "input[0].content[2].image_url.url"),
        ("/tokenize", json!({ "messages": [turn("user", &parts)] }), "messages[0].content[2].image_url.url"),
        ("/generate", json!({ "text": "What is it?", "image_data": images }), "image_data[2]"),
        ("/get_reward", json!({ "query": ["a"], "labels": [{ "images": images }] }), "labels[0].images[2]"),
        ("/rm", json!({ "prompt": "a", "response": "b", "label": { "images": images } }), "label.images[2]"),
        ("/classify", json!({ "messages": asked }), "messages[0].content[2].image_url.url"),
        ("/v1/chat/reward", json!({ "messages": asked }), "messages[0].content[2].image_url.url"),
        (
            "/score",
            json!({ "queries": { "content": parts }, "documents": ["a"] }),
            "queries.content[2].image_url.url",
        ),
        (
            "/v1/rerank",
            json!({ "query": { "content": parts }, "documents": ["a"] }),
            "query.content[2].image_url.url",
        ),
        ("/v1/decisions", inside("images", &images, decisions(&json!("A picture."))), "images[2]"),
        ("/v1/decisions", decisions(&parts), "input[2]"),
        ("/v1/decisions", with_question, "questions[0].instructions[0]"),
        ("/v1/systemone", inside("images", &images, systemone(&json!("A picture."))), "images[2]"),
        (
            "/v1/systemone",
            inside("images", &parts_of_urls(), systemone(&json!("A picture."))),
            "images[2].url",
        ),
    ] {
        let (code, found) = refused(&server, path, &body);
        assert_eq!((code.as_str(), found.as_str()), ("too_many_images", param), "{path}");
    }
    server.ok("/v1/decisions", &two_beside);
}

/// The body with a list of `count` equal elements for each of these members.
fn repeated(mut body: Value, members: &[&str], count: usize) -> Value {
    for name in members {
        body[name] = vec![body[name].take(); count].into();
    }
    body
}

#[test]
fn the_images_of_each_question_of_a_list_are_counted_by_themselves() {
    let server = Server::with_options(&["--max-images", "1", "--max-batch-images", "3"]);
    let (asked, answer) = ("What colour is the circle?", "Orange.");
    let part = json!({ "type": "image_url", "image_url": { "url": scene() } });
    let shown = json!({ "content": [part, { "type": "text", "text": asked }] });
    let turns = json!([{ "role": "user", "content": shown["content"] }]);
    let label = json!({ "image": scene() });
    let (plain, inside) = (chatml(asked, answer), chatml(&format!("{}\n{asked}", scene()), answer));
    let generate =
        json!({ "text": asked, "image_data": scene(), "sampling_params": { "max_new_tokens": 1 } });
    // What is repeated for each question, and the parameter with the fourth image.
    for (path, body, lists, param) in [
        (
            "/get_reward",
            json!({ "query": plain, "labels": label }),
            &["query", "labels"][..],
            "labels[3].image",
        ),
        (
            "/reward",
            json!({ "query": plain, "labels": label.to_string() }),
            &["query", "labels"],
            "labels[3]",
        ),
        ("/get_reward", json!({ "query": inside }), &["query"], "query[3]"),
        (
            "/get_reward",
            json!({ "query": plain, "prompts": turns.to_string() }),
            &["query", "prompts"],
            "prompts[3]",
        ),
        ("/v1/score/evaluation", json!({ "messages": inside }), &["messages"], "messages[3]"),
        ("/classify", json!({ "input": inside }), &["input"], "input[3]"),
        ("/pooling", json!({ "text": inside }), &["text"], "text[3]"),
        (
            "/score",
            json!({ "queries": shown, "documents": answer }),
            &["queries", "documents"],
            "queries[3].content[0].image_url.url",
        ),
        (
            "/score",
            json!({ "text_1": asked, "text_2": shown }),
            &["text_2"],
            "text_2[3].content[0].image_url.url",
        ),
        (
            "/v1/rerank",
            json!({ "query": asked, "documents": shown }),
            &["documents"],
            "documents[3].content[0].image_url.url",
        ),
        ("/generate", generate, &["text", "image_data"], "image_data[3]"),
    ] {
        server.ok(path, &repeated(body.clone(), lists, 3));
        let (code, found) = refused(&server, path, &repeated(body, lists, 4));
        assert_eq!((code.as_str(), found.as_str()), ("too_many_images", param), "{path}");
    }
    // Errors of text-embeddings-inference have no parameter.
    server.ok("/predict", &json!({ "inputs": vec![[&inside]; 3] }));
    let many = server.post("/predict", &json!({ "inputs": vec![[&inside]; 4] }));
    let (status, told) = (many.status, many.text());
    assert!(status == 422 && told.contains("inputs[3]"), "{told}");
}

#[test]
fn all_images_of_one_question_are_counted_together_wherever_they_are() {
    let server = Server::with_options(&["--max-images", "2"]);
    let (asked, answer) = ("What colour is the circle?", "Orange.");
    let part = json!({ "type": "image_url", "image_url": { "url": scene() } });
    let text = json!({ "type": "text", "text": asked });
    let turn = |parts: Value| json!([{ "role": "user", "content": parts }]);
    let (one, two) = (turn(json!([part, text])), turn(json!([part, part, text])));
    let three = turn(json!([part, part, part, text]));
    let shown = |count: usize| chatml(&format!("{}{asked}", format!("{}\n", scene()).repeat(count)), answer);
    let label = json!({ "images": [scene()] });
    let labels = |count: usize| json!({ "images": vec![scene(); count] }).to_string();
    let rollout = |query: &str, prompt: &Value, label: &Value| -> Value {
        json!({ "query": [query], "prompts": [prompt], "labels": [label] })
    };
    let plain = chatml(asked, answer);
    for (path, body, param) in [
        ("/rm", json!({ "prompt": asked, "response": answer, "label": labels(3) }), "label"),
        ("/rm", json!({ "prompt": two, "response": answer, "label": labels(1) }), "label"),
        ("/rm", json!({ "prompt": two, "response": answer, "label": label }), "label.images[0]"),
        ("/rm", json!({ "prompt": three.to_string(), "response": answer }), "prompt"),
        ("/get_reward", json!({ "query": [shown(3)] }), "query[0]"),
        ("/get_reward", rollout(&shown(2), &json!(null), &label), "labels[0]"),
        ("/get_reward", rollout(&plain, &two, &json!(labels(1))), "labels[0]"),
        ("/get_reward", rollout(&plain, &json!(three.to_string()), &json!(null)), "prompts[0]"),
        (
            "/v1/rerank",
            json!({
                "query": { "content": [part, text] },
                "documents": [answer, { "content": [part, part, text] }],
            }),
            "documents[1]",
        ),
        ("/score", json!({ "text_1": [part, part, part, text], "text_2": answer }), "text_1"),
        ("/generate", json!({ "text": asked, "image_data": [scene(), scene(), scene()] }), "image_data[2]"),
    ] {
        let (code, found) = refused(&server, path, &body);
        assert_eq!((code.as_str(), found.as_str()), ("too_many_images", param), "{path}: {body}");
    }
    server.ok("/get_reward", &rollout(&plain, &one, &json!(labels(1))));
    // What the policy writes adds no image, and so it is none too many.
    let written = chatml(asked, &"data:image/png;base64,AAEC ".repeat(3));
    server.ok("/get_reward", &json!({ "query": [written] }));
}

/// Three images as objects.
fn parts_of_urls() -> Value {
    json!([{ "url": scene() }, { "url": scene() }, { "url": scene() }])
}
