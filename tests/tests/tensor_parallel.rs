//! A decoder that is split over ranks, on the built server: it gives the same verdicts as one that is not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use gavel_tests::{Server, binary, image, picture};
use serde_json::{Value, json};

/// Requests for scores, comparisons and verdicts that are read from logits, some with images.
fn bodies() -> Vec<Value> {
    let colour = "What colour is the circle?";
    let pair = ["The circle is purple.", "There is a green star."];
    vec![
        json!({ "question": colour, "images": [picture()], "response": pair[0] }),
        json!({ "question": colour, "images": [picture()], "response": pair[1], "mode": "score" }),
        json!({ "question": colour, "images": [picture()], "responses": pair }),
        json!({
            "question": "What is at the left?",
            "images": [image("tiny56-tall_1x4-0.png")],
            "response": "A red square.",
            "mode": "score_then_explain",
            "distribution": true,
        }),
        json!({ "question": "What is two and two?", "response": "Four.", "max_tokens": 24 }),
    ]
}

/// Takes the probabilities out of a verdict: their last digits depend on the order of sums.
fn take_probabilities(verdict: &mut Value) -> Vec<f64> {
    let distribution = verdict.as_object_mut().unwrap().remove("distribution").unwrap_or_default();
    fn numbers(value: &Value) -> Vec<f64> {
        match value {
            Value::Number(number) => number.as_f64().into_iter().collect(),
            Value::Array(values) => values.iter().flat_map(numbers).collect(),
            Value::Object(members) => members.values().flat_map(numbers).collect(),
            Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
        }
    }
    let mut found = numbers(&distribution);
    for member in ["confidence", "expected_score"] {
        found.extend(verdict.as_object_mut().unwrap().remove(member).iter().flat_map(numbers));
    }
    found
}

#[test]
fn two_ranks_judge_as_one_does() {
    let [one, two] = [&[][..], &["--tensor-parallel", "2"]].map(Server::with_options);
    let mut probabilities = 0;
    for body in bodies() {
        let [mut wanted, mut found] = [&one, &two].map(|server| server.ok("/judge", &body));
        assert_eq!(found["receipt"]["tensor_parallel"], 2);
        assert_eq!(wanted["receipt"]["tensor_parallel"], 1);
        for verdict in [&mut wanted, &mut found] {
            verdict.as_object_mut().unwrap().remove("receipt").unwrap();
        }
        let (exact, near) = (take_probabilities(&mut wanted), take_probabilities(&mut found));
        assert_eq!(exact.len(), near.len(), "{body}");
        probabilities += exact.len();
        assert!(exact.iter().zip(&near).all(|(a, b)| (a - b).abs() < 1e-3), "{exact:?} {near:?}");
        assert_eq!(found, wanted, "{body}");
    }
    assert!(probabilities >= 10, "only {probabilities} were compared");
}

#[test]
fn a_receipt_of_another_split_is_of_something_else() {
    let [one, two] = [&[][..], &["--tensor-parallel", "2"]].map(Server::with_options);
    let mut body = bodies().remove(0);
    body["expect"] = one.ok("/judge", &body)["receipt"].clone();
    let refused = two.post("/judge", &body);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["error"]["param"], "expect.tensor_parallel");
}

#[test]
fn a_split_that_cannot_be_ends_the_start_with_the_reason() {
    for (ranks, reason) in
        [("3", "num_key_value_heads is 2; expected a multiple of 3"), ("0", "--tensor-parallel")]
    {
        let serve = ["serve", "--port", "0", "--device", "cpu", "--tensor-parallel", ranks];
        let output = Command::new(binary()).args(serve).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(reason), "{told}");
    }
}
