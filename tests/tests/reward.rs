//! `POST /reward` on the built server: rewards, rankings, pairs for preference learning, and refused requests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, uncounted};
use serde_json::{Value, json};

/// The README's image, as base64.
fn picture() -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let path = gavel_tests::reference().join("../../training/examples/scene.png");
    BASE64_STANDARD.encode(std::fs::read(path).unwrap())
}

fn body(extra: &Value) -> Value {
    let responses =
        ["The circle is orange.", "The circle is purple.", "I like music.", "The circle is blue."];
    let mut body =
        json!({ "question": "What colour is the circle?", "images": [picture()], "responses": responses });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn all_pairs_make_the_rewards_of_the_paper() {
    let server = Server::with_options(&[]);
    let before = server.engine("tokens");
    let told = server.ok("/reward", &body(&json!({})));
    let rewards = numbers(&told["rewards"]);
    assert_eq!(rewards.len(), 4);
    let a = |first: usize, second: usize| told["matrix"][first][second].as_f64().unwrap();
    for (i, reward) in rewards.iter().enumerate() {
        let others = (0..4).filter(|k| *k != i);
        let expected: f64 = others.map(|k| a(k, i) - a(i, k)).sum();
        assert!((reward - expected).abs() < 1e-9, "{told}");
        assert!(told["matrix"][i][i].is_null());
    }
    assert!(rewards.iter().sum::<f64>().abs() < 1e-9, "what one wins another loses");
    let ranking: Vec<usize> = serde_json::from_value(told["ranking"].clone()).unwrap();
    assert!(ranking.windows(2).all(|pair| rewards[pair[0]] >= rewards[pair[1]]));
    assert_eq!((&told["chosen"], &told["rejected"]), (&json!(ranking[0]), &json!(ranking[3])));
    assert!((told["margin"].as_f64().unwrap() - (rewards[ranking[0]] - rewards[ranking[3]])).abs() < 1e-9);
    assert_eq!(told["failures"], json!([]));

    // Of the twelve prompts, little more was computed than the parts that differ.
    let asked = told["usage"]["prompt_tokens"].as_u64().unwrap();
    let computed = server.engine("tokens") - before;
    assert!(computed * 3 < asked, "{computed} of {asked} tokens were computed");
    assert_eq!(told["usage"]["cached_tokens"].as_u64().unwrap() + computed, asked);

    // The same pairs, one by one through `/judge`.
    let pair = |first: usize, second: usize| {
        let responses = &body(&json!({}))["responses"];
        let case = json!({ "responses": [responses[first], responses[second]], "mode": "score" });
        let mut asked = body(&case);
        asked.as_object_mut().unwrap().remove("response");
        let probabilities = server.ok("/judge", &asked)["distribution"]["probabilities"].clone();
        probabilities[1]["probability"].as_f64().unwrap() - probabilities[0]["probability"].as_f64().unwrap()
    };
    assert!((pair(0, 1) - a(0, 1)).abs() < 1e-9 && (pair(3, 2) - a(3, 2)).abs() < 1e-9);
}

#[test]
fn other_methods_and_signals() {
    let server = Server::with_options(&[]);
    let by = |extra: Value| server.ok("/reward", &body(&extra));
    let said = by(json!({ "signal": "verdict" }));
    assert!(numbers(&said["rewards"]).iter().all(|reward| reward.fract() == 0.0 && reward.abs() <= 6.0));
    let strengths = by(json!({ "method": "bradley_terry" }));
    assert!(numbers(&strengths["rewards"]).iter().sum::<f64>().abs() < 1e-9);
    assert_eq!(strengths["matrix"], by(json!({}))["matrix"]);
    let rounds = by(json!({ "method": "tournament" }));
    let compared = rounds["matrix"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(compared.filter(|entry| entry.is_number()).count(), 6, "three meetings in both orders");
    assert_eq!(numbers(&rounds["rewards"]).iter().copied().fold(0.0, f64::max), 2.0);
    // What is as good as another goes out too where it comes later, but that makes no pair for training.
    let same = |method: &str| by(json!({ "method": method, "responses": ["Orange.", "Orange.", "Orange."] }));
    let rounds = same("tournament");
    assert_eq!((numbers(&rounds["rewards"]), rounds.get("chosen")), (vec![2.0, 0.0, 1.0], None));
    for method in ["round_robin", "bradley_terry"] {
        let even = same(method);
        assert_eq!((numbers(&even["rewards"]), even.get("chosen")), (vec![0.0; 3], None), "{method}");
    }
    let scores = by(json!({ "method": "pointwise", "rubric": "accuracy" }));
    assert!(numbers(&scores["rewards"]).iter().all(|score| (1.0..=10.0).contains(score)));
    assert!(scores.get("matrix").is_none());
}

#[test]
fn a_response_that_cannot_be_compared_puts_none_out_of_a_tournament() {
    let server = Server::with_options(&[]);
    let long = "x ".repeat(9000);
    let by = |method: &str, responses: &[&str]| {
        uncounted(server.ok("/reward", &body(&json!({ "method": method, "responses": responses }))))
    };
    for place in 0..4 {
        let mut responses = vec!["The circle is orange.", "The circle is purple.", "I like music."];
        responses.insert(place, &long);
        let told = by("tournament", &responses);
        assert_eq!(told["chosen"], by("round_robin", &responses)["chosen"], "{place}: {told}");
        let rewards = told["rewards"].as_array().unwrap();
        assert!((0..4).all(|index| rewards[index].is_null() == (index == place)), "{place}: {told}");
        let failures = told["failures"].as_array().unwrap();
        assert!(
            failures.iter().all(|failure| [&failure["first"], &failure["second"]].contains(&&json!(place)))
        );
        assert!(failures.len() <= 6, "each pair meets once, in both orders");
        assert_eq!(by("tournament", &responses), told);
    }
    let few = by("tournament", &[long.as_str(), "The circle is orange.", "The circle is purple."]);
    assert_eq!((&few["chosen"], &few["rejected"], &few["margin"]), (&json!(1), &json!(2), &json!(1.0)));
}

#[test]
fn many_prompts_are_answered_in_order_and_fail_alone() {
    let server = Server::with_options(&[]);
    let one = json!({ "question": "What is it?", "responses": ["A star.", "A cross."] });
    let alone = json!({ "question": "What is it?", "responses": ["A star."] });
    let long = json!({ "question": "x ".repeat(9000), "responses": ["A star.", "A cross."] });
    let prompts = json!([one, alone, long, body(&json!({}))]);
    let told = server.ok("/reward", &json!({ "prompts": prompts }));
    let results = told["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    assert_eq!(uncounted(results[0].clone()), uncounted(server.ok("/reward", &one)));
    let told = |index: usize| (&results[index]["error"]["code"], &results[index]["error"]["param"]);
    assert_eq!(told(1), (&json!("invalid_request"), &json!("prompts[1].responses")));
    assert_eq!(told(2), (&json!("context_length_exceeded"), &json!("prompts[2].question")));
    assert_eq!(results[3]["rewards"].as_array().unwrap().len(), 4);

    let events: Vec<_> =
        server.post("/reward", &json!({ "prompts": prompts, "stream": true })).events().collect();
    assert_eq!(events.len(), 5);
    for (index, event) in events[..4].iter().enumerate() {
        let mut result = event.json();
        assert_eq!((event.name.as_str(), &result["index"]), ("result", &json!(index)));
        result.as_object_mut().unwrap().remove("index");
        assert_eq!(uncounted(result), uncounted(results[index].clone()));
    }
    assert_eq!(events[4].name, "done");
}

#[test]
fn what_makes_no_sense_is_named() {
    let server = Server::with_options(&[]);
    let refused = |body: Value, param: &str| {
        let response = server.post("/reward", &body);
        assert_eq!(response.status, 400, "{body}");
        assert_eq!(response.json()["error"]["param"], param, "{body}");
    };
    refused(json!({ "question": "?", "responses": ["one"] }), "responses");
    refused(json!({ "question": "?" }), "responses");
    refused(json!({ "responses": ["one", "two"] }), "question");
    refused(json!({ "prompts": [], "question": "?" }), "prompts");
    refused(json!({ "prompts": [], "reference": "?" }), "prompts");
    refused(json!({ "prompts": [] }), "prompts");
    refused(json!({ "prompts": [["?", [], [], ["one", "two"]]] }), "prompts[0]");
    refused(json!({ "prompts": [{ "responses": ["one", "two"] }] }), "prompts[0].question");
    let wrong = json!({ "question": "?", "images": ["!"], "responses": ["one", "two"] });
    refused(json!({ "prompts": [wrong] }), "prompts[0].images[0]");
    let wrong_kind = server.post("/reward", &body(&json!({ "rubric": "accuracy" })));
    assert_eq!((wrong_kind.status, wrong_kind.json()["code"].clone()), (400, json!("invalid_rubric")));
    // This critic answers every comparison with a preference, never with scores.
    let no_scores =
        server.post("/reward", &body(&json!({ "signal": "scores", "rubric": "llava-bench-pair" })));
    assert_eq!(no_scores.status, 400);
    assert_eq!(no_scores.json()["code"], "unsupported_rubric");
    let fields = server.post("/reward", &body(&json!({ "methods": "pointwise" })));
    assert_eq!(fields.status, 400);
    // An error that shows only when an image is decoded names the image too.
    let damaged = json!({ "question": "?", "images": [picture(), "AAAA"], "responses": ["one", "two"] });
    refused(damaged.clone(), "images[1]");
    // Responses without a word are certain without it, and make no reward alone.
    for method in ["pointwise", "round_robin", "tournament"] {
        let responses = ["", "one", "two", "three"];
        refused(
            json!({ "question": "?", "images": ["AAAA"], "responses": responses, "method": method }),
            "images[0]",
        );
    }
    let long = "x ".repeat(9000);
    refused(json!({ "question": "?", "responses": ["one", long] }), "responses[1]");
    refused(json!({ "question": long, "responses": ["one", "two"] }), "question");
    let rubric = json!({ "criteria": long });
    refused(json!({ "question": "?", "responses": ["one", "two"], "rubric": rubric }), "rubric.criteria");
    let told = server.ok("/reward", &json!({ "prompts": [damaged] }));
    assert_eq!(told["results"][0]["error"]["param"], "prompts[0].images[1]");
}

#[test]
fn what_is_null_is_as_good_as_absent() {
    let server = Server::with_options(&[]);
    let nulls = json!({
        "frames": null, "response_ids": null, "reference": null, "description": null, "prompts": null, "method": null,
        "signal": null, "rubric": null, "criteria": null, "scale": null, "format": null, "critique": null,
        "max_tokens": null, "tiling": null, "calibration": null, "degenerate": null, "invisible": null, "stream": null,
    });
    let plain = server.ok("/reward", &body(&json!({})));
    assert_eq!(server.ok("/reward", &body(&nulls))["rewards"], plain["rewards"]);
    let prompt = json!({ "question": "?", "responses": ["one", "two"], "images": null, "frames": null, "response_ids": null });
    server.ok("/reward", &json!({ "prompts": [prompt] }));
}
