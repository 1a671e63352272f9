//! Interfaces of other reward and ranking servers: one sample has one score in all of them.

use gavel_tests::{Server, scene};
use serde_json::{Value, json};

const QUESTION: &str = "What colour is the circle?";

fn transcript(question: &str, answer: &str) -> String {
    format!("<|im_start|>user\n<image>\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n")
}

fn parts(image: &str, text: &str) -> Value {
    json!([{ "type": "image_url", "image_url": { "url": image } }, { "type": "text", "text": text }])
}

/// The number at `path` in the answer.
fn number(body: &Value, path: &str) -> f64 {
    body.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} of {body}"))
}

#[test]
fn one_sample_has_one_score_in_every_dialect() {
    let server = Server::with_options(&[]);
    let (image, answer) = (scene(), "The circle is orange.");
    let judged = server.ok(
        "/judge",
        &json!({ "question": QUESTION, "images": [image], "response": answer, "mode": "score" }),
    );
    let (expected, scale) = (number(&judged, "/distribution/expected_score"), &judged["scale"]);
    let (least, most) = (number(scale, "/min"), number(scale, "/max"));
    let unit = (expected - least) / (most - least);
    let chat = json!([
        { "role": "user", "content": parts(&image, QUESTION) },
        { "role": "assistant", "content": answer },
    ]);
    let query = json!({ "content": parts(&image, QUESTION) });
    let inside = transcript(QUESTION, answer).replace("<image>", &image);
    // As a chat template writes it that adds a text of the system's, of a question with the image in Markdown.
    let with_defaults = format!("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{inside}")
        .replace(&image, &format!("![A picture]({image})"));
    for (path, body, place) in [
        (
            "/get_reward",
            json!({ "query": [transcript(QUESTION, answer)], "labels": [{ "image": image }] }),
            "/rewards/0",
        ),
        ("/get_reward", json!({ "query": [inside] }), "/scores/0"),
        (
            "/rm",
            json!({ "prompt": QUESTION, "response": answer, "label": json!({ "image": image }).to_string() }),
            "",
        ),
        (
            "/rm",
            json!({ "prompt": [{ "role": "user", "content": parts(&image, QUESTION) }], "response": answer }),
            "",
        ),
        ("/v1/score/evaluation", json!({ "model": "model", "messages": [inside] }), "/scores/0"),
        ("/v1/score/evaluation", json!({ "messages": [with_defaults] }), "/scores/0"),
        ("/classify", json!({ "model": "x", "input": inside }), "/data/0/probs/0"),
        ("/v1/classify", json!({ "messages": chat }), "/data/0/probs/0"),
        ("/classify", json!({ "text": inside }), "/0/embedding/0"),
        ("/pooling", json!({ "input": [inside] }), "/data/0/data/0"),
        ("/v1/embeddings", json!({ "input": inside }), "/data/0/embedding/0"),
        ("/v1/chat/reward", json!({ "messages": chat }), "/data/0/score/0"),
        ("/score", json!({ "queries": query, "documents": answer }), "/data/0/score"),
        ("/v1/score", json!({ "text_1": [query], "text_2": [answer] }), "/data/0/score"),
        ("/rerank", json!({ "query": query, "documents": [answer] }), "/results/0/relevance_score"),
        ("/v1/rerank", json!({ "query": query, "documents": [answer] }), "/results/0/relevance_score"),
        ("/v2/rerank", json!({ "query": query, "documents": [answer] }), "/results/0/relevance_score"),
        ("/rerank", json!({ "query": query, "texts": [answer] }), "/0/score"),
    ] {
        let found = number(&server.ok(path, &body), place);
        assert!((found - unit).abs() < 1e-12, "{path} says {found}, not {unit}");
    }
    let raw = server.ok(
        "/rm?reward=raw",
        &json!({ "prompt": QUESTION, "response": answer, "label": { "image": image } }),
    );
    assert!((raw.as_f64().unwrap() - expected).abs() < 1e-12);
}

