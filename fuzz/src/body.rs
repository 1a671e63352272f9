//! Bodies of requests in every dialect: refused with a documented status, or parsed so that every number is in its
//! range, and the same JSON in another notation parses to the same request.

use std::sync::OnceLock;

use gavel::fuzz_api::{self, Answer};
use judge::{CompletionParams, JudgeOptions};
use serde_json::Value;

use super::{bytes::Bytes, events, recital::quiet};

/// The routes of the API document: the path, and the documented statuses of its responses.
fn routes() -> &'static [(String, Vec<u16>)] {
    static ROUTES: OnceLock<Vec<(String, Vec<u16>)>> = OnceLock::new();
    ROUTES.get_or_init(|| quiet().json_routes())
}

/// Panics when a body with a value beyond a limit is accepted, or a response is not a documented one.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let way = usize::from(bytes.byte());
    let body = bytes.0;
    match way {
        0 => chat(body),
        1 => judgement(body),
        2 => batch(body),
        _ => {
            let (path, statuses) = &routes()[(way - 3) % routes().len()];
            look(path, statuses, &quiet().post(path, body));
        }
    }
}

fn look(path: &str, statuses: &[u16], answer: &Answer) {
    let Answer { status, content_type, body } = answer;
    let text = String::from_utf8_lossy(body);
    // The critic may say nothing to a body that asks for a text.
    let failed = *status == 500 && !text.contains(r#""code":"empty_completion""#);
    assert!(!failed, "{path}: {text}");
    assert!(statuses.contains(status), "{path} answers {status}, which is not documented: {text}");
    if content_type.starts_with("text/event-stream") {
        events::check(path, body);
        return;
    }
    if content_type.starts_with("application/json") {
        let value: Value =
            serde_json::from_slice(body).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
        if *status == 200 {
            add_up(&value);
        } else {
            assert!(value.is_object() || value.is_string(), "{path}: {text}");
        }
    }
}

/// Checks that the numbers of tokens add up, wherever a response has them.
fn add_up(value: &Value) {
    match value {
        Value::Object(members) => {
            let number = |name: &str| members.get(name).and_then(Value::as_u64);
            if let (Some(read), Some(written), Some(total)) =
                (number("prompt_tokens"), number("completion_tokens"), number("total_tokens"))
            {
                assert_eq!(read + written, total, "{value}");
            }
            members.values().for_each(add_up);
        }
        Value::Array(elements) => elements.iter().for_each(add_up),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same JSON in another notation; `None` if it has lone surrogates, which the server reads but no strict parser
/// does.
fn again(body: &[u8]) -> Option<Vec<u8>> {
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => {
            let reason = error.to_string();
            assert!(reason.contains("hex escape"), "what was taken is JSON: {reason}");
            return None;
        }
    };
    Some(serde_json::to_vec(&value).expect("JSON can be written"))
}

fn chat(body: &[u8]) {
    let Ok((prompt, params, count)) = quiet().chat(body) else { return };
    assert!((1..=128).contains(&count) && !prompt.messages.is_empty());
    check_params(&params);
    let Some(again) = again(body) else { return };
    let (same_prompt, same, same_count) = quiet().chat(&again).expect("the same is taken again");
    assert_eq!((same_count, &same_prompt), (count, &prompt));
    assert_eq!(plain(same), plain(params));
}

fn check_params(params: &CompletionParams) {
    assert!((0.0..=2.0).contains(&params.temperature));
    assert!(params.top_p > 0.0 && params.top_p <= 1.0);
    assert!(params.top_k.is_none_or(|top_k| top_k >= 1));
    assert!(params.repetition_penalty.is_none_or(|penalty| penalty.is_finite() && penalty > 0.0));
    assert!((-2.0..=2.0).contains(&params.presence_penalty));
    assert!((-2.0..=2.0).contains(&params.frequency_penalty));
    assert!((0.0..=1.0).contains(&params.min_p));
    assert!(params.max_tokens >= 1 && params.min_tokens <= params.max_tokens);
    assert!(params.stop.len() <= 4 && params.stop.iter().all(|stop| stop.len() <= 64));
    assert!(params.top_logprobs.is_none_or(|top| top <= 20));
    let vocabulary = quiet().vocabulary();
    assert!(params.logit_bias.len() <= 300);
    for (token, bias) in &params.logit_bias {
        assert!((token.0 as usize) < vocabulary && (-100.0..=100.0).contains(bias));
    }
    assert!(params.logprob_tokens.iter().all(|token| (token.0 as usize) < vocabulary));
}

/// All that distinguishes two requests. The order of biases is that of a map, and means nothing.
fn plain(mut params: CompletionParams) -> String {
    params.logit_bias.sort_by_key(|(token, _)| token.0);
    params.caller = judge::Caller::default();
    format!("{params:?}")
}

fn judgement(body: &[u8]) {
    let Ok((case, options, verdicts)) = quiet().judge(body) else { return };
    assert!((1..=64 * 64).contains(&verdicts));
    check_options(&options);
    let Some(again) = again(body) else { return };
    let (same_case, same, same_verdicts) = quiet().judge(&again).expect("the same is taken again");
    assert_eq!((same_verdicts, format!("{same_case:?}")), (verdicts, format!("{case:?}")));
    assert_eq!(format!("{:?}", same.sampling), format!("{:?}", options.sampling));
    assert_eq!(
        (same.max_tokens, &same.format, same.mode),
        (options.max_tokens, &options.format, options.mode)
    );
}

fn check_options(options: &JudgeOptions) {
    assert!((1..=4096).contains(&options.max_tokens));
    assert!((0.0..=2.0).contains(&options.sampling.temperature));
    assert!(options.sampling.top_p > 0.0 && options.sampling.top_p <= 1.0);
}

/// The input of a batch: each error names an existing line or none, and a valid input has as many requests as
/// non-blank lines.
fn batch(text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n').count() as i64;
    match fuzz_api::batch_input(text, "/judge") {
        Ok(count) => {
            let full = text.split(|byte| *byte == b'\n').filter(|line| !blank(line));
            assert_eq!(full.count() as i64, count);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for (code, line) in errors {
                assert!(!code.is_empty() && line.is_none_or(|line| (1..=lines).contains(&line)));
            }
        }
    }
}

fn blank(line: &[u8]) -> bool {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii().is_empty()
}
