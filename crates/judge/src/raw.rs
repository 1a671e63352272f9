//! Text completion without a conversation: the prompt is given as tokens, or as text that is tokenised without the
//! chat format.

use critic::{Encoded, Processor, Prompt, TokenId, Utf8Stream};
use engine::EngineError;

use crate::{Caller, CompletionParams, CompletionStream, Judge, JudgeError};

/// A prompt that is not put into the chat format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawPrompt {
    /// Text, in which nothing is parsed as a control token.
    Text(String),
    /// Tokens of the critic's vocabulary.
    Tokens(Vec<TokenId>),
}

impl Judge {
    /// The tokens of `prompt`, without any added before or after. A text certain to have more than `most` is
    /// rejected by its beginning, since tokenising megabytes takes seconds and gigabytes of memory.
    ///
    /// # Errors
    /// [`JudgeError::UnknownToken`] for an id outside the vocabulary, [`EngineError::TooLong`] for a text that is
    /// too long, and [`JudgeError::Encode`] or [`JudgeError::NoThread`] when a text cannot be tokenised.
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

    /// Returns these tokens if all of them are in the critic's vocabulary.
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

    /// The tokens of a conversation as the critic reads it; each image or video is a run of placeholders.
    ///
    /// # Errors
    /// [`JudgeError::Encode`] when it cannot be encoded, [`EngineError::TooLong`] when it does not fit the context,
    /// and [`JudgeError::NoThread`] when no thread is available.
    pub async fn conversation_tokens(
        &self,
        prompt: Prompt,
        caller: &Caller,
    ) -> Result<Vec<TokenId>, JudgeError> {
        Ok(self.encode(prompt, caller).await?.tokens)
    }

    /// The tokens of a conversation up to, and excluding, its last control token, which opens the critic's turn.
    pub fn unopened(&self, mut tokens: Vec<TokenId>) -> Vec<TokenId> {
        let opening = tokens.iter().rposition(|token| self.processor().is_control(*token));
        tokens.truncate(opening.unwrap_or(tokens.len()));
        tokens
    }

    /// These tokens without control tokens.
    pub fn without_control(&self, tokens: &[TokenId]) -> Vec<TokenId> {
        tokens.iter().copied().filter(|token| !self.processor().is_control(*token)).collect()
    }

    /// The text of `tokens`, with control tokens as they are written; an incomplete character becomes U+FFFD.
    pub fn text(&self, tokens: &[TokenId]) -> String {
        let mut characters = Utf8Stream::default();
        let text: String =
            tokens.iter().map(|token| characters.push(&self.processor().token_bytes(*token))).collect();
        text + &characters.finish()
    }

    /// Starts writing `count` continuations of `tokens`, each with its own random numbers.
    ///
    /// # Errors
    /// [`JudgeError`] when the engine rejects them: it accepts all of them, some after waiting, or none.
    pub async fn continue_tokens(
        &self,
        tokens: Vec<TokenId>,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        self.submit_all(&Encoded { tokens, visuals: Vec::new() }, params, count).await
    }
}