#[test]
fn space_around_a_question_and_an_answer_changes_no_score() {
    let server = Server::with_options(&[]);
    let body = |path: &str, question: &str, answer: &str| match path {
        "/rm" => json!({ "prompt": question, "response": answer }),
        "/score" => json!({ "queries": question, "documents": answer }),
        "/rerank" => json!({ "query": question, "texts": [answer] }),
        _ => {
            json!({ "messages": [{ "role": "user", "content": question }, { "role": "assistant", "content": answer }] })
        }
    };
    let places =
        [("/rm", ""), ("/score", "/data/0/score"), ("/rerank", "/0/score"), ("/classify", "/data/0/probs/0")];
    for (path, place) in places {
        let score = |question, answer| number(&server.ok(path, &body(path, question, answer)), place);
        assert_eq!(score("What is it? ", "\n A cat. \n\n"), score("What is it?", "A cat."), "{path}");
    }
}

#[test]
fn a_thousand_are_answered_in_order_and_each_as_if_it_were_alone() {
    // The queue is far shorter than the batch: samples that do not fit wait for their turn.
    let server = Server::with_options(&["--max-waiting", "16"]);
    let answer = |index: usize| format!("The circle is {}.", ["red", "blue", "green", "orange"][index % 4]);
    let messages: Vec<String> = (0..1000).map(|index| transcript(QUESTION, &answer(index))).collect();
    let alone: Vec<f64> = (0..4)
        .map(|index| {
            number(&server.ok("/v1/score/evaluation", &json!({ "messages": [messages[index]] })), "/scores/0")
        })
        .collect();
    let together = server.ok("/v1/score/evaluation", &json!({ "messages": messages }));
    let scores = together["scores"].as_array().unwrap();
    assert_eq!(scores.len(), messages.len());
    for (index, score) in scores.iter().enumerate() {
        assert_eq!(score.as_f64().unwrap().to_bits(), alone[index % 4].to_bits(), "sample {index}");
    }
    assert!(alone.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn what_cannot_be_scored_is_named_and_never_a_number() {
    let server = Server::with_options(&[]);
    let good = transcript(QUESTION, "Red.");
    for (path, body, param, code) in [
        ("/get_reward", json!({ "query": [good, "no transcript"] }), "query[1]", "unknown_transcript"),
        ("/get_reward", json!({ "query": [good], "labels": [] }), "labels", "invalid_request"),
        (
            "/get_reward",
            json!({ "query": [good], "labels": [{ "image": "http://a/b.png" }] }),
            "labels[0]",
            "invalid_image_url",
        ),
        (
            "/v1/score/evaluation",
            json!({ "messages": [good, good, "x".repeat(100_000)] }),
            "messages[2]",
            "unknown_transcript",
        ),
        (
            "/v1/score/evaluation",
            json!({ "messages": [good, transcript(QUESTION, &"word ".repeat(9000))] }),
            "messages[1]",
            "context_length_exceeded",
        ),
        ("/rerank", json!({ "query": "q" }), "documents", "invalid_request"),
        ("/rm?rubric=no-such", json!({ "prompt": QUESTION, "response": "a" }), "rubric", "unknown_rubric"),
        ("/rm?rubric=better", json!({ "prompt": QUESTION, "response": "a" }), "rubric", "invalid_rubric"),
        ("/rm?rubrik=accuracy", json!({ "prompt": QUESTION, "response": "a" }), "rubrik", "invalid_query"),
        ("/rm?reward=best", json!({ "prompt": QUESTION, "response": "a" }), "reward", "invalid_query"),
        ("/rm?image=required", json!({ "prompt": QUESTION, "response": "a" }), "response", "image_required"),
        (
            "/get_reward?image=required",
            json!({ "query": [good, good], "labels": [{ "image": scene() }, { "images": [] }] }),
            "query[1]",
            "image_required",
        ),
        (
            "/get_reward",
            json!({ "query": [good], "labels": [{ "img": scene() }] }),
            "labels[0]",
            "invalid_request",
        ),
        (
            "/rm",
            json!({ "prompt": "q", "response": "a", "label": { "img": scene() } }),
            "label",
            "invalid_request",
        ),
        (
            "/get_reward",
            json!({ "query": [good], "labels": [{ "image": "AAAA" }] }),
            "labels[0]",
            "unsupported_image_media_type",
        ),
        (
            "/get_reward",
            json!({ "query": [good], "labels": [{ "image": "0123456789abcdef".repeat(4) }] }),
            "labels[0]",
            "no_data_dir",
        ),
        (
            "/v1/score/evaluation",
            json!({ "messages": [good, good.replace("<image>", "<image:scene.png>")] }),
            "messages[1]",
            "unknown_image",
        ),
        (
            "/v1/decisions",
            json!({ "input": "x", "images": ["AAAA"], "questions": [{ "type": "yes_no", "question": "?" }] }),
            "images[0]",
            "unsupported_image_media_type",
        ),
        (
            "/v1/chat/reward",
            json!({ "messages": [{ "role": "user", "content": "q" }] }),
            "messages",
            "invalid_request",
        ),
        (
            "/generative_scoring",
            json!({ "query": "q", "items": ["a"], "label_token_ids": [1, 9_999_999] }),
            "label_token_ids",
            "unknown_token",
        ),
        (
            "/generative_scoring",
            json!({ "query": "q", "items": ["a"], "label_token_ids": [5, 5] }),
            "label_token_ids",
            "invalid_request",
        ),
        (
            "/generative_scoring",
            json!({ "query": "q", "items": ["a", "b"], "label_token_ids": [[1], [9_999_999]] }),
            "label_token_ids[1]",
            "unknown_token",
        ),
        (
            "/generative_scoring",
            json!({ "query": "q", "items": ["a", "b ".repeat(9000)], "label_token_ids": [1] }),
            "items[1]",
            "context_length_exceeded",
        ),
        (
            "/score",
            json!({ "query": "q", "items": vec!["a"; 600], "label_token_ids": (0..500).collect::<Vec<_>>() }),
            "label_token_ids",
            "array_too_long",
        ),
        (
            "/v1/decisions",
            json!({ "input": "x", "questions": [{ "type": "choice", "question": "?" }] }),
            "questions[0].options",
            "invalid_request",
        ),
        (
            "/v1/decisions",
            json!({ "input": "x", "prompt_format_version": 7, "questions": [] }),
            "prompt_format_version",
            "invalid_request",
        ),
        (
            "/v1/systemone",
            json!({ "state": "x", "questions": { "a": { "type": "essay", "instructions": "?" } } }),
            "questions.a.type",
            "invalid_request",
        ),
    ] {
        let response = server.post(path, &body);
        assert_eq!(response.status, if code == "unknown_rubric" { 404 } else { 400 }, "{path}");
        let body = response.json();
        assert_eq!(
            (body["error"]["param"].as_str(), body["code"].as_str()),
            (Some(param), Some(code)),
            "{path}: {body}"
        );
    }
    let response = server.post("/rm?reward=best", &json!({ "prompt": "q", "response": "a" }));
    let message = response.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("reward must be ") && message.ends_with(" or `pair`, not `best`."),
        "{message}"
    );
    let response = server.post("/rm?rubrik=accuracy", &json!({ "prompt": "q", "response": "a" }));
    let message = response.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Unknown parameter `rubrik`; did you mean `rubric`?"), "{message}");
    // A sample with its image has the same reward, whether the image is required or not.
    let shown = json!({ "prompt": QUESTION, "response": "Red.", "label": { "image": scene() } });
    assert_eq!(server.ok("/rm?image=required", &shown), server.ok("/rm", &shown));
    // A label that is a number is a reference answer like any text.
    let with =
        |label: Value| server.ok("/rm", &json!({ "prompt": QUESTION, "response": "5", "label": label }));
    assert_eq!(with(json!(5)), with(json!("5")));
    assert_eq!(with(json!("{ is no JSON")), with(json!({ "reference": "{ is no JSON" })));
}

#[test]
fn a_ranking_is_best_first_and_tells_what_was_asked() {
    let server = Server::with_options(&[]);
    let query = json!({ "content": parts(&scene(), QUESTION) });
    let documents = ["I like music.", "The circle is orange.", "I like music."];
    let body = server.ok("/rerank", &json!({ "query": query, "documents": documents, "top_n": 2 }));
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!((results[0]["index"].as_u64(), results[1]["index"].as_u64()), (Some(1), Some(0)));
    assert_eq!(results[0]["document"]["text"], documents[1]);
    // A document that is a bare list of parts is of SGLang, whose answer is a bare list.
    let parts = json!([{ "type": "text", "text": documents[1] }]);
    let bare = json!({ "query": query, "documents": [documents[0], parts] });
    let listed = server.ok("/v1/rerank", &bare);
    assert_eq!((&listed[0]["score"], &listed[0]["document"]), (&results[0]["score"], &json!(documents[1])));
    assert_eq!(server.ok("/rerank", &bare)["results"][0], results[0]);
    let texts = server.ok("/rerank", &json!({ "query": query, "texts": documents, "return_text": true }));
    let indices: Vec<u64> =
        texts.as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [1, 0, 2]);
    assert_eq!(texts[0]["text"], documents[1]);
}

