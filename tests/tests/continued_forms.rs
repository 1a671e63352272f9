//! Forms of text that is continued without a conversation: AlpacaEval's older annotators use `/v1/completions`, and vdc
//! of lmms-eval uses SGLang's own interface.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Response, Server};
use regex::Regex;
use serde_json::{Value, json};

const ALPACA_EVAL: &str = "Now is the real task, do not explain your answer, just say Output (a) or Output (b).\n\n\
                           ### Instruction:\nName a colour.\n\n### Output (a):\nRed.\n\n### Output (b):\nA dog.\n\n\
                           ### Which is best, Output (a) or Output (b)?";

const VDC: &str = "<|im_start|>system\nYou are an intelligent chatbot.<|im_end|>\n<|im_start|>user\n\
                   Please evaluate the following video-based question-answer pair:\n\n\
                   Question: What is it?\nCorrect Answer: a dog\nPredicted Answer: a cat\n\n\
                   Please generate the response in the form of a Python dictionary string with keys 'pred' and 'score', \
                   where value of 'pred' is  a string of 'yes' or 'no' and value of 'score' is in INTEGER, not STRING.\
                   DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. \
                   For example, your response should look like this: {'pred': 'yes', 'score': 4.8}.<|im_end|>\n\
                   <|im_start|>assistant\n";

const PLAIN: &str = "A red circle and";

fn send(server: &Server, path: &str, body: &Value, form: Option<&str>) -> Response {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(form.map(|form| ("x-gavel-form", form)));
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

/// A request to `/v1/completions`.
#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn completion(prompt: Value, extra: Value) -> Value {
    let mut body = json!({ "prompt": prompt, "max_tokens": 50 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The name in the header and the answer.
fn read(answer: Response) -> (Option<String>, Value) {
    assert_eq!(answer.status, 200);
    (answer.header("x-gavel-form").map(str::to_owned), answer.json())
}

fn text(answer: &Value, index: usize) -> &str {
    answer["choices"][index]["text"].as_str().unwrap()
}

#[test]
fn a_completion_has_the_form_of_its_prompt() {
    let server = Server::random();
    let complete = |body: &Value| send(&server, "/v1/completions", body, None);
    // As AlpacaEval's parser reads it.
    let output = Regex::new(r"(?:^|\n) ?Output \([ab]\)").unwrap();
    let (form, whole) = read(complete(&completion(json!(ALPACA_EVAL), json!({}))));
    assert_eq!(form.as_deref(), Some("alpaca-eval-output"));
    assert_eq!(output.find_iter(text(&whole, 0)).count(), 1);
    let streamed = complete(&completion(json!(ALPACA_EVAL), json!({ "stream": true })));
    assert_eq!(streamed.header("x-gavel-form"), Some("alpaca-eval-output"));
    let pieces = streamed.events().filter(|event| event.data != "[DONE]");
    let pieces: String =
        pieces.filter_map(|event| event.json()["choices"][0]["text"].as_str().map(str::to_owned)).collect();
    assert_eq!(pieces, text(&whole, 0));
    // Each of several prompts has its own form, and the header names one that all of them share.
    let prompts = json!([ALPACA_EVAL, PLAIN, ALPACA_EVAL]);
    let (form, several) = read(complete(&completion(prompts, json!({}))));
    assert_eq!(form, None);
    assert_eq!([0, 1, 2].map(|index| output.is_match(text(&several, index))), [true, false, true]);
    let (form, _) = read(complete(&completion(json!([ALPACA_EVAL, ALPACA_EVAL]), json!({}))));
    assert_eq!(form.as_deref(), Some("alpaca-eval-output"));
}

#[test]
fn a_completion_has_no_form_if_its_request_says_so() {
    let server = Server::random();
    let complete = |body: &Value, form: Option<&str>| send(&server, "/v1/completions", body, form);
    let constrained = json!({ "guided_choice": ["one", "two"] });
    for (extra, wanted) in [(json!({}), Some("off")), (constrained.clone(), None)] {
        let (form, _) = read(complete(&completion(json!(ALPACA_EVAL), extra), wanted));
        assert_eq!(form, None);
    }
    let both = complete(&completion(json!(PLAIN), constrained), Some("trl-pairwise"));
    assert_eq!(both.status, 400);
    let (form, named) = read(complete(&completion(json!(PLAIN), json!({})), Some("trl-pairwise")));
    assert_eq!(form.as_deref(), Some("trl-pairwise"));
    assert!(["0", "1"].contains(&text(&named, 0)));
    let off = Server::with_options(&["--forms", "off"]);
    let (form, _) = read(send(&off, "/v1/completions", &completion(json!(ALPACA_EVAL), json!({})), None));
    assert_eq!(form, None);
}

#[test]
fn generated_text_has_the_form_of_its_prompt() {
    let server = Server::random();
    let generate = |text: &Value, sampling: Value, form: Option<&str>| {
        send(&server, "/generate", &json!({ "text": text, "sampling_params": sampling }), form)
    };
    // As Python reads it.
    let dictionary = Regex::new(r"\A\{'pred': '(yes|no)', 'score': [0-5]\}\z").unwrap();
    let is_read = |answer: &Value| dictionary.is_match(answer["text"].as_str().unwrap());
    let vdc = json!(VDC);
    let (form, answer) = read(generate(&vdc, json!({ "max_new_tokens": 256, "temperature": 1.0 }), None));
    assert_eq!(form.as_deref(), Some("video-correctness"));
    assert!(is_read(&answer), "{answer}");
    let (form, listed) = read(generate(&json!([PLAIN, VDC]), json!({ "max_new_tokens": 64 }), None));
    assert_eq!(form, None);
    assert!(is_read(&listed[1]), "{listed}");
    let pattern = json!({ "max_new_tokens": 8, "regex": "[ab]" });
    for (sampling, wanted) in [(pattern, None), (json!({ "max_new_tokens": 8 }), Some("off"))] {
        let (form, answer) = read(generate(&vdc, sampling, wanted));
        assert_eq!(form, None);
        assert!(!is_read(&answer), "{answer}");
    }
    let unknown = generate(&vdc, json!({ "max_new_tokens": 8 }), Some("no-such"));
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json()["error"]["param"], "x-gavel-form");
}
