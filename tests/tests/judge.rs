//! `POST /judge` on the built server: verdicts, streamed and not, and refused requests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image, uncounted};
use serde_json::{Value, json};

#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn case(extra: Value) -> Value {
    let mut body = json!({ "question": "What is shown?", "max_tokens": 24 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn total_is_a_sum(usage: &Value) -> bool {
    let count = |name: &str| usage[name].as_u64().unwrap();
    count("prompt_tokens") > 0
        && count("completion_tokens") > 0
        && count("total_tokens") == count("prompt_tokens") + count("completion_tokens")
}

#[test]
fn one_response_gets_a_score_and_two_a_preference() {
    let server = Server::steered();
    let scored = server.ok("/judge", &case(json!({ "response": "A cat." })));
    assert_eq!(scored["score"], 7.0);
    assert_eq!(scored["scale"], json!({ "min": 1.0, "max": 10.0, "step": 1.0 }));
    assert!(scored.get("preference").is_none());
    assert!(!scored["justification"].as_str().unwrap().is_empty());
    assert!(total_is_a_sum(&scored["usage"]), "{scored}");
    assert_eq!((&scored["model"], &scored["rubric"]), (&json!("tiny56"), &json!("helpfulness")));

    let preferred = server.ok("/judge", &case(json!({ "responses": ["A cat.", "A dog."] })));
    assert_eq!(preferred["preference"], "second");
    assert!(preferred.get("score").is_none() && preferred.get("scale").is_none());
    assert_eq!(preferred["rubric"], "better");

    let in_a_list = server.ok("/judge", &case(json!({ "responses": ["A cat."] })));
    assert_eq!(
        uncounted(in_a_list),
        uncounted(scored),
        "a list of one response is one response, and verdicts repeat"
    );
}

#[test]
fn a_streamed_verdict_is_the_whole_one_in_pieces() {
    let server = Server::steered();
    let image = image("tiny56-square-0.png");
    let body = case(json!({ "response": "A cat.", "images": [image], "memo": false }));
    let whole = server.ok("/judge", &body);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    let events: Vec<_> = server.post("/judge", &streamed).events().collect();
    let (decision, events) = events.split_first().unwrap();
    assert_eq!((decision.name.as_str(), decision.json()), ("decision", json!({ "score": 7.0 })));
    let (last, pieces) = events.split_last().unwrap();
    assert!(pieces.len() > 3, "the text comes in pieces: {events:?}");
    let text: String = (pieces.iter())
        .map(|event| {
            assert_eq!(event.name, "justification");
            event.json()["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(last.name, "verdict");
    assert_eq!(uncounted(last.json()), uncounted(whole.clone()));
    assert_eq!(text, whole["justification"].as_str().unwrap());
}

#[test]
fn a_remembered_verdict_is_streamed_in_the_order_of_the_first_one() {
    let server = Server::deciding();
    let kinds = |mode: &str, memo: bool| {
        let body = case(json!({ "response": "A cat.", "mode": mode, "memo": memo, "stream": true }));
        let mut names: Vec<String> = server.post("/judge", &body).events().map(|event| event.name).collect();
        names.dedup();
        names
    };
    for (mode, expected) in [
        ("explain_then_score", &["justification", "decision", "verdict"][..]),
        ("score_then_explain", &["decision", "justification", "verdict"][..]),
        ("score", &["decision", "verdict"][..]),
    ] {
        assert_eq!(kinds(mode, false), expected);
        assert_eq!((kinds(mode, true), kinds(mode, true)), (kinds(mode, false), kinds(mode, false)));
    }
}

#[test]
fn a_verdict_can_be_read_from_the_logits_alone_before_and_after_the_reasons() {
    let server = Server::deciding();
    let judged = |extra: Value, mode: &str, distribution: bool| {
        let mut body = case(extra);
        body["mode"] = json!(mode);
        body["distribution"] = json!(distribution);
        server.ok("/judge", &body)
    };
    let one = || json!({ "response": "A cat." });
    let read = judged(one(), "score", false);
    assert_eq!(read["justification"], "");
    let probabilities = read["distribution"]["probabilities"].as_array().unwrap();
    assert_eq!(probabilities.len(), 10);
    let number = |value: &Value| value.as_f64().unwrap();
    let sum: f64 = probabilities.iter().map(|entry| number(&entry["probability"])).sum();
    let mean: f64 =
        probabilities.iter().map(|entry| number(&entry["probability"]) * number(&entry["score"])).sum();
    assert!(
        (sum - 1.0).abs() < 1e-9 && (mean - number(&read["distribution"]["expected_score"])).abs() < 1e-9
    );
    assert!((0.0..1.0).contains(&number(&read["distribution"]["label_mass"])));
    assert!((0.0..=10f64.ln()).contains(&number(&read["distribution"]["entropy"])));

    let explained = judged(one(), "score_then_explain", true);
    assert_eq!((&explained["score"], &explained["distribution"]), (&read["score"], &read["distribution"]));
    assert!(!explained["justification"].as_str().unwrap().is_empty());
    let mut streamed = case(one());
    streamed.as_object_mut().unwrap().extend([
        ("mode".into(), json!("score_then_explain")),
        ("distribution".into(), json!(true)),
        ("stream".into(), json!(true)),
    ]);
    let first = server.post("/judge", &streamed).events().next().unwrap();
    assert_eq!(first.name, "decision");
    assert_eq!(first.json(), json!({ "score": read["score"], "distribution": read["distribution"] }));

    let plain = judged(one(), "score_then_explain", false);
    assert!(plain.get("distribution").is_none());
    assert_eq!(plain["justification"], explained["justification"]);

    let late = judged(one(), "explain_then_score", false);
    assert!(late["distribution"].is_object() && !late["justification"].as_str().unwrap().is_empty());
    assert!(late["score"].is_number());
    let pair = judged(json!({ "responses": ["A cat.", "A dog."] }), "score", false);
    let names = ["first", "second", "tie"];
    assert!(names.contains(&pair["preference"].as_str().unwrap()));
    let told = pair["distribution"]["probabilities"].as_array().unwrap();
    assert!(told.iter().zip(names).all(|(entry, name)| entry["preference"] == name));
    assert!(pair["distribution"].get("expected_score").is_none());
}

#[test]
fn both_orders_are_judged_and_their_mean_decides() {
    let server = Server::deciding();
    let judged = |extra: Value| server.ok("/judge", &case(extra));
    let (one, other) = ("A cat on a mat.", "A dog.");
    let both = judged(json!({ "responses": [one, other], "order": "both" }));
    let given = judged(json!({ "responses": [one, other], "distribution": true }));
    let turned = judged(json!({ "responses": [other, one], "distribution": true }));
    assert_eq!(
        uncounted(both["orders"].clone()),
        json!([uncounted(given.clone()), uncounted(turned.clone())])
    );
    let mass = |verdict: &Value, index: usize| {
        verdict["distribution"]["probabilities"][index]["probability"].as_f64().unwrap()
    };
    for (there, back) in [(0, 1), (1, 0), (2, 2)] {
        let mean = (mass(&given, there) + mass(&turned, back)) / 2.0;
        assert!((mass(&both, there) - mean).abs() < 1e-12);
    }
    let best = (0..3).max_by(|a, b| mass(&both, *a).total_cmp(&mass(&both, *b))).unwrap();
    assert_eq!(both["preference"], ["first", "second", "tie"][best]);
    let opposite = |word: &Value| match word.as_str() {
        Some("first") => "second",
        Some("second") => "first",
        _ => "tie",
    };
    assert_eq!(both["consistent"], json!(given["preference"] == opposite(&turned["preference"])));
    for wrong in [json!({ "response": one }), json!({ "responses": [one, other], "stream": true })] {
        let mut body = case(wrong);
        body["order"] = json!("both");
        let refused = server.post("/judge", &body);
        assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("order")));
    }
}

#[test]
fn images_are_seen_however_they_are_written() {
    let server = Server::steered();
    let bare = image("tiny56-square-0.png");
    let judged = |images: Value| {
        uncounted(server.ok("/judge", &case(json!({ "response": "A cat.", "images": images }))))
    };
    let none = judged(json!([]));
    let one = judged(json!([bare]));
    let prompt = |verdict: &Value| verdict["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt(&one) > prompt(&none) + 16, "an image takes tokens");
    assert_eq!(one, judged(json!([format!("data:image/jpeg;base64, {bare}")])));
    let two = judged(json!([bare, image("tiny56-tall_1x4-0.png")]));
    assert!(prompt(&two) > prompt(&none) + 32);
    assert_ne!(one["justification"], none["justification"], "an image changes what is written");
    assert_ne!(one["justification"], judged(json!([image("tiny56-grey-0.png")]))["justification"]);
}

#[test]
fn a_request_may_bring_its_own_criteria() {
    let server = Server::steered();
    let scale = json!({ "min": 0, "max": 7, "step": 0.5 });
    let body = case(json!({ "response": "A cat.", "criteria": "Is it funny?", "scale": scale }));
    let verdict = server.ok("/judge", &body);
    assert_eq!((&verdict["rubric"], &verdict["score"]), (&json!("inline"), &json!(7.0)));
    assert_eq!(verdict["scale"], json!({ "min": 0.0, "max": 7.0, "step": 0.5 }));
    let other = server.ok("/judge", &case(json!({ "response": "A cat.", "rubric": "accuracy" })));
    assert_eq!(other["rubric"], "accuracy");
    assert_ne!(verdict["justification"], other["justification"], "the criteria reach the critic");

    let narrow =
        case(json!({ "response": "A cat.", "criteria": "Is it funny?", "scale": { "min": 0, "max": 5 } }));
    let response = server.post("/judge", &narrow);
    assert_eq!(response.status, 502, "a score off the scale is no verdict");
    let body = response.json();
    assert_eq!(body["code"], "unparsable_verdict");
    assert!(body["text"].as_str().unwrap().starts_with("Score: 7\n"), "{body}");
}

#[test]
fn a_critic_that_starts_with_its_verdict_can_only_give_one_that_there_is() {
    let server = Server::deciding();
    // The checkpoint is random: unguided, it would start with anything but a score.
    for (min, max, step) in [(1.0, 10.0, 1.0), (0.0, 1.0, 0.25), (-2.0, 2.0, 1.0), (90.0, 110.0, 10.0)] {
        let scale = json!({ "min": min, "max": max, "step": step });
        let verdict = server
            .ok("/judge", &case(json!({ "response": "A cat.", "criteria": "Be right.", "scale": scale })));
        let steps = (verdict["score"].as_f64().unwrap() - min) / step;
        assert!(steps >= 0.0 && steps <= (max - min) / step && steps.fract() == 0.0, "{verdict}");
        assert!(!verdict["justification"].as_str().unwrap().is_empty(), "what follows is free");
    }
    let verdict = server.ok("/judge", &case(json!({ "responses": ["A cat.", "A dog."] })));
    assert!(["first", "second", "tie"].contains(&verdict["preference"].as_str().unwrap()), "{verdict}");

    let cut = server.ok("/judge", &json!({ "question": "?", "response": "a", "max_tokens": 1 }));
    assert!(cut["score"].is_number(), "only the reasons are cut: {cut}");
    assert_eq!(cut["finish_reason"], "length");
}

#[test]
fn a_repeated_prompt_is_not_computed_again_and_says_the_same() {
    let server = Server::steered();
    let image_body = json!({ "response": "A cat.", "images": [image("tiny56-square-0.png")], "memo": false });
    let body = case(image_body);
    let (first, second) = (server.ok("/judge", &body), server.ok("/judge", &body));
    let count = |verdict: &Value, name: &str| verdict["usage"][name].as_u64().unwrap();
    assert_eq!(count(&first, "cached_tokens"), 0);
    assert!(count(&second, "cached_tokens") > count(&second, "prompt_tokens") / 2, "{second}");
    assert_eq!(uncounted(first), uncounted(second));

    let other_image = case(json!({ "response": "A cat.", "images": [image("tiny56-grey-0.png")] }));
    let other = server.ok("/judge", &other_image);
    assert!(count(&other, "cached_tokens") < 40, "another image is another prompt: {other}");
}

#[test]
fn a_text_without_a_verdict_is_an_error_that_has_the_text() {
    let server = Server::random();
    let body = case(json!({ "response": "A cat." }));
    let response = server.post("/judge", &body);
    assert_eq!(response.status, 502);
    let whole = response.json();
    assert_eq!(whole["error"]["code"], "unparsable_verdict");
    let text = whole["text"].as_str().unwrap();
    assert!(!text.is_empty());

    let mut streamed = body;
    streamed["stream"] = json!(true);
    let events: Vec<_> = server.post("/judge", &streamed).events().collect();
    let last = events.last().unwrap();
    assert_eq!(last.name, "error");
    assert_eq!(last.json(), whole, "the event has the body of the plain error");
    assert!(events.iter().all(|event| event.name != "verdict"));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let server = Server::steered();
    let big = "x".repeat(40);
    let many = vec!["AAAA"; 257];
    let cases = [
        (case(json!({ "response": "a", "images": many })), 400, "too_many_images", "256 images"),
        (case(json!({ "response": "a", "colour": 1 })), 400, "invalid_request", "colour"),
        (case(json!({ "response": 5 })), 400, "invalid_request", "response"),
        (json!({ "response": "a" }), 400, "invalid_request", "question"),
        (
            case(json!({ "response": "a", "scale": { "min": 0, "max": 1, "x": 1 } })),
            400,
            "invalid_request",
            "scale.x",
        ),
        (case(json!({})), 400, "invalid_request", "response"),
        (case(json!({ "response": "a", "responses": ["b"] })), 400, "invalid_request", "response"),
        (case(json!({ "responses": ["a", "b", "c"] })), 400, "invalid_request", "responses"),
        (case(json!({ "responses": [] })), 400, "invalid_request", "responses"),
        (case(json!({ "response": "a", "rubric": "no-such" })), 404, "unknown_rubric", "no-such"),
        (
            case(json!({ "response": "a", "rubric": "better" })),
            400,
            "invalid_rubric",
            "compares two responses, and here one is scored.",
        ),
        (
            case(json!({ "response": "a", "rubric": "accuracy", "criteria": "x" })),
            400,
            "invalid_request",
            "rubric",
        ),
        (
            case(json!({ "response": "a", "scale": { "min": 0, "max": 1 } })),
            400,
            "invalid_request",
            "criteria",
        ),
        (case(json!({ "response": "a", "criteria": "x" })), 400, "invalid_rubric", "scale"),
        (
            case(json!({ "response": "a", "criteria": "x", "scale": { "min": 1, "max": 1 } })),
            400,
            "invalid_rubric",
            "below",
        ),
        (case(json!({ "response": "a", "max_tokens": 0 })), 400, "invalid_request", "max_tokens"),
        (
            case(json!({ "response": "a", "images": ["https://a.b/c.png"] })),
            400,
            "invalid_image_url",
            "images[0]",
        ),
        (case(json!({ "response": "a", "images": ["%%%"] })), 400, "invalid_base64_image", "images[0]"),
        (
            case(json!({ "response": "a", "images": [big] })),
            400,
            "unsupported_image_media_type",
            "unsupported image",
        ),
    ];
    for (body, status, code, word) in cases {
        let response = server.post("/judge", &body);
        assert_eq!(response.status, status, "{body}");
        let error = response.json();
        assert_eq!(error["error"]["code"], code, "{body} gave {error}");
        assert!(error.to_string().contains(word), "{error} should name {word}");
    }
}

#[test]
fn what_has_the_wrong_form_is_told_in_plain_words_and_never_quoted() {
    let server = Server::steered();
    let scale =
        |scale: Value| case(json!({ "response": "a", "rubric": { "criteria": "x", "scale": scale } }));
    let path = json!({ "response": "a", "images": ["images/scene.png"] });
    for (body, code, param, message) in [
        (json!({ "response": "a" }), "invalid_request", "question", "question is missing."),
        (
            case(json!({ "respones": "a" })),
            "invalid_request",
            "respones",
            "Unknown field `respones`; did you mean `response` or `responses`?",
        ),
        (
            case(
                json!({ "response": "a", "images": format!("data:image/png;base64,{}", "QUJD".repeat(99)) }),
            ),
            "invalid_request",
            "images",
            "images must be a list, not text.",
        ),
        (
            case(json!({ "response": "a", "order": "any" })),
            "invalid_request",
            "order",
            "order must be `given`, `both` or `agreed`, not `any`.",
        ),
        (
            case(json!({ "response": "a", "rubric": { "criteria": "x", "name": "y" } })),
            "invalid_request",
            "rubric.name",
            "Unknown field `rubric.name`. Known here: `criteria` and `scale`.",
        ),
        (scale(json!("1-5")), "invalid_request", "rubric.scale", "rubric.scale must be an object, not text."),
        (
            scale(json!([1, 5])),
            "invalid_request",
            "rubric.scale",
            "rubric.scale must be an object, not a list.",
        ),
        (
            scale(json!({ "min": 1, "max": 5, "decimal": true })),
            "invalid_request",
            "rubric.scale.decimal",
            "Unknown field `rubric.scale.decimal`; did you mean `decimals`? Known here: `min`, `max`, `step` and `decimals`.",
        ),
        (scale(json!({ "min": 1 })), "invalid_request", "rubric.scale.max", "rubric.scale.max is missing."),
        (
            case(json!({ "response": "a", "rubric": 3 })),
            "invalid_request",
            "rubric",
            "rubric must be the name of a rubric or an object with criteria, not a number.",
        ),
        (
            case(json!({ "response": "a", "expect": [] })),
            "invalid_request",
            "expect",
            "expect must be an object, not a list.",
        ),
        (json!(["What is shown?", "a"]), "invalid_request", "", "The body must be a JSON object."),
    ] {
        let response = server.post("/judge", &body);
        assert_eq!(response.status, 400, "{body}");
        let error = response.json()["error"].take();
        let named = error["param"].as_str().unwrap_or_default();
        assert_eq!((error["code"].as_str(), named), (Some(code), param), "{error}");
        assert_eq!(error["message"], message);
    }
    let error = server.post("/judge", &case(path)).json()["error"].take();
    assert_eq!(error["code"], "invalid_base64_image");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("You uploaded an unsupported image. ") && message.contains("reads no files"));
    assert!(!message.contains("scene"), "{message}");
}

#[test]
fn what_is_null_is_as_good_as_absent() {
    let server = Server::steered();
    let body = case(json!({ "response": "A cat." }));
    let mut with_nulls = body.clone();
    for name in [
        "images",
        "frames",
        "tiling",
        "responses",
        "response_id",
        "response_ids",
        "reference",
        "description",
        "rubric",
        "rubrics",
        "criteria",
        "scale",
        "format",
        "mode",
        "distribution",
        "order",
        "samples",
        "temperature",
        "top_p",
        "seed",
        "calibration",
        "degenerate",
        "invisible",
        "blind",
        "memo",
        "expect",
        "stream",
    ] {
        with_nulls[name] = Value::Null;
    }
    assert_eq!(uncounted(server.ok("/judge", &with_nulls)), uncounted(server.ok("/judge", &body)));
    let scale = json!({ "min": 0, "max": 7, "step": null, "decimals": null });
    server.ok("/judge", &case(json!({ "response": "A cat.", "criteria": "Is it funny?", "scale": scale })));
}

#[test]
fn the_rubrics_are_listed() {
    let server = Server::random();
    let body = server.get("/rubrics").json();
    let rubrics = body["rubrics"].as_array().unwrap();
    let defaults: Vec<_> = rubrics.iter().filter(|rubric| rubric["default"] == true).collect();
    assert_eq!(defaults.len(), 2, "one for a response and one for two");
    for rubric in rubrics {
        let scored = rubric["kind"] == "pointwise" || rubric["answer"] == "two_scores_line";
        assert_eq!(scored, rubric["scale"].is_object(), "{rubric}");
    }
}

#[test]
fn criteria_of_ones_own_stand_beside_or_in_place_of_the_rubric() {
    let server = Server::deciding();
    let scale = json!({ "min": 1, "max": 3 });
    let beside =
        server.ok("/judge", &case(json!({ "response": "A.", "criteria": "Is it short?", "scale": scale })));
    let inside = json!({ "response": "A.", "rubric": { "criteria": "Is it short?", "scale": scale } });
    let inside = server.ok("/judge", &case(inside));
    assert_eq!((&inside["score"], &inside["rubric"]), (&beside["score"], &json!("inline")));
    assert_eq!(inside["kind"], "pointwise");
    let unknown = server.post("/judge", &case(json!({ "response": "A.", "format": "none" })));
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json()["error"]["code"], "unknown_format");
}
