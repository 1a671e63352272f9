//! The bodies of completions. Whole responses and chunks have the same form.

use std::collections::BTreeMap;

use judge::{Completion, TokenLogprob, Utf8Stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::response::{Header, UsageBody, word};

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
    /// Name of the checkpoint.
    system_fingerprint: String,
    /// The texts; empty in the chunk with the usage.
    pub(super) choices: Vec<TextChoice>,
    /// Token counts; in a stream, in the last chunk only and with `include_usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<UsageBody>,
}

impl TextCompletion {
    pub(super) fn new(header: &Header, choices: Vec<TextChoice>, usage: Option<UsageBody>) -> Self {
        let Header { id, created, model, fingerprint } = header.clone();
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
    /// The log-probabilities of its tokens; null if they were not requested.
    pub(super) logprobs: Option<TextLogprobs>,
    /// `stop` or `length` for a whole text and in its last chunk, else null.
    pub(super) finish_reason: Option<&'static str>,
}

impl TextChoice {
    /// A whole text; `echo` is put before it.
    pub(super) fn whole(index: usize, (echo, completion): (&str, Completion), logprobs: bool) -> Self {
        let Completion { piece, reason, .. } = completion;
        let mut places = Places::after(echo);
        Self {
            index,
            text: format!("{echo}{}", piece.text),
            logprobs: logprobs.then(|| places.logprobs(&piece.logprobs)),
            finish_reason: Some(word(reason, None)),
        }
    }
}

/// Log-probabilities of the tokens of a text, in lists of equal length.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TextLogprobs {
    /// The text of each token; one that is not valid UTF-8 is written as `bytes:\xe4\xb8`.
    tokens: Vec<String>,
    /// Natural logarithm of each token's probability.
    token_logprobs: Vec<f32>,
    /// The most probable tokens at each position, and the token itself.
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Position of each token in the text, in characters.
    text_offset: Vec<usize>,
}

/// Counts the positions of tokens in a text.
#[derive(Debug, Default)]
pub(super) struct Places {
    characters: Utf8Stream,
    /// The number of characters so far.
    count: usize,
}

impl Places {
    /// For a text that begins with `echo`.
    pub(super) fn after(echo: &str) -> Self {
        Self { count: echo.chars().count(), ..Self::default() }
    }

    /// The log-probabilities and positions of the next tokens.
    pub(super) fn logprobs(&mut self, tokens: &[TokenLogprob]) -> TextLogprobs {
        let mut told = TextLogprobs {
            tokens: Vec::with_capacity(tokens.len()),
            token_logprobs: Vec::with_capacity(tokens.len()),
            top_logprobs: Vec::with_capacity(tokens.len()),
            text_offset: Vec::with_capacity(tokens.len()),
        };
        for token in tokens {
            told.text_offset.push(self.count);
            self.count += self.characters.push(&token.bytes).chars().count();
            let itself = (name(&token.bytes), token.logprob);
            let top = token.top.iter().map(|(bytes, logprob)| (name(bytes), *logprob));
            told.top_logprobs.push(top.chain([itself.clone()]).collect());
            told.tokens.push(itself.0);
            told.token_logprobs.push(itself.1);
        }
        told
    }
}

/// The text of a token, or its escaped bytes if it is not valid UTF-8.
fn name(bytes: &[u8]) -> String {
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
    fn tokens_are_named_and_placed_by_characters() {
        let token = |bytes: &[u8]| TokenLogprob { bytes: bytes.into(), logprob: -1.0, top: Vec::new() };
        let mut places = Places::after("é:");
        let told = places.logprobs(&[token(b"a"), token(&[0xe4, 0xb8]), token(&[0xad])]);
        assert_eq!(told.tokens, ["a", r"bytes:\xe4\xb8", r"bytes:\xad"]);
        assert_eq!(told.text_offset, [2, 3, 3]);
        assert_eq!(places.logprobs(&[token(b"b")]).text_offset, [4]);
        assert_eq!(told.top_logprobs[0], BTreeMap::from([("a".to_owned(), -1.0)]));
    }
}