#[test]
fn decisions_are_probabilities_over_the_options() {
    let server = Server::with_options(&[]);
    let sum = |probabilities: &Value| -> f64 {
        let values: Vec<f64> = match probabilities {
            Value::Object(named) => named.values().map(|value| value.as_f64().unwrap()).collect(),
            listed => listed.as_array().unwrap().iter().map(|one| number(one, "/probability")).collect(),
        };
        values.iter().sum()
    };
    let questions = json!([
        { "id": "colour", "type": "choice", "question": QUESTION, "options": ["red", { "name": "orange", "description": "like the fruit" }] },
        { "id": "quality", "type": "score", "question": "How good?", "levels": ["bad", "fair", "good"] },
        { "id": "seen", "type": "yes_no", "question": "Is there a circle?" },
    ]);
    let body = server
        .ok("/v1/decisions", &json!({ "input": "A picture.", "images": [scene()], "questions": questions }));
    for id in ["colour", "quality", "seen"] {
        let answer = &body["answers"][id];
        assert!((sum(&answer["probabilities"]) - 1.0).abs() < 1e-6, "{answer}");
        let mass = number(answer, "/label_mass");
        assert!(mass > 0.0 && mass <= 1.0, "{answer}");
    }
    assert!(["red", "orange"].contains(&body["answers"]["colour"]["choice"].as_str().unwrap()));
    assert!((0.0..=2.0).contains(&number(&body, "/answers/quality/score")));
    // Later questions share the image with the first.
    assert!(number(&body, "/usage/prompt_tokens_details/cached_tokens") > 0.0);
    let mut listed = questions;
    for question in listed.as_array_mut().unwrap() {
        let id = question.as_object_mut().unwrap().remove("id").unwrap();
        question["name"] = id;
    }
    let list = server.ok(
        "/v1/decisions",
        &json!({ "input": "A picture.", "images": [{ "url": scene() }], "questions": listed }),
    );
    let first = &list["answers"][0];
    assert!((sum(&first["probabilities"]) - 1.0).abs() < 1e-6);
    let named = number(&body, "/answers/colour/probabilities/red");
    assert!(
        (number(first, "/probabilities/0/probability") - named).abs() < 1e-12,
        "the same question in the other shape"
    );
    let system = server.ok("/v1/systemone", &json!({
        "state": "A picture.",
        "images": [scene()],
        "questions": {
            "seen": { "type": "predicate", "instructions": "Is there a circle?" },
            "colour": { "type": "choice", "instructions": QUESTION, "criteria": ["red", "orange"] },
            "quality": { "type": "score", "instructions": "How good?", "criteria": { "0": "bad", "1": "good" } },
        },
    }));
    for name in ["seen", "colour", "quality"] {
        assert!((sum(&system["answers"][name]["probabilities"]) - 1.0).abs() < 1e-6, "{system}");
        assert!(system["diagnostics"][name]["argmax_is_label"].is_boolean());
    }
}

