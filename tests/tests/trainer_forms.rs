//! The request forms of trainers: each of their paths accepts all forms; labels and rewards.

use gavel_tests::{Keys, Response, Server, chatml, image, reference, scene};
use serde_json::{Value, json};

const QUESTION: &str = "What colour is the circle?";
const ANSWER: &str = "The circle is orange.";
const OTHER: &str = "The circle is purple.";

/// A sample in slime's form.
#[expect(clippy::needless_pass_by_value, reason = "labels are written where they are used")]
fn sample(response: &str, label: Value) -> Value {
    json!({ "prompt": QUESTION, "response": response, "label": label })
}

#[test]
fn each_path_of_trainers_takes_all_their_forms() {
    let server = Server::with_options(&[]);
    let transcript = chatml(QUESTION, ANSWER);
    let prompt = &transcript[..transcript.find(ANSWER).unwrap()];
    let label = json!({ "image": scene() });
    let rollout = json!({ "query": [transcript], "prompts": [prompt], "labels": [label] });
    let sample = sample(ANSWER, label);
    let expected = server.ok("/rm", &sample);
    assert!(expected.is_f64());
    for path in ["/get_reward", "/get_reward_mllm/", "/rm", "/rm/", "/reward", "/reward/"] {
        let told = server.ok(path, &rollout);
        assert_eq!((&told["rewards"][0], &told["scores"][0]), (&expected, &expected), "{path}");
        assert!(told["extra_logs"]["label_mass"][0].is_f64(), "{path}");
        assert_eq!(server.ok(path, &sample), expected, "{path}");
    }
    let metrics = server.get("/metrics").text();
    let counted = r#"gavel_requests_total{endpoint="/reward",kind="score",outcome="ok"} 4"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn the_native_path_answers_trainers_as_their_own_paths_do_and_is_strict_otherwise() {
    let server = Server::with_options(&[]);
    let shown = sample(ANSWER, json!({ "image": scene() }));
    assert_eq!(server.ok("/reward?reward=raw", &shown), server.ok("/rm?reward=raw", &shown));
    let plain = sample(ANSWER, json!(null));
    let told = server.post("/reward", &plain);
    assert_eq!((told.status, told.header("x-gavel-without-image")), (200, Some("1")));
    for (path, param) in [("/reward?image=required", "response"), ("/reward?reward=best", "reward")] {
        let refused = server.post(path, &plain);
        assert_eq!(refused.status, 400);
        assert_eq!(refused.json()["error"]["param"], param, "{path}");
    }
    let unknown = server.post("/reward", &json!({ "query": ["no transcript"] })).json();
    assert_eq!(
        (&unknown["code"], &unknown["error"]["param"]),
        (&json!("unknown_transcript"), &json!("query[0]"))
    );
    for (body, message) in [
        (
            json!({ "prompt": "q", "responses": ["a", "b"] }),
            "Unknown field `prompt`; did you mean `prompts`?",
        ),
        (json!({ "query": "q", "responses": ["a", "b"] }), "Unknown field `query`"),
        (json!({ "question": "q", "prompt": "q", "response": "a" }), "Unknown field `prompt`"),
        (json!({ "response": "a" }), "Unknown field `response`"),
        (json!({}), "There is no question."),
    ] {
        let refused = server.post("/reward", &body);
        assert_eq!(refused.status, 400, "{body}");
        let told = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{told}");
    }
    // Parameters of the URL apply to the forms of trainers only; of others they are checked and have no effect.
    let rewards = json!({ "question": QUESTION, "responses": [ANSWER, OTHER], "method": "pointwise" });
    assert!(server.ok("/reward?reward=raw", &rewards)["rewards"].is_array());
}

