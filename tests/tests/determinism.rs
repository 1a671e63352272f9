//! The same request gives the same numbers, bit for bit, whatever the server computes beside it or computed before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use gavel_tests::{Server, image};
use serde_json::{Value, json};

/// The critic's verdict on a response, with all probabilities and the justification; and the number of cached tokens.
fn judged(server: &Server) -> (Value, u64) {
    let body = json!({
        "question": "What is at the left?",
        "images": [image("tiny56-tall_1x4-0.png")],
        "response": "There is a red square at the left, beside a large green star.",
        "mode": "score_then_explain",
        "distribution": true,
        "max_tokens": 24,
        "memo": false,
    });
    let mut verdict = server.ok("/judge", &body);
    let cached = verdict["usage"]["cached_tokens"].as_u64().unwrap();
    ["usage", "receipt"].into_iter().for_each(|member| drop(verdict.as_object_mut().unwrap().remove(member)));
    (verdict, cached)
}

/// Another request, a different one for each number: a long one, whose prompt takes several steps, or a short one.
fn other(number: usize) -> Value {
    let words = if number.is_multiple_of(3) { 300 } else { 5 + number };
    json!({
        "question": format!("{number} What do you see?"),
        "response": "There is a star. ".repeat(words / 5 + 1),
        "max_tokens": 8 + number,
    })
}

#[test]
fn a_verdict_is_the_same_alone_and_warm_and_in_company() {
    let server = Server::with_options(&[]);
    let (alone, cold) = judged(&server);
    assert_eq!(cold, 0);
    let (warm, cached) = judged(&server);
    assert!(cached >= 32, "the second one reads what the first one kept");
    assert_eq!(alone, warm);

    let before = [server.engine("steps"), server.engine("tokens")];
    std::thread::scope(|scope| {
        for number in 0..32 {
            let server = &server;
            scope.spawn(move || server.ok("/judge", &other(number)));
            if number % 8 == 4 {
                scope.spawn(|| assert_eq!(judged(server).0, alone));
            }
        }
    });
    let [steps, tokens] = [server.engine("steps") - before[0], server.engine("tokens") - before[1]];
    assert!(tokens > 2 * steps, "{tokens} tokens in {steps} steps: they ran together");

    // Unlike the warm requests before, this one is cold and begins while others run.
    let fresh = Server::with_options(&[]);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..32)
            .map(|number| {
                scope.spawn({
                    let fresh = &fresh;
                    move || fresh.ok("/judge", &other(number))
                })
            })
            .collect();
        gavel_tests::wait_until("others run", || fresh.engine("running") > 1);
        let (crowded, cached) = judged(&fresh);
        assert_eq!((crowded, cached), (alone.clone(), 0));
        others.into_iter().for_each(|other| drop(other.join().unwrap()));
    });
}

#[test]
fn a_verdict_is_the_same_after_its_prompt_was_forgotten() {
    // The cache has one context, from which a few long prompts evict everything else.
    let server = Server::with_options(&["--cache-mib", "1"]);
    let (first, _) = judged(&server);
    for number in 0..6 {
        let body =
            json!({ "question": format!("{number}"), "response": "a b c d ".repeat(300), "max_tokens": 1 });
        server.ok("/judge", &body);
    }
    let (again, cached) = judged(&server);
    assert_eq!((&again, cached), (&first, 0));
    let (kept, cached) = judged(&server);
    assert!(kept == first && cached >= 32, "{cached} tokens are kept");
}

#[test]
fn criteria_like_json_have_one_verdict_in_a_thousand_repeats_under_load() {
    const REPEATS: usize = 1000;
    const CLIENTS: usize = 16;
    let server = Server::with_options(&[]);
    let criteria = json!({ "rubric": { "accuracy": [1, 5], "notes": ["be strict", { "ties": false }] } });
    let asked = json!({
        "question": "What is at the left?",
        "images": [image("tiny56-tall_1x4-0.png")],
        "response": "{\"left\": \"a red square\"}",
        "criteria": criteria.to_string(),
        "scale": { "min": 1, "max": 5, "step": 1 },
        "mode": "score",
        "memo": false,
    });
    let verdict = || {
        let told = server.ok("/judge", &asked);
        format!("{} {}", told["score"], told["distribution"])
    };
    let done = AtomicBool::new(false);
    let distinct = std::thread::scope(|scope| {
        for number in 0..4 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    server.ok("/judge", &other(number));
                }
            });
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| (0..REPEATS.div_ceil(CLIENTS)).map(|_| verdict()).collect::<BTreeSet<_>>())
            })
            .collect();
        let told = clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<BTreeSet<_>>();
        done.store(true, Ordering::Relaxed);
        told
    });
    assert_eq!(distinct.len(), 1, "{distinct:?}");
}
