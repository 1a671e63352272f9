//! Several samples and several rubrics in one call of `POST /judge`, on the built server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image, picture, uncounted};
use serde_json::{Value, json};

/// A case about the README's image.
fn body(extra: &Value) -> Value {
    let mut body =
        json!({ "question": "What colour is the circle?", "images": [picture()], "max_tokens": 24 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn numbers(samples: &Value, member: &str) -> Vec<f64> {
    samples.as_array().unwrap().iter().map(|sample| sample[member].as_f64().unwrap()).collect()
}

#[test]
fn samples_have_a_mean_a_spread_and_seeds_that_repeat_them() {
    // The checkpoint is random, so that its verdicts vary.
    let server = Server::deciding();
    let asked = body(&json!({ "response": "It is round.", "samples": 8, "temperature": 2, "seed": 100 }));
    let told = server.ok("/judge", &asked);
    let samples = &told["samples"];
    let scores = numbers(samples, "score");
    assert_eq!(scores.len(), 8);
    let mean = scores.iter().sum::<f64>() / 8.0;
    assert!((told["score"].as_f64().unwrap() - mean).abs() < 1e-9, "{told}");
    let deviation = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 7.0).sqrt();
    assert!(deviation > 0.0, "they differ: {scores:?}");
    assert!((told["spread"]["standard_deviation"].as_f64().unwrap() - deviation).abs() < 1e-9);
    assert_eq!((&told["spread"]["verdicts"], &told["spread"]["failures"]), (&json!(8), &json!(0)));
    let seeds: Vec<&Value> = samples.as_array().unwrap().iter().map(|one| &one["receipt"]["seed"]).collect();
    assert_eq!(json!(seeds), json!((100..108).collect::<Vec<_>>()));
    assert!(told.get("receipt").is_none(), "each has its own");

    // The image and the question were computed once.
    let (prompt, cached) = (numbers_of(samples, "prompt_tokens"), numbers_of(samples, "cached_tokens"));
    let kept = cached.iter().filter(|cached| **cached >= (prompt[0] - 64.0)).count();
    assert!(kept >= 7, "{cached:?} of {prompt:?}");

    assert_eq!(uncounted(server.ok("/judge", &asked)), uncounted(told.clone()));
    let one = body(&json!({ "response": "It is round.", "temperature": 2, "seed": 103 }));
    assert_eq!(uncounted(server.ok("/judge", &one)), uncounted(samples[3].clone()));
    let other = body(&json!({ "response": "It is round.", "samples": 8, "temperature": 2, "seed": 7 }));
    assert_ne!(numbers(&server.ok("/judge", &other)["samples"], "score"), scores);
}

#[test]
fn samples_by_a_rubric_of_expected_scores_vary_too() {
    let server = Server::deciding();
    let asked = json!({ "response": "It is round.", "rubric": "factuality", "mode": "score" });
    // Nearly all of the probability is that of one score.
    let drawn = json!({ "samples": 64, "temperature": 2, "seed": 100 });
    let [mut one, mut several] = [body(&asked), body(&asked)];
    several.as_object_mut().unwrap().extend(drawn.as_object().unwrap().clone());
    let told = server.ok("/judge", &several);
    assert!(told["spread"]["standard_deviation"].as_f64().unwrap() > 0.0, "{told}");
    let scores = numbers(&told["samples"], "score");
    assert!(scores.iter().all(|score| score % 5.0 == 0.0), "each is a step of the scale: {scores:?}");
    let rare = scores.iter().position(|score| *score != scores[0]).unwrap();
    one["temperature"] = json!(2);
    one["seed"] = json!(100 + rare);
    assert_eq!(uncounted(server.ok("/judge", &one)), uncounted(told["samples"][rare].clone()));
}

fn numbers_of(samples: &Value, count: &str) -> Vec<f64> {
    samples.as_array().unwrap().iter().map(|sample| sample["usage"][count].as_f64().unwrap()).collect()
}

#[test]
fn samples_of_a_comparison_have_a_majority_and_need_no_text() {
    let server = Server::with_options(&[]);
    let told = server.ok(
        "/judge",
        &body(
            &json!({ "responses": ["It is round.", "It is big."], "mode": "score", "samples": 9, "seed": 1 }),
        ),
    );
    let samples = told["samples"].as_array().unwrap();
    let said = |word: &str| samples.iter().filter(|sample| sample["preference"] == word).count();
    let counts = ["first", "second", "tie"].map(|word| (word, said(word)));
    let (_, most) = counts.into_iter().max_by_key(|(_, count)| *count).unwrap();
    let leading: Vec<_> = counts.iter().filter(|(_, count)| *count == most).collect();
    let majority = if let [(word, _)] = leading[..] { word } else { &"tie" };
    assert_eq!(told["preference"], **majority);
    let agreement = said(majority) as f64 / 9.0;
    assert!((told["spread"]["agreement"].as_f64().unwrap() - agreement).abs() < 1e-9, "{told}");
    assert!(samples.iter().all(|sample| sample["justification"] == ""));
    let temperature = &samples[0]["receipt"]["temperature"];
    assert_eq!(temperature, 1.0, "several samples are drawn at this temperature unless another is asked for");
}

#[test]
fn a_case_is_judged_by_several_rubrics_at_once() {
    let server = Server::with_options(&[]);
    let own = json!({ "criteria": "Is it short?", "scale": { "min": 1, "max": 3 } });
    let bad = json!({ "criteria": "Is it short?", "scale": { "min": 3, "max": 1 } });
    let rubrics = json!(["helpfulness", own, "acuracy", bad, "better", "accuracy"]);
    let told =
        server.ok("/judge", &body(&json!({ "response": "The circle is orange.", "rubrics": rubrics })));
    let verdicts = told["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 6);
    let names: Vec<&Value> = [0, 1, 5].map(|index: usize| &verdicts[index]["rubric"]).to_vec();
    assert_eq!(json!(names), json!(["helpfulness", "inline", "accuracy"]));
    assert!(verdicts[1]["score"].as_f64().unwrap() <= 3.0);
    for (index, code, param) in [
        (2, "unknown_rubric", "rubrics[2]"),
        (3, "invalid_rubric", "rubrics[3].scale.max"),
        (4, "invalid_rubric", "rubrics[4]"),
    ] {
        let error = &verdicts[index]["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &json!(param)), "{error}");
    }
    // The first verdict to begin computes the image, and the others read it from the cache.
    let cached = |index: usize| verdicts[index]["usage"]["cached_tokens"].as_u64().unwrap();
    let mut shared = [cached(0), cached(1), cached(5)];
    shared.sort_unstable();
    assert!(shared[0] == 0 && shared[1] >= 160, "{shared:?} of {}", verdicts[0]["usage"]["prompt_tokens"]);

    for (index, rubric) in [(0, json!("helpfulness")), (1, own), (5, json!("accuracy"))] {
        let alone =
            server.ok("/judge", &body(&json!({ "response": "The circle is orange.", "rubric": rubric })));
        assert_eq!(uncounted(alone), uncounted(verdicts[index].clone()));
    }
}

#[test]
fn what_most_prompts_share_comes_first_for_unknown_critics_too() {
    let server = Server::random();
    let asked = json!({
        "question": "What is shown? ".repeat(20),
        "response": "A cat.",
        "images": [image("tiny56-square-0.png")],
        "mode": "score",
        "rubrics": ["helpfulness", "accuracy", "completeness"],
    });
    let told = server.ok("/judge", &asked);
    let count = |index: usize, name: &str| told["verdicts"][index]["usage"][name].as_u64().unwrap();
    let mut cached = [0, 1, 2].map(|index| count(index, "cached_tokens"));
    cached.sort_unstable();
    assert!(cached[1] * 2 > count(0, "prompt_tokens"), "the question is shared: {cached:?} of {told}");
}

#[test]
fn samples_and_rubrics_that_make_no_sense_are_named() {
    let server = Server::with_options(&[]);
    let many: Vec<&str> = vec!["helpfulness"; 65];
    for (extra, param) in [
        (json!({ "samples": 0 }), "samples"),
        (json!({ "samples": 65 }), "samples"),
        (json!({ "samples": 2, "temperature": 0 }), "temperature"),
        (json!({ "temperature": 2.5 }), "temperature"),
        (json!({ "temperature": -1 }), "temperature"),
        (json!({ "temperature": 1, "top_p": 0 }), "top_p"),
        (json!({ "samples": 2, "stream": true }), "stream"),
        (json!({ "rubrics": [] }), "rubrics"),
        (json!({ "rubrics": many }), "rubrics"),
        (json!({ "rubrics": ["accuracy"], "rubric": "accuracy" }), "rubrics"),
        (json!({ "rubrics": ["accuracy"], "stream": true }), "stream"),
    ] {
        let mut body = json!({ "question": "?", "response": "a" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let refused = server.post("/judge", &body);
        let (status, error) = (refused.status, refused.json());
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)), "{body} gave {error}");
    }
    let pair = json!({ "question": "?", "responses": ["a", "b"], "order": "both", "samples": 2 });
    assert_eq!(server.post("/judge", &pair).json()["error"]["param"], "samples");
    // Several rubrics are not streamed in the given order either, so the order is not to blame.
    let several = json!({
        "question": "?", "responses": ["a", "b"], "order": "both", "rubrics": ["accuracy", "helpfulness"], "stream": true,
    });
    assert_eq!(server.post("/judge", &several).json()["error"]["param"], "stream");
}

/// Scales on which a probable first token may lead to improbable scores only: "1" begins "10", "15" and "1.5".
#[test]
fn the_verdict_is_the_most_probable_one_of_its_distribution() {
    let scales = [json!({ "min": 0, "max": 50, "step": 5 }), json!({ "min": 0, "max": 10, "step": 0.5 })];
    for server in [Server::deciding(), Server::with_options(&[])] {
        for (scale, mode) in scales.iter().flat_map(|scale| [(scale, "score"), (scale, "explain_then_score")])
        {
            for response in ["It is round.", "The circle is orange.", "I like music."] {
                let extra = json!({
                    "response": response, "mode": mode, "scale": scale, "criteria": "Judge whether it is right.",
                });
                let told = server.ok("/judge", &body(&extra));
                let probability = |one: &Value| one["probability"].as_f64().unwrap();
                let probabilities = told["distribution"]["probabilities"].as_array().unwrap();
                let most = probabilities.iter().map(probability).fold(0.0, f64::max);
                let verdict = probabilities.iter().find(|one| one["score"] == told["score"]).unwrap();
                assert!(probability(verdict) == most, "{told}");
            }
        }
    }
}