#[test]
fn images_in_the_labels_of_trainers_are_no_text_at_the_native_path_either() {
    let server = Server::with_options(&[]);
    let label = json!({ "image": format!("data:image/png;base64,{}", image("geo384-square_1300-0.png")) });
    let label = label.to_string();
    // As text they would be more than `max_text_mib`.
    let count = (8 << 20) / label.len() + 1;
    let rollout =
        json!({ "query": vec![chatml(QUESTION, ANSWER); count], "labels": vec![label.clone(); count] });
    let told = server.ok("/reward", &rollout);
    assert_eq!(told["rewards"].as_array().unwrap().len(), count);
    assert_eq!(told, server.ok("/get_reward", &rollout));
    // In the native interface images have a place of their own.
    let refused = server.post("/reward", &json!({ "question": QUESTION, "responses": vec![label; count] }));
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("string_too_long")));
}

#[test]
fn at_the_native_path_trainers_wait_for_their_key_and_others_are_refused() {
    let keys = Keys::new(&[("a", "concurrent_requests = 1")]);
    let model = reference().join("models/tiny56").to_string_lossy().into_owned();
    let server = keys.server(&["--model", &model]);
    let endless = json!({
        "messages": [{ "role": "user", "content": "Hm?" }],
        "max_tokens": 20_000,
        "ignore_eos": true,
        "stream": true,
    });
    let running = keys.post(&server, "a", ("/v1/chat/completions", &endless));
    assert_eq!(running.status, 200);
    let limited = |milliseconds: &str, body: &Value| {
        let bearer = format!("Bearer {}", keys.key("a"));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*bearer),
            ("x-request-timeout-ms", milliseconds),
        ];
        server.send("POST", "/reward", &headers, body.to_string().as_bytes())
    };
    let code = |response: Response| (response.status, response.json()["code"].take());
    let native = json!({ "question": QUESTION, "responses": [ANSWER, OTHER] });
    assert_eq!(code(limited("60000", &native)), (429, json!("rate_limit_exceeded")));
    let asked = sample(ANSWER, json!(null));
    assert_eq!(code(limited("200", &asked)), (503, json!("overloaded")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| limited("60000", &asked).status);
        drop(running);
        assert_eq!(waiting.join().unwrap(), 200);
    });
    assert_eq!(limited("60000", &asked).status, 200);
}

#[test]
fn a_label_of_json_without_our_members_is_the_reference_itself() {
    let server = Server::with_options(&[]);
    let answer = json!({ "answer": "4" }).to_string();
    // `reward=pair` needs a reference, so that it shows which one is used.
    let with = |label: Value| server.ok("/rm?reward=pair", &sample(ANSWER, label));
    assert_eq!(with(json!(answer)), with(json!({ "reference": answer })));
    let rollout = |label: Value| json!({ "query": [chatml(QUESTION, ANSWER)], "labels": [label] });
    let told = server.ok("/get_reward?reward=pair", &rollout(json!(answer)));
    assert_eq!(told["rewards"][0], with(json!(answer)));
    // Lists, booleans and numbers are references like their JSON text.
    for value in [json!(["orange"]), json!(["orange", 2]), json!(true), json!(false), json!(4)] {
        let told = with(json!(value.to_string()));
        assert_eq!(with(value.clone()), told, "{value}");
        assert_eq!(with(json!({ "reference": value })), told, "{value}");
        assert_eq!(server.ok("/get_reward?reward=pair", &rollout(value))["rewards"][0], told);
    }
    // No image or reference in a list of labels is dropped in silence.
    for (label, param) in [
        (json!([{ "image": scene() }]), "label"),
        (json!(["orange", { "reference": "orange" }]), "label"),
        (json!({ "reference": [{ "image": scene() }] }), "label.reference"),
        (json!({ "reference": { "answer": 4 } }), "label.reference"),
    ] {
        let refused = server.post("/rm", &sample(ANSWER, label));
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(param)));
    }
    // An object that is not in a string must have this server's own members.
    let refused = server.post("/get_reward", &rollout(json!({ "answer": "4" })));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["param"], "labels[0]");
}

