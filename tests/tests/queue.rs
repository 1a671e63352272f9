//! The queue of the built server: a request counts once, whatever it consists of, and is answered or refused as a
//! whole.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::thread;

use gavel_tests::{Server, picture, wait_until};
use serde_json::{Value, json};

/// Options for a queue that is far shorter than the number of sequences of the requests here.
const SMALL: [&str; 4] = ["--max-waiting", "4", "--max-sequences", "2"];

fn judge(extra: &Value) -> Value {
    let mut body = json!({
        "question": "What colour is the circle?",
        "images": [picture()],
        "response": "It is orange.",
        "mode": "score",
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// A request with eight responses that contain `name`, so that requests have no comparison in common.
fn reward(name: &str) -> Value {
    let responses: Vec<String> = (0..8).map(|index| format!("{name} says {index}.")).collect();
    json!({ "question": "What colour is the circle?", "images": [picture()], "responses": responses })
}

/// Requests that were refused for lack of room, as the metrics count them.
fn refusals(server: &Server) -> u64 {
    let figures = server.get("/metrics").text();
    let reasons = ["requests", "prefill_tokens"];
    let count = |reason: &str| {
        let name = format!("gavel_admission_rejections_total{{reason=\"{reason}\"}} ");
        let found = figures.lines().find_map(|line| line.strip_prefix(name.as_str()).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name} in {figures}")).parse::<u64>().unwrap()
    };
    reasons.map(count).iter().sum()
}

#[test]
fn a_request_that_is_made_of_more_than_the_line_holds_is_answered() {
    let server = Server::with_options(&[&SMALL[..], &["--max-waiting-tokens", "64"]].concat());
    let rewards = server.ok("/reward", &reward("One"));
    assert_eq!(rewards["rewards"].as_array().unwrap().len(), 8);
    assert_eq!(rewards["failures"], json!([]));
    let prompts: Vec<Value> = ["Two", "Three", "Four"].map(reward).to_vec();
    let many = server.ok("/reward", &json!({ "prompts": prompts }));
    assert!(many["results"].as_array().unwrap().iter().all(|one| one["failures"] == json!([])), "{many}");
    let samples = server.ok("/judge", &judge(&json!({ "samples": 20, "temperature": 1, "seed": 1 })));
    assert_eq!(samples["spread"]["verdicts"], 20);
    let scale = json!({ "min": 1, "max": 3 });
    let criteria = |reader: usize| format!("Is it short enough for reader {reader}?");
    let rubric = |reader: usize| json!({ "criteria": criteria(reader), "scale": scale });
    let rubrics: Vec<Value> = (0..9).map(rubric).collect();
    let verdicts = server.ok("/judge", &judge(&json!({ "rubrics": rubrics })));
    assert!(verdicts["verdicts"].as_array().unwrap().iter().all(|one| one["error"].is_null()), "{verdicts}");
    let turn = json!({ "messages": [{ "role": "user", "content": "Hm?" }], "n": 20, "max_tokens": 4 });
    let choices = server.ok("/v1/chat/completions", &turn);
    assert_eq!(choices["choices"].as_array().unwrap().len(), 20);
    let texts = json!({ "prompt": ["a", "b", "c", "d", "e", "f", "g", "h"], "n": 3, "max_tokens": 4 });
    assert_eq!(server.ok("/v1/completions", &texts)["choices"].as_array().unwrap().len(), 24);
    assert_eq!(refusals(&server), 0);
    wait_until("nothing is left", || server.engine("waiting") + server.engine("running") == 0);
}

/// Reading the image and a thousand tokens takes far longer than the limit.
#[test]
fn a_request_none_of_whose_parts_is_in_time_is_answered_as_one_with_a_single_part() {
    let server = Server::with_options(&[]);
    let long = json!({ "question": "What colour is the circle? ".repeat(150) });
    let lengthened = |mut body: Value| {
        body.as_object_mut().unwrap().extend(long.as_object().unwrap().clone());
        body
    };
    let rubric = |reader: usize| {
        let criteria = format!("Is it short enough for reader {reader}?");
        json!({ "criteria": criteria, "scale": { "min": 1, "max": 3 } })
    };
    let rubrics: Vec<Value> = (0..3).map(rubric).collect();
    let prompts: Vec<Value> = ["Two", "Three"].map(|name| lengthened(reward(name))).to_vec();
    for (path, body) in [
        ("/judge", lengthened(judge(&rubrics[0]))),
        ("/judge", lengthened(judge(&json!({ "rubrics": rubrics })))),
        ("/reward", lengthened(reward("One"))),
        ("/reward", json!({ "prompts": prompts })),
    ] {
        let headers = [("content-type", "application/json"), ("x-request-timeout-ms", "1")];
        let late = server.send("POST", path, &headers, body.to_string().as_bytes());
        let (status, told) = (late.status, late.json());
        assert_eq!((status, told["code"].as_str()), (504, Some("deadline_exceeded")), "{path}: {told}");
    }
}

#[test]
fn of_many_requests_at_once_each_is_answered_or_refused_as_a_whole_and_counted_once() {
    let server = Server::with_options(&SMALL);
    for count in [12_u64, 24] {
        let before = refusals(&server);
        let answers: Vec<(u16, Value)> = thread::scope(|scope| {
            let asking: Vec<_> = (0..count)
                .map(|index| {
                    let server = &server;
                    scope.spawn(move || {
                        let response = server.post("/reward", &reward(&format!("{count} {index}")));
                        (response.status, response.json())
                    })
                })
                .collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let refused = answers.iter().filter(|(status, _)| *status != 200).count() as u64;
        for (status, body) in &answers {
            match status {
                200 => assert_eq!(body["failures"], json!([]), "{body}"),
                _ => assert_eq!((*status, body["code"].as_str()), (503, Some("overloaded")), "{body}"),
            }
        }
        assert!(refused < count, "some were answered");
        assert_eq!(refusals(&server) - before, refused);
    }
}

#[test]
fn twelve_requests_of_many_comparisons_fit_into_the_usual_line() {
    let server = Server::with_options(&[]);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..12)
            .map(|index| {
                let server = &server;
                scope.spawn(move || server.post("/reward", &reward(&index.to_string())).status)
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 12]);
    assert_eq!(refusals(&server), 0);
}
