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

/// Why texts cannot be tokenised.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// A text is too long.
    #[error("text {index}: {error}")]
    Long {
        /// Its index, from 0.
        index: usize,
        /// Its length and the limit.
        #[source]
        error: EngineError,
    },
    /// All texts together are too long.
    #[error("the texts have more than {limit} tokens in all")]
    Many {
        /// The maximum number of their tokens.
        limit: usize,
    },
    /// Tokenisation fails.
    #[error(transparent)]
    Failed(Box<JudgeError>),
}

impl From<JudgeError> for TextsError {
    fn from(error: JudgeError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The tokens of a text. One that is certain to have more than `most` is not tokenised.
///
/// # Errors
/// [`EngineError::TooLong`] for such a text, and [`JudgeError::Encode`] when it cannot be tokenised.
fn tokens_of(processor: &dyn Processor, text: &str, most: usize) -> Result<Vec<TokenId>, JudgeError> {
    match processor.least_text_tokens(text, most)? {
        tokens if tokens > most => Err(EngineError::too_long_at_least(tokens, most).into()),
        _ => Ok(processor.tokenize(text)?),
    }
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
                let read = move |processor: &dyn Processor| tokens_of(processor, &text, most);
                self.process(caller, read).await
            }
            RawPrompt::Tokens(tokens) => self.known(tokens),
        }
    }

    /// The tokens of each of several texts, which are tokenised one after the other on one thread: a list may have tens of
    /// thousands. At most `each` of a text, and `all` together.
    ///
    /// # Errors
    /// [`TextsError::Long`] for the first text that is too long, [`TextsError::Many`] when all are together, and
    /// [`TextsError::Failed`] as [`tokens`](Self::tokens) fails.
    pub async fn tokens_of_each(
        &self,
        texts: Vec<String>,
        (each, all): (usize, usize),
        caller: &Caller,
    ) -> Result<Vec<Vec<TokenId>>, TextsError> {
        let read = move |processor: &dyn Processor| -> Result<Vec<Vec<TokenId>>, TextsError> {
            let (mut lists, mut count) = (Vec::with_capacity(texts.len()), 0);
            for (index, text) in texts.iter().enumerate() {
                let tokens = tokens_of(processor, text, each).map_err(|error| match error {
                    JudgeError::Engine(error) => TextsError::Long { index, error },
                    other => other.into(),
                })?;
                count += tokens.len();
                if count > all {
                    return Err(TextsError::Many { limit: all });
                }
                lists.push(tokens);
            }
            Ok(lists)
        };
        self.process(caller, read).await
    }

    /// Runs `work` on a thread for blocking work: to convert many tokens to text takes long.
    ///
    /// # Errors
    /// [`JudgeError::NoThread`] when no thread is available, [`JudgeError::Failed`] when the deadline has passed.
    pub async fn convert<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JudgeError> {
        let judge = self.clone();
        self.process(caller, move |_| Ok(work(&judge))).await
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