#[test]
fn a_reward_is_a_score_or_the_probability_to_beat_the_reference() {
    let server = Server::with_options(&[]);
    let label = |reference: &str| json!({ "image": scene(), "reference": reference });
    for (alias, name) in [("point", "unit"), ("point_raw", "raw")] {
        let body = sample(ANSWER, label(OTHER));
        let path = |reward: &str| format!("/rm?reward={reward}");
        assert_eq!(server.ok(&path(alias), &body), server.ok(&path(name), &body));
    }
    let pair = |response: &str, reference: &str| {
        server.ok("/rm?reward=pair", &sample(response, label(reference))).as_f64().unwrap()
    };
    let body = json!({
        "question": QUESTION,
        "images": [scene()],
        "responses": [ANSWER, OTHER],
        "order": "both",
        "mode": "score",
    });
    let judged = server.ok("/judge", &body);
    let part = |index: usize| judged["distribution"]["probabilities"][index]["probability"].as_f64().unwrap();
    let (first, second) = (part(0), part(1));
    let beats = pair(ANSWER, OTHER);
    assert!((beats - (1.0 + first - second) / 2.0).abs() < 1e-12, "{beats} {judged}");
    assert!((beats + pair(OTHER, ANSWER) - 1.0).abs() < 1e-12);
    let rollout = json!({ "query": [chatml(QUESTION, ANSWER)], "labels": [label(OTHER)] });
    let told = server.ok("/get_reward?reward=pair", &rollout);
    assert_eq!((told["rewards"][0].as_f64(), told["scores"][0].as_f64()), (Some(beats), Some(beats)));
    // An empty response against one with words.
    assert_eq!(pair("", OTHER), 0.0);
    let lacking =
        json!({ "query": [chatml(QUESTION, ANSWER), chatml(QUESTION, OTHER)], "labels": ["x", null] });
    let pointwise = server.post("/rm?reward=pair&rubric=accuracy", &sample(ANSWER, label(OTHER)));
    for (refused, param, code) in [
        (server.post("/get_reward?reward=pair", &lacking), "query[1]", "reference_required"),
        (pointwise, "rubric", "invalid_rubric"),
    ] {
        assert_eq!(refused.status, 400);
        let told = refused.json();
        assert_eq!((&told["error"]["param"], &told["code"]), (&json!(param), &json!(code)), "{told}");
    }
}

#[test]
fn wrong_parameters_are_refused_with_any_body_of_the_native_path() {
    let server = Server::random();
    let native = json!({ "question": "What is it?", "responses": ["A circle.", "A star."] });
    let trainer = json!({ "query": ["What is it? A circle."], "prompts": ["What is it? "] });
    for body in [native, trainer] {
        for (parameters, named) in
            [("reward=best", "reward"), ("image=perhaps", "image"), ("colour=red", "colour")]
        {
            let refused = server.post(&format!("/reward?{parameters}"), &body);
            assert_eq!(refused.status, 400, "{parameters}");
            let told = refused.json();
            assert!(told["error"]["param"] == named, "{told}");
        }
    }
}

