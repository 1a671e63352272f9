//! The bodies of continued texts, whole and in chunks: one shape for both.

use std::collections::BTreeMap;

use judge::{Completion, TokenLogprob, Utf8Stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::response::{Header, UsageBody, word};

/// Texts that continue prompts, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct TextCompletion {
    /// Its name, which no other has.
    id: String,
    /// Always `text_completion`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name that the request used.
    model: String,
    /// Name of the checkpoint.
    system_fingerprint: String,
    /// The texts; none in the piece that has the usage.
    pub(super) choices: Vec<TextChoice>,
    /// In the last piece of a stream, when it was asked for.
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

/// A text, or a piece of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TextChoice {
    /// The texts of the first prompt come first.
    pub(super) index: usize,
    /// What was written, after the prompt if that was asked for.
    pub(super) text: String,
    /// How probable its tokens were, when that was asked for.
    pub(super) logprobs: Option<TextLogprobs>,
    /// `stop` or `length` at the end of a text, else `null`.
    pub(super) finish_reason: Option<&'static str>,
}

impl TextChoice {
    /// A whole text after `echo`, which is what it begins with.
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

/// How probable the tokens of a text were; the lists are of one length.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TextLogprobs {
    /// The tokens; one that is no text by itself is written as `bytes:\xe4\xb8`.
    tokens: Vec<String>,
    /// Natural logarithms of their probabilities.
    token_logprobs: Vec<f32>,
    /// The most probable tokens in the place of each, and itself.
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// How many characters stand before each.
    text_offset: Vec<usize>,
}

/// Where the tokens of a text begin in it.
#[derive(Debug, Default)]
pub(super) struct Places {
    characters: Utf8Stream,
    /// Characters so far.
    count: usize,
}

impl Places {
    /// Of a text that begins with `echo`.
    pub(super) fn after(echo: &str) -> Self {
        Self { count: echo.chars().count(), ..Self::default() }
    }

    /// The next tokens of the text.
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

/// The text of a token, or its bytes where they are none.
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
