//! Parameters that would change the meaning of an answer and are not supported. They are refused by name, never
//! ignored.

use serde_json::Value;

use crate::{dialects::parameters, error::ApiError, extract::json_body::JsonBytes};

/// Whether a value requests nothing.
type AsksForNothing = fn(&Value) -> bool;

/// A parameter that is refused unless its value requests nothing; `null` is always accepted.
type Unsupported = (&'static str, AsksForNothing);

/// Unsupported parameters of chat completions.
pub(crate) const CHAT: &[Unsupported] = &[
    ("modalities", is_text_only),
    ("audio", never),
    ("prediction", never),
    ("web_search_options", never),
    ("videos", is_empty),
    ("echo", is_off),
    ("suffix", is_empty_text),
    // What `/v1/responses` takes besides the messages.
    ("instructions", is_empty_text),
    ("previous_response_id", never),
    ("conversation", never),
];

/// Unsupported parameters of completions.
pub(crate) const COMPLETIONS: &[Unsupported] = &[
    ("suffix", is_empty_text),
    ("response_format", is_text_format),
    ("logprob_token_ids", is_empty),
    // What the other interfaces take besides a prompt.
    ("instructions", is_empty_text),
    ("images", is_empty),
];

/// Unsupported parameters of responses.
pub(crate) const RESPONSES: &[Unsupported] = &[
    ("previous_response_id", never),
    ("conversation", never),
    ("prompt", never),
    ("background", is_off),
    // Parameters of the other interfaces.
    ("images", is_empty),
    ("echo", is_off),
    ("suffix", is_empty_text),
    ("response_format", is_text_format),
    ("functions", is_empty),
    ("function_call", is_none_or_auto),
    ("logit_bias", is_empty),
    ("presence_penalty", is_zero),
    ("frequency_penalty", is_zero),
    ("n", is_one),
    ("best_of", is_one),
    ("stop", is_empty),
    // Here the parameter is `max_output_tokens`.
    ("max_tokens", never),
    ("max_completion_tokens", never),
    ("min_tokens", is_zero),
    ("logprobs", is_off),
    ("logprob_token_ids", is_empty),
    ("min_p", is_zero),
    ("ignore_eos", is_off),
    ("continue_final_message", is_off),
    ("guided_json", never),
    ("guided_choice", never),
    ("guided_regex", never),
    ("regex", never),
    ("structured_outputs", is_empty),
];

/// Extensions of other servers that no route supports, and what their own interfaces take as a part of the prompt.
const EXTENSIONS: &[Unsupported] = &[
    ("image_data", is_empty),
    ("video_data", is_empty),
    ("system", is_empty_text),
    ("prompt_logprobs", is_off),
    ("use_beam_search", is_off),
    ("length_penalty", is_one),
    ("early_stopping", is_off),
    ("num_beams", is_one),
    ("no_repeat_ngram_size", is_zero),
    ("repetition_detection", is_empty),
    ("stop_token_ids", is_empty),
    ("stop_regex", is_empty),
    ("include_stop_str_in_output", is_off),
    ("no_stop_trim", is_off),
    ("truncate_prompt_tokens", never),
    ("bad_words", is_empty),
    ("allowed_token_ids", never),
    ("guided_grammar", never),
    ("guided_whitespace_pattern", never),
    ("structural_tag", never),
    ("ebnf", never),
    ("json_schema", never),
    ("chat_template", never),
    ("chat_template_kwargs", parameters::is_no_thinking),
    ("thinking", is_no_thinking),
    ("enable_thinking", is_off),
    ("thinking_budget", is_zero),
    ("thinking_token_budget", is_zero),
    ("mm_processor_kwargs", is_empty),
    ("logits_processors", is_empty),
    ("prompt_embeds", never),
    ("typical_p", is_one),
    ("custom_logit_processor", is_empty_text),
    ("custom_params", is_empty),
    ("vllm_xargs", is_empty),
    ("return_hidden_states", is_off),
    ("lora_path", is_empty_text),
    ("adapter_id", is_empty_text),
    // Texts that a chat template would put into the prompt.
    ("documents", is_empty),
    ("session_params", is_empty),
    ("kv_transfer_params", is_empty),
];

/// Refuses the parameters in `unsupported` and the extensions. All other unknown parameters are ignored.
pub(crate) fn check(body: &JsonBytes, unsupported: &[Unsupported]) -> Result<(), ApiError> {
    let unsupported = || unsupported.iter().chain(EXTENSIONS);
    let is_one = |name: &str| unsupported().any(|(known, _)| *known == name);
    let Some(members) = parameters::members_if(body, is_one)? else { return Ok(()) };
    let refused = unsupported().find(|(name, asks_for_nothing)| {
        members.get(*name).is_some_and(|value| !value.is_null() && !asks_for_nothing(value))
    });
    refused.map_or(Ok(()), |(name, _)| Err(parameters::unsupported(name)))
}

fn never(_: &Value) -> bool {
    false
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_empty_text(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_none_or_auto(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

fn is_text_format(value: &Value) -> bool {
    value["type"] == "text"
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_off(value: &Value) -> bool {
    value == &Value::Bool(false)
}

/// Whether the value of `thinking` switches off thinking before the answer, which is always off here.
fn is_no_thinking(value: &Value) -> bool {
    is_off(value) || value["type"] == "disabled"
}

fn is_text_only(value: &Value) -> bool {
    value.as_array().is_some_and(|modalities| modalities.iter().all(|modality| modality == "text"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CHAT, COMPLETIONS, JsonBytes, Unsupported};
    use crate::{
        error::ApiError,
        json::{body_form::BodyForm, limits::JsonLimits},
    };

    fn check(name: &str, value: &Value, unsupported: &[Unsupported]) -> Result<(), ApiError> {
        let body = json!({ (name): value }).to_string().into();
        let body = JsonBytes::checked(body, &JsonLimits::SMALL, BodyForm::default());
        super::check(&body.unwrap(), unsupported)
    }

    #[test]
    fn what_is_not_offered_is_refused_unless_it_asks_for_nothing() {
        for (name, value) in [
            ("guided_grammar", json!("start: x")),
            ("bad_words", json!(["x"])),
            ("stop_regex", json!(["x+"])),
            ("stop_regex", json!("x+")),
            ("prompt_logprobs", json!(0)),
            ("chat_template_kwargs", json!({ "enable_thinking": true })),
            ("truncate_prompt_tokens", json!(9)),
            ("include_stop_str_in_output", json!(true)),
            ("suffix", json!("}")),
            ("typical_p", json!(0.9)),
            ("custom_logit_processor", json!("{}")),
            ("lora_path", json!("adapters/strict")),
            ("adapter_id", json!("strict")),
            ("documents", json!([{ "text": "x" }])),
            ("session_params", json!({ "id": "x" })),
            ("kv_transfer_params", json!({ "do_remote_prefill": true })),
            ("length_penalty", json!(0.8)),
            ("early_stopping", json!(true)),
            ("num_beams", json!(4)),
            ("no_repeat_ngram_size", json!(3)),
            ("guided_whitespace_pattern", json!("[ ]?")),
            ("thinking", json!({ "type": "enabled", "budget_tokens": 1024 })),
            ("thinking_token_budget", json!(64)),
            ("custom_params", json!({ "a": 1 })),
            ("instructions", json!("Be strict.")),
        ] {
            let error = check(name, &value, CHAT).unwrap_err();
            assert!(serde_json::to_string(&error.body()).unwrap().contains(name));
        }
        assert!(check("suffix", &json!("."), COMPLETIONS).is_err());
        for (name, value) in [
            ("bad_words", json!(null)),
            ("bad_words", json!([])),
            ("stop_regex", json!([])),
            ("chat_template_kwargs", json!({ "enable_thinking": false })),
            ("user", json!("someone")),
            ("typical_p", json!(1.0)),
            ("typical_p", json!(1)),
            ("documents", json!([])),
            ("lora_path", json!(null)),
            ("session_params", json!({})),
            ("length_penalty", json!(1.0)),
            ("early_stopping", json!(false)),
            ("num_beams", json!(1)),
            ("no_repeat_ngram_size", json!(0)),
            ("thinking", json!({ "type": "disabled" })),
            ("thinking", json!(false)),
            ("thinking_budget", json!(0)),
            ("vllm_xargs", json!({})),
        ] {
            assert!(check(name, &value, CHAT).is_ok(), "{name}");
        }
    }
}