#[test]
fn a_prompt_of_messages_brings_its_images() {
    let server = Server::with_options(&[]);
    let rewards = |body: Value| server.ok("/get_reward", &body)["rewards"].clone();
    let transcript = chatml(QUESTION, ANSWER);
    let expected = rewards(json!({ "query": [transcript], "labels": [{ "image": scene() }] }));
    assert_ne!(rewards(json!({ "query": [transcript] })), expected);
    let parts = json!([{ "type": "image", "image": scene() }, { "type": "text", "text": QUESTION }]);
    let messages = json!([{ "role": "user", "content": parts }]);
    let of_text = json!([messages.to_string()]);
    for prompts in [json!([messages]), of_text, json!(messages.to_string()), messages.clone()] {
        assert_eq!(rewards(json!({ "query": [transcript], "prompts": prompts })), expected, "{prompts}");
    }
    for prompt in [&messages, &json!(messages.to_string())] {
        assert_eq!(
            server.ok("/rm", &json!({ "prompt": prompt, "response": ANSWER })),
            expected[0],
            "{prompt}"
        );
    }
    // A question that is such a text itself is shown as it is.
    let text = json!([{ "role": "user", "content": QUESTION }]).to_string();
    let quoted = chatml(&text, ANSWER);
    assert_eq!(
        rewards(json!({ "query": [quoted], "prompts": [text] })),
        rewards(json!({ "query": [quoted] }))
    );
    // A turn that only calls tools has no text, in both forms.
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "1" }] });
    let silent = json!({ "role": "assistant", "content": "" });
    let turns = |turn: &Value| {
        json!([
            { "role": "user", "content": QUESTION },
            turn,
            { "role": "tool", "tool_call_id": "1", "content": "It looks orange." },
        ])
    };
    let asked = |turn: &Value| json!({ "prompt": turns(turn), "response": ANSWER });
    assert_eq!(server.ok("/rm", &asked(&call)), server.ok("/rm", &asked(&silent)));
    let rollout = |turn: &Value| json!({ "query": [transcript], "prompts": [turns(turn)] });
    assert_eq!(rewards(rollout(&call)), rewards(rollout(&silent)));
    for (query, prompt, code, param) in [
        ("A cat.", json!([{ "role": "user", "content": "?" }]), "unknown_transcript", "query[0]"),
        (transcript.as_str(), json!([{ "role": "system", "content": "?" }]), "invalid_request", "prompts[0]"),
    ] {
        let response = server.post("/get_reward", &json!({ "query": [query], "prompts": [prompt] }));
        let (status, error) = (response.status, response.json()["error"].take());
        assert_eq!((status, &error["code"], &error["param"]), (400, &json!(code), &json!(param)), "{error}");
    }
}

#[test]
fn a_conversation_of_images_alone_is_asked_about_by_its_label() {
    let server = Server::with_options(&[]);
    let turns = json!([{ "role": "user", "content": [{ "type": "image", "image": scene() }] }]);
    let ask =
        |label: Value| server.post("/rm", &json!({ "prompt": turns, "response": ANSWER, "label": label }));
    let told = ask(json!(null)).json();
    let error = &told["error"];
    assert_eq!(
        (&error["param"], &error["message"]),
        (&json!("prompt"), &json!("prompt has no text.")),
        "{told}"
    );
    let expected = server.ok("/rm", &sample(ANSWER, json!({ "image": scene() })));
    let asked = ask(json!({ "question": QUESTION }));
    assert_eq!((asked.status, asked.json()), (200, expected));
    let rollout = json!({
        "query": [chatml(QUESTION, ANSWER)],
        "prompts": [turns],
        "labels": [{ "question": QUESTION }],
    });
    assert_eq!(server.ok("/get_reward", &rollout)["rewards"][0], ask(json!({ "question": QUESTION })).json());
}

#[test]
fn the_paths_of_a_conversation_are_the_same_on_all_routes() {
    let server = Server::with_options(&[]);
    // The second image cannot be decoded, which shows when the answer is scored.
    let content = json!([{ "type": "text", "text": QUESTION }, { "type": "image", "image": "AAAA" }]);
    let turns = json!([{ "role": "user", "content": content }, { "role": "assistant", "content": ANSWER }]);
    for path in ["/classify", "/pooling", "/v1/embeddings", "/v1/chat/reward"] {
        let refused = server.post(path, &json!({ "messages": turns }));
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("messages")), "{path}");
    }
}

#[test]
fn who_asks_for_the_embedding_of_a_text_is_told_that_a_judge_has_none() {
    let server = Server::with_options(&[]);
    let asked = |path: &str, input: Value| {
        let refused = server.post(path, &json!({ "model": "text-embedding-3-small", "input": input }));
        assert_eq!(refused.status, 400, "{path} {input}");
        let error = refused.json()["error"].take();
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (text("code"), text("param"), text("message").contains("no embeddings"))
    };
    let of = |code: &str, param: &str, is_told| (code.to_owned(), param.to_owned(), is_told);
    for path in ["/v1/embeddings", "/embeddings"] {
        assert_eq!(asked(path, json!("A cat.")), of("unknown_transcript", "input", true));
        assert_eq!(asked(path, json!(["A cat."])), of("unknown_transcript", "input[0]", true));
        // The tokens of a text.
        assert_eq!(asked(path, json!([[1, 2, 3]])), of("invalid_request", "input", true));
    }
    assert_eq!(asked("/pooling", json!("A cat.")), of("unknown_transcript", "input", false));
    // Where a transcript is wrong in another way, nothing is said of embeddings.
    let transcript = chatml("<image:scene.png> What is it?", ANSWER);
    assert_eq!(asked("/v1/embeddings", json!(transcript)), of("unknown_image", "input", false));
}