#[test]
fn the_probabilities_of_any_tokens_can_be_read() {
    let server = Server::with_options(&[]);
    let ask = |softmax: Value| json!({ "query": "Is it red? ", "items": ["Yes.", "No."], "label_token_ids": [40, 41, 42], "apply_softmax": softmax });
    let among = server.ok("/v1/score", &ask(json!(true)));
    let all = server.ok("/v1/score", &ask(json!(false)));
    assert_eq!(among["object"], "scoring");
    for item in 0..2 {
        let read = |body: &Value| -> Vec<f64> {
            body["scores"][item].as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
        };
        let (among, all) = (read(&among), read(&all));
        assert!((among.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        let mass: f64 = all.iter().sum();
        assert!(mass < 1.0);
        for (one, other) in among.iter().zip(&all) {
            assert!((one * mass - other).abs() < 1e-9);
        }
    }
    // Without the parameter each route does what the server does that it comes from: SGLang and vLLM differ.
    for path in ["/score", "/v1/score"] {
        assert_eq!(server.ok(path, &ask(json!(null)))["scores"], all["scores"], "{path}");
    }
    let first = server.ok("/generative_scoring", &ask(json!(true)));
    let default = server.ok("/generative_scoring", &ask(json!(null)));
    assert_eq!((&default["data"], &default["results"]), (&first["data"], &first["results"]));
    assert_eq!(number(&first, "/data/1/score"), among["scores"][1][0].as_f64().unwrap());
    for item in 0..2 {
        let result = &first["results"][item];
        assert_eq!(result["index"], item);
        let scores = &among["scores"][item];
        let expected = json!({ "40": scores[0], "41": scores[1], "42": scores[2] });
        assert_eq!(result["token_probs"], expected);
    }
}

#[test]
fn a_temperature_and_lists_of_labels_change_what_is_read() {
    let server = Server::with_options(&[]);
    let with = |extra: Value| {
        let mut body = json!({ "query": "Is it red? ", "items": ["Yes.", "No."], "label_token_ids": [40, 41], "apply_softmax": true });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let ask = |extra: Value| server.ok("/v1/score", &with(extra));
    let read = |body: &Value, path: &str| body.pointer(path).and_then(Value::as_f64).unwrap();
    let plain = ask(json!({ "return_token_logprobs": true }));
    let warm = ask(json!({ "temperature": 4 }));
    for item in 0..2 {
        let logprobs = |label: usize| read(&plain, &format!("/token_logprobs/{item}/{label}"));
        let scores = |body: &Value| [0, 1].map(|label| read(body, &format!("/scores/{item}/{label}")));
        // The scores are the softmax of the logits, divided by the temperature if there is one.
        let odds = logprobs(0) - logprobs(1);
        for (body, temperature) in [(&plain, 1.0), (&warm, 4.0)] {
            let [first, second] = scores(body);
            assert!(((first / second).ln() - odds / temperature).abs() < 1e-4, "{body}");
        }
    }
    assert!(warm.get("token_logprobs").is_none());
    // A temperature changes the probabilities among the labels, which have to be asked for.
    for softmax in [json!(null), json!(false)] {
        let refused = server.post("/v1/score", &with(json!({ "temperature": 4, "apply_softmax": softmax })));
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("temperature")));
        ask(json!({ "temperature": 1, "apply_softmax": softmax }));
    }
    server.ok("/generative_scoring", &with(json!({ "temperature": 4, "apply_softmax": null })));
    // A list of labels for each item, of which the second is the first in reverse order.
    let each = ask(json!({ "label_token_ids": [[40, 41], [41, 40]] }));
    assert_eq!(each["scores"][0], plain["scores"][0]);
    assert_eq!(each["scores"][1][0], plain["scores"][1][1]);
    let question = json!({ "id": "a", "type": "choice", "question": QUESTION, "options": ["red", "orange"] });
    let decide = |temperature: Value| {
        let body = json!({ "input": "x", "questions": [question], "temperature": temperature });
        server.ok("/v1/decisions", &body)["answers"]["a"].clone()
    };
    let (plain, same, warm) = (decide(json!(null)), decide(json!(1)), decide(json!(5)));
    assert_eq!(plain, same);
    let apart =
        |answer: &Value| (read(answer, "/probabilities/red") / read(answer, "/probabilities/orange")).ln();
    assert!((apart(&plain) - 5.0 * apart(&warm)).abs() < 1e-4, "{plain} {warm}");
    assert_eq!(plain["label_mass"], warm["label_mass"]);
}

#[test]
fn what_would_change_the_numbers_and_is_not_offered_is_refused_by_its_name() {
    let server = Server::with_options(&[]);
    let score = json!({ "query": "q", "items": ["a"], "label_token_ids": [9, 10] });
    let pairs = json!({ "text_1": "q", "text_2": ["a"] });
    let rerank = json!({ "query": "q", "texts": ["a"] });
    let decide = json!({ "input": "x", "questions": [{ "type": "yes_no", "question": "Is it?" }] });
    let system =
        json!({ "state": "x", "questions": { "a": { "type": "predicate", "instructions": "Is it?" } } });
    let with = |body: &Value, place: &str, name: &str, value: Value| {
        let mut body = body.clone();
        body.pointer_mut(place).unwrap()[name] = value;
        body
    };
    for (path, body, place, name, value) in [
        ("/v1/score", &score, "", "score_extraction_token", json!("<x>")),
        ("/v1/score", &score, "", "return_pooled_hidden_states", json!(true)),
        ("/generative_scoring", &score, "", "return_token_logprobs", json!(true)),
        ("/score", &pairs, "", "use_activation", json!(false)),
        ("/rerank", &rerank, "", "raw_scores", json!(true)),
        ("/rerank", &rerank, "", "rank_fields", json!(["text"])),
        ("/rerank", &rerank, "", "chat_template_kwargs", json!({ "enable_thinking": true })),
        ("/predict", &json!({ "inputs": [QUESTION, "Red."] }), "", "raw_scores", json!(true)),
        ("/v1/decisions", &decide, "", "return_prompt_token_ids", json!(true)),
        ("/v1/decisions", &decide, "/questions/0", "weight", json!(2)),
        ("/v1/systemone", &system, "", "temperature", json!(2)),
        ("/v1/systemone", &system, "/questions/a", "threshold", json!(0.5)),
    ] {
        let refused = server.post(path, &with(body, place, name, value));
        let (status, told) = (refused.status, refused.text());
        assert!([400, 422].contains(&status) && told.contains(name), "{path}: {told}");
        for (name, nothing) in [(name, json!(null)), ("user", json!("me")), ("priority", json!(3))] {
            // `null` is accepted in a question too; `user` and `priority` only in the body itself.
            let place = if name == "user" || name == "priority" { "" } else { place };
            server.ok(path, &with(body, place, name, nothing));
        }
    }
    for (path, body, name, value) in [
        ("/v1/score", &score, "temperature", json!(0)),
        ("/v1/decisions", &decide, "temperature", json!(-1)),
        ("/v1/score", &score, "label_token_ids", json!([[9], [10]])),
        ("/v1/score", &score, "label_token_ids", json!([[]])),
        ("/v1/score", &with(&score, "", "apply_softmax", json!(false)), "temperature", json!(2)),
    ] {
        let refused = server.post(path, &with(body, "", name, value));
        assert_eq!(refused.status, 400, "{path}");
        let told = refused.json();
        assert!(told["error"]["param"].as_str().unwrap().starts_with(name), "{told}");
    }
    // All questions are checked before any is judged.
    let before = server.engine("steps");
    let mut questions: Vec<Value> = vec![decide["questions"][0].clone(); 3];
    questions[2] = json!({ "type": "choice", "question": "Which?", "options": ["one"] });
    let refused = server.post("/v1/decisions", &json!({ "input": "y", "questions": questions }));
    assert_eq!(refused.json()["error"]["param"], "questions[2].options");
    assert_eq!(server.engine("steps"), before);
}
