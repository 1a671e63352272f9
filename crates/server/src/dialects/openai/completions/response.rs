//! The bodies of completions. Whole responses and chunks have the same form.

use std::collections::BTreeMap;

use judge::{Completion, TokenLogprob};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::response::{ResponseHeader, UsageBody};
use crate::dialects::generation::text_event::finish_reason_name;

/// Texts that continue prompts, or a chunk with a part of one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct TextCompletion {
    /// A unique id of the response, the same in all its chunks.
    id: String,
    /// Always `text_completion`.
    object: &'static str,
    /// When the response was created, in seconds since 1970.
    created: u64,
    /// The model's name in the request, unless the server always returns the checkpoint's.
    model: String,
    /// Name of the checkpoint, and the first 12 digits of the SHA-256 of its weights once that is computed, such as
    /// `gavel-mini@457a68191579`.
    system_fingerprint: String,
    /// The texts; empty in the chunk with the usage.
    pub(super) choices: Vec<TextChoice>,
    /// Token counts; in a stream, in the last chunk only and with `include_usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<UsageBody>,
}

impl TextCompletion {
    pub(super) fn new(header: &ResponseHeader, choices: Vec<TextChoice>, usage: Option<UsageBody>) -> Self {
        let ResponseHeader { id, created, model, fingerprint } = header.clone();
        let object = "text_completion";
        Self { id, object, created, model, system_fingerprint: fingerprint, choices, usage }
    }
}

/// A text, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TextChoice {
    /// Index of the text, from 0; those of the first prompt come first.
    pub(super) index: usize,
    /// The text, with `echo` after the prompt.
    pub(super) text: String,
    /// The log-probabilities of the tokens that the critic chose; null if they were not requested. The fixed tokens of
    /// a form are left out.
    pub(super) logprobs: Option<TextLogprobs>,
    /// `stop` or `length` for a whole text and in its last chunk, else null.
    pub(super) finish_reason: Option<&'static str>,
}

impl TextChoice {
    /// A whole text, with `echo` before it; `logprobs` is whether log-probabilities are returned, which no text with
    /// an echo has.
    pub(super) fn whole(index: usize, echo: &str, completion: Completion, logprobs: bool) -> Self {
        let Completion { piece, reason, .. } = completion;
        Self {
            index,
            text: format!("{echo}{}", piece.text),
            logprobs: logprobs.then(|| TextLogprobs::new(&piece.logprobs)),
            finish_reason: Some(finish_reason_name(reason)),
        }
    }
}

/// Log-probabilities of the tokens of a text that the critic chose, in lists of equal length.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TextLogprobs {
    /// The text of each token; one that is not valid UTF-8 is written as `bytes:\xe4\xb8`.
    tokens: Vec<String>,
    /// Natural logarithm of each token's probability.
    token_logprobs: Vec<f32>,
    /// The most probable tokens at each position, and the token itself.
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Position of each token in the whole text, in characters.
    text_offset: Vec<usize>,
}

impl TextLogprobs {
    /// The log-probabilities and positions of `tokens`.
    pub(super) fn new(tokens: &[TokenLogprob]) -> Self {
        let mut logprobs = Self {
            tokens: Vec::with_capacity(tokens.len()),
            token_logprobs: Vec::with_capacity(tokens.len()),
            top_logprobs: Vec::with_capacity(tokens.len()),
            text_offset: Vec::with_capacity(tokens.len()),
        };
        for token in tokens {
            logprobs.text_offset.push(token.start);
            let name = token_name(&token.bytes);
            let top = token.top.iter().map(|(bytes, logprob)| (token_name(bytes), *logprob));
            logprobs.top_logprobs.push(top.chain([(name.clone(), token.logprob)]).collect());
            logprobs.tokens.push(name);
            logprobs.token_logprobs.push(token.logprob);
        }
        logprobs
    }
}

/// The text of a token, or its escaped bytes if it is not valid UTF-8.
fn token_name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("bytes:{bytes}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_names_and_offsets() {
        let token = |bytes: &[u8], start| {
            let bytes = bytes.to_vec();
            TokenLogprob { bytes, start, logprob: -1.0, top: Vec::new() }
        };
        let logprobs = TextLogprobs::new(&[token(b"a", 2), token(&[0xe4, 0xb8], 3), token(&[0xad], 3)]);
        assert_eq!(logprobs.tokens, ["a", r"bytes:\xe4\xb8", r"bytes:\xad"]);
        assert_eq!(logprobs.text_offset, [2, 3, 3]);
        assert_eq!(logprobs.top_logprobs[0], BTreeMap::from([("a".to_owned(), -1.0)]));
    }
}