#[test]
fn messages_in_a_text_are_as_many_as_others_may_be() {
    let server = Server::with_options(&["--max-messages", "2"]);
    let turns = |count: usize| json!(vec![json!({ "role": "user", "content": QUESTION }); count]).to_string();
    let rollout = |count| json!({ "query": [chatml("Hm?", ANSWER)], "prompts": [turns(count)] });
    let sample = |count| json!({ "prompt": turns(count), "response": ANSWER });
    server.ok("/get_reward", &rollout(2));
    server.ok("/rm", &sample(2));
    for (path, body, param) in [("/get_reward", rollout(3), "prompts[0]"), ("/rm", sample(3), "prompt")] {
        let refused = server.post(path, &body);
        let (status, error) = (refused.status, refused.json()["error"].take());
        assert_eq!((status, error["code"].as_str()), (400, Some("array_too_long")), "{error}");
        assert_eq!(error["param"], param);
    }
}

#[test]
fn an_empty_question_in_a_label_leaves_that_of_the_prompt() {
    let server = Server::with_options(&[]);
    let ask = |label: Value| server.ok("/rm", &sample(ANSWER, label));
    assert_eq!(ask(json!({ "image": scene(), "question": "" })), ask(json!({ "image": scene() })));
}

/// A reward without the image that was sent would be that of another question.
#[test]
fn images_in_members_that_are_not_read_are_refused() {
    let server = Server::with_options(&[]);
    let whole = chatml(QUESTION, ANSWER);
    for (path, body) in [
        ("/rm", json!({ "prompt": QUESTION, "response": ANSWER })),
        ("/reward", json!({ "prompt": QUESTION, "response": ANSWER })),
        ("/get_reward", json!({ "query": [whole] })),
        ("/v1/score/evaluation", json!({ "messages": [whole] })),
        ("/classify", json!({ "text": whole })),
        ("/pooling", json!({ "input": whole })),
        ("/v1/embeddings", json!({ "input": whole })),
    ] {
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            server.post(path, &body)
        };
        for name in ["images", "image_data"] {
            let refused = with(name, json!([scene()]));
            let (status, error) = (refused.status, refused.json()["error"].take());
            let told = (status, &error["code"], &error["param"]);
            assert_eq!(told, (400, &json!("unsupported_parameter"), &json!(name)), "{path}: {error}");
        }
        assert_eq!(with("image_data", json!(null)).status, 200, "{path}");
        assert_eq!(with("images", json!([])).status, 200, "{path}");
    }
}

#[test]
fn images_beside_a_content_are_refused_and_never_left_out() {
    let server = Server::with_options(&[]);
    let question = json!({ "role": "user", "content": QUESTION, "images": [scene()] });
    let chat = json!([question, { "role": "assistant", "content": ANSWER }]);
    for (path, body, param) in [
        ("/classify", json!({ "messages": chat }), "messages[0].images"),
        ("/v1/chat/reward", json!({ "messages": chat }), "messages[0].images"),
        ("/rm", json!({ "prompt": [question], "response": ANSWER }), "prompt[0].images"),
        (
            "/score",
            json!({ "queries": { "content": QUESTION, "image": scene() }, "documents": ANSWER }),
            "queries.image",
        ),
        (
            "/rerank",
            json!({ "query": { "text": QUESTION, "images": [scene()] }, "documents": [ANSWER] }),
            "query.images",
        ),
    ] {
        let refused = server.post(path, &body);
        let (status, error) = (refused.status, refused.json()["error"].take());
        let told = (status, &error["code"], &error["param"]);
        assert_eq!(told, (400, &json!("unsupported_parameter"), &json!(param)), "{path}: {error}");
    }
}
