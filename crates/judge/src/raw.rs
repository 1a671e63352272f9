//! Text without a conversation: what a client gives as tokens, or as text that stands for its tokens alone.

use critic::{Encoded, Processor, Prompt, TokenId, Utf8Stream};
use engine::EngineError;

use crate::{Caller, CompletionParams, CompletionStream, Judge, JudgeError};

/// A text that is not put into the chat format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawPrompt {
    /// As text, in which nothing is a control token.
    Text(String),
    /// As tokens of the critic's vocabulary.
    Tokens(Vec<TokenId>),
}

impl Judge {
    /// The tokens of `prompt`, without any before or after. A text that surely has more than `most` is refused by its beginning: to
    /// tokenise megabytes takes seconds and gigabytes.
    ///
    /// # Errors
    /// [`JudgeError::UnknownToken`] for an id that the vocabulary does not have, [`EngineError::TooLong`] for such a text.
    pub async fn tokens(
        &self,
        prompt: RawPrompt,
        most: usize,
        caller: &Caller,
    ) -> Result<Vec<TokenId>, JudgeError> {
        match prompt {
            RawPrompt::Text(text) => {
                let read = move |processor: &dyn Processor| match processor.least_text_tokens(&text, most)? {
                    tokens if tokens > most => Ok(Err(EngineError::TooLong { tokens, limit: most })),
                    _ => Ok(Ok(processor.tokenize(&text)?)),
                };
                Ok(self.process(caller, read).await??)
            }
            RawPrompt::Tokens(tokens) => self.known(tokens),
        }
    }

    /// These tokens, if they all are of the critic's vocabulary.
    ///
    /// # Errors
    /// [`JudgeError::UnknownToken`] for the first one that is not.
    pub fn known(&self, tokens: Vec<TokenId>) -> Result<Vec<TokenId>, JudgeError> {
        self.check_known(&tokens)?;
        Ok(tokens)
    }

    pub(crate) fn check_known(&self, tokens: &[TokenId]) -> Result<(), JudgeError> {
        let vocabulary = self.vocabulary();
        match tokens.iter().find(|token| token.0 as usize >= vocabulary) {
            Some(token) => Err(JudgeError::UnknownToken { token: token.0, vocabulary }),
            None => Ok(()),
        }
    }

    /// The tokens of a conversation as the critic reads it; each visual is a run of placeholders.
    ///
    /// # Errors
    /// [`JudgeError::Encode`] when it cannot be encoded.
    pub async fn conversation_tokens(
        &self,
        prompt: Prompt,
        caller: &Caller,
    ) -> Result<Vec<TokenId>, JudgeError> {
        Ok(self.encode(prompt, caller).await?.tokens)
    }

    /// The tokens of a conversation without the beginning of the critic's turn, which has the last control token.
    pub fn unopened(&self, mut tokens: Vec<TokenId>) -> Vec<TokenId> {
        let opening = tokens.iter().rposition(|token| self.processor().is_control(*token));
        tokens.truncate(opening.unwrap_or(tokens.len()));
        tokens
    }

    /// The text that `tokens` stand for, control tokens as they are written; a part of a character becomes U+FFFD.
    pub fn text(&self, tokens: &[TokenId]) -> String {
        let mut characters = Utf8Stream::default();
        let text: String =
            tokens.iter().map(|token| characters.push(&self.processor().token_bytes(*token))).collect();
        text + &characters.finish()
    }

    /// Starts writing `count` texts that continue `tokens`, each with random numbers of its own.
    ///
    /// # Errors
    /// [`JudgeError`] when the engine does not take all of them.
    pub fn continue_tokens(
        &self,
        tokens: Vec<TokenId>,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        self.submit_all(&Encoded { tokens, visuals: Vec::new() }, params, count)
    }
}
