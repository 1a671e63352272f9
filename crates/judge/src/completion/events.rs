//! What a stream of text consists of.

/// The number of tokens read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, images included.
    pub prompt_tokens: usize,
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: usize,
    /// Tokens of the reply, including fixed and chosen texts; the token that ends the turn is not counted.
    pub completion_tokens: usize,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
        }
    }
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The critic ended its turn, or a stop string was found.
    Stop,
    /// The token limit was reached.
    Length,
}

/// A token of the text that the critic chose, and its log-probability under the raw logits.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The bytes of the token; a character may be spread over several tokens.
    pub bytes: Vec<u8>,
    /// Number of characters of the whole text before the token. One that continues a character begins where the
    /// character does.
    pub start: usize,
    /// Natural logarithm of the token's probability.
    pub logprob: f32,
    /// The most probable tokens at this position, best first, or the tokens of `logprob_tokens` in their order.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// A piece of text and the tokens that it completes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// The text; empty when the tokens complete no character yet.
    pub text: String,
    /// The completed tokens that the critic chose, if log-probabilities were requested. Tokens of fixed texts, and of
    /// labels where no other label continues, are left out: no logits were read for them.
    pub logprobs: Vec<TokenLogprob>,
}

impl std::ops::AddAssign for Piece {
    fn add_assign(&mut self, more: Self) {
        self.text += &more.text;
        self.logprobs.extend(more.logprobs);
    }
}

/// A text that the critic chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Index of the text among the choices, from 0.
    pub index: usize,
    /// The chosen text, after the end of a fixed text if they share a token.
    pub piece: Piece,
    /// Log-probabilities (natural logarithm) of all texts, if they were requested.
    pub logprobs: Option<Vec<f32>>,
    /// The probability of all texts together; an upper bound if their probabilities were not requested.
    pub mass: f64,
}

/// An event of a text stream.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionEvent {
    /// More text that the critic wrote.
    Piece(Piece),
    /// A fixed text of the script, up to the token that it shares with what follows.
    Fixed(Piece),
    /// One of the texts among which the critic had to choose.
    Chosen(Chosen),
    /// The reward head's number for everything so far.
    Reward(f32),
    /// The end; no event follows.
    Finished(FinishReason, Usage),
}

/// A complete text.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The text and its tokens.
    pub piece: Piece,
    /// Why the text ended.
    pub reason: FinishReason,
    /// The number of tokens read and written.
    pub usage: Usage,
}
