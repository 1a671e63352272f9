//! The text that a critic writes, as a stream.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use critic::{Processor, Report, TokenId, Utf8Stream};
use engine::{Choice, EngineError, Event, Sampled, TokenStream};
use futures::{Stream, StreamExt};
use rubric::Restraint;

use crate::{
    Bound, Caller, JudgeError, ReplyPart,
    caller::Reservation,
    restrained::Restrained,
    stop::{Released, StopStrings},
    traced::SequenceSpans,
};

/// How a text is written.
#[derive(Debug, Clone)]
pub struct CompletionParams {
    /// 0 selects the most probable token.
    pub temperature: f32,
    /// Sample only from the smallest set of tokens whose total probability reaches this.
    pub top_p: f32,
    /// Sample only from this many most probable tokens.
    pub top_k: Option<usize>,
    /// Seed of the random numbers; `None` chooses a random one for each request.
    pub seed: Option<u64>,
    /// Penalty on tokens already written; `None` uses the checkpoint's default.
    pub repetition_penalty: Option<f32>,
    /// Subtracted from the logit of every token already written.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time that it was written.
    pub frequency_penalty: f32,
    /// Values added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Sample only from tokens with at least this fraction of the most probable token's probability.
    pub min_p: f32,
    /// Minimum number of tokens before the critic may end its turn.
    pub min_tokens: usize,
    /// Maximum number of tokens, counted as `bound` defines; limited by the room left in the context.
    pub max_tokens: usize,
    /// Each of these strings ends the text and is not part of it.
    pub stop: Vec<String>,
    /// The pieces of the reply, in order.
    pub script: Vec<ReplyPart>,
    /// What `max_tokens` limits.
    pub bound: Bound,
    /// Restrictions on the written text.
    pub restraint: Restraint,
    /// Report the log-probability of each token and of this many most probable tokens.
    pub top_logprobs: Option<usize>,
    /// With `top_logprobs`, report these tokens in this order instead of the most probable ones; empty for the
    /// latter.
    pub logprob_tokens: Vec<TokenId>,
    /// Write until `max_tokens`, ignoring end tokens.
    pub ignore_end: bool,
    /// Include control tokens in the text.
    pub show_control: bool,
    /// The client for which the text is written.
    pub caller: Caller,
}

impl CompletionParams {
    /// Greedy decoding with default values for everything else.
    pub fn greedy(max_tokens: usize) -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: None,
            seed: None,
            repetition_penalty: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_p: 0.0,
            min_tokens: 0,
            max_tokens,
            stop: Vec::new(),
            script: vec![ReplyPart::Write],
            bound: Bound::default(),
            restraint: Restraint::default(),
            top_logprobs: None,
            logprob_tokens: Vec::new(),
            ignore_end: false,
            show_control: false,
            caller: Caller::default(),
        }
    }

    /// What the engine reports about each token.
    pub(crate) fn report(&self) -> Report {
        match self.top_logprobs {
            None => Report::Nothing,
            Some(count) if self.logprob_tokens.is_empty() => Report::MostProbable(count),
            Some(_) => Report::Of(self.logprob_tokens.clone()),
        }
    }
}

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

/// A token of the text and its log-probability under the raw logits.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The bytes of the token; a character may be spread over several tokens.
    pub bytes: Vec<u8>,
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
    /// The completed tokens, if log-probabilities were requested.
    pub logprobs: Vec<TokenLogprob>,
}

impl std::ops::Add<&str> for Piece {
    type Output = Self;

    fn add(self, more: &str) -> Self {
        Self { text: self.text + more, ..self }
    }
}

/// A text that the critic chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Index of the text among the choices, from 0.
    pub index: usize,
    /// The chosen text.
    pub piece: Piece,
    /// Log-probabilities (natural logarithm) of all texts, if they were requested.
    pub logprobs: Option<Vec<f32>>,
}

/// An event of a text stream.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionEvent {
    /// More text that the critic wrote.
    Piece(Piece),
    /// A fixed text of the script.
    Said(Piece),
    /// One of the texts among which the critic had to choose.
    Chosen(Chosen),
    /// The reward head's number for everything so far.
    Rated(f32),
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

/// A token whose text has not been released yet, with its start and end byte in the whole text.
#[derive(Debug)]
struct HeldToken {
    start: usize,
    end: usize,
    logprob: TokenLogprob,
}

/// The text of one running sequence. Dropping it cancels the sequence before the next step.
pub struct CompletionStream {
    tokens: Option<TokenStream>,
    spans: SequenceSpans,
    processor: Arc<dyn Processor>,
    characters: Utf8Stream,
    stops: StopStrings,
    restrained: Restrained,
    /// The finish reason if some of the text is cut by its limit.
    at_bound: FinishReason,
    /// The texts of the remaining choices, in order.
    choices: VecDeque<Vec<String>>,
    top_logprobs: Option<usize>,
    show_control: bool,
    usage: Usage,
    /// Tokens whose text has not been released, and may still belong to a stop string.
    held: VecDeque<HeldToken>,
    /// Bytes of text generated so far, and of text released.
    written: usize,
    shown: usize,
    /// Whether a token other than a control token was written, even if it completed no text.
    wrote: bool,
    /// Whether a text was chosen, a reward was read or a stop string was found, which makes even an empty text an
    /// answer.
    answered: bool,
    /// The tokens reserved from the caller's allowance.
    reservation: Reservation,
    /// Whether the sequence was admitted to the engine's running batch.
    admitted: bool,
    /// Set when the last piece has been emitted, but not yet the end.
    finish: Option<FinishReason>,
}

/// The length of a prompt in tokens, and the reservation for it and its reply.
pub(crate) struct Charged {
    pub(crate) tokens: usize,
    pub(crate) reservation: Reservation,
}

impl CompletionStream {
    pub(crate) fn new(
        tokens: TokenStream,
        processor: Arc<dyn Processor>,
        Charged { tokens: prompt_tokens, reservation }: Charged,
        params: &CompletionParams,
    ) -> Self {
        Self {
            tokens: Some(tokens),
            spans: SequenceSpans::submitted(prompt_tokens),
            processor,
            characters: Utf8Stream::default(),
            stops: StopStrings::new(params.stop.clone()),
            restrained: Restrained::new(params.restraint.clone()),
            at_bound: params.bound.reason(&params.script),
            choices: params.script.iter().filter_map(ReplyPart::texts).collect(),
            top_logprobs: params.top_logprobs.map(|count| count.max(params.logprob_tokens.len())),
            show_control: params.show_control,
            usage: Usage { prompt_tokens, ..Usage::default() },
            held: VecDeque::new(),
            written: 0,
            shown: 0,
            wrote: false,
            answered: false,
            reservation,
            admitted: false,
            finish: None,
        }
    }

    /// Waits for the complete text.
    ///
    /// # Errors
    /// [`JudgeError::Failed`] when the model fails, [`JudgeError::Silent`] when the text is empty,
    /// [`JudgeError::Engine`] when the engine has stopped.
    pub async fn collect(mut self) -> Result<Completion, JudgeError> {
        let mut whole = Piece::default();
        while let Some(event) = self.next().await {
            match event? {
                CompletionEvent::Piece(piece)
                | CompletionEvent::Said(piece)
                | CompletionEvent::Chosen(Chosen { piece, .. }) => {
                    whole.text += &piece.text;
                    whole.logprobs.extend(piece.logprobs);
                }
                CompletionEvent::Rated(_) => {}
                CompletionEvent::Finished(reason, usage) => {
                    return Ok(Completion { piece: whole, reason, usage });
                }
            }
        }
        Err(EngineError::Stopped.into())
    }

    fn trace(&mut self, event: Option<&Event>) {
        match event {
            Some(Event::Admitted { cached_tokens }) => self.spans.admitted(*cached_tokens),
            Some(Event::Said(_)) => {}
            Some(Event::Token(_) | Event::Chosen(_) | Event::Rated(_)) => self.spans.replied(),
            Some(Event::Finished(_, report)) => self.spans.finished(report),
            Some(Event::Failed(failure)) => self.spans.failed(failure),
            None => self.spans.failed(&EngineError::Stopped),
        }
    }

    fn accept(&mut self, sampled: &Sampled) -> Option<Piece> {
        self.usage.completion_tokens += 1;
        if self.processor.is_control(sampled.token) && !self.show_control {
            return None;
        }
        self.wrote = true;
        let bytes = self.processor.token_bytes(sampled.token);
        let text = self.characters.push(&bytes);
        let start = self.written;
        self.written += text.len();
        if let Some(report) = &sampled.report {
            let top = report.others.iter().map(|(token, logprob)| (self.bytes(*token), *logprob)).collect();
            let logprob = TokenLogprob { bytes, logprob: report.chosen, top };
            self.held.push_back(HeldToken { start, end: self.written, logprob });
        }
        let released = self.stops.push(&text);
        if let Released::Last(_) = released {
            self.answered = true;
            self.end(FinishReason::Stop);
        }
        self.show(released)
    }

    /// Fixed text, in which stop strings do not apply, after whatever was held back of the text before it.
    fn given(&mut self, tokens: &[(TokenId, Option<Sampled>)]) -> Piece {
        self.usage.completion_tokens += tokens.len();
        let held = self.restrained.finish();
        let mut text = String::new();
        for (token, _) in tokens {
            let bytes = self.bytes(*token);
            text += &self.characters.push(&bytes);
        }
        self.written += text.len();
        self.shown += text.len();
        Piece { text: held + &text, logprobs: Vec::new() }
    }

    fn choose(&mut self, choice: &Choice) -> Chosen {
        let mut piece = self.given(&choice.tokens);
        let texts = self.choices.pop_front().unwrap_or_default();
        if let Some(count) = self.top_logprobs {
            piece.logprobs = self.logprobs_of(choice, &texts, count);
        }
        Chosen { index: choice.label, piece, logprobs: choice.logprobs.clone() }
    }

    /// Log-probabilities of the tokens of a choice. For a choice between single tokens the most probable
    /// alternatives are taken from the choices, since no other token is possible there.
    fn logprobs_of(&self, choice: &Choice, texts: &[String], count: usize) -> Vec<TokenLogprob> {
        let sampled = choice.tokens.iter().map(|(token, sampled)| {
            let (logprob, top) = match sampled.as_ref().and_then(|sampled| sampled.report.as_ref()) {
                Some(report) => (report.chosen, report.others.as_slice()),
                None => (0.0, &[][..]),
            };
            let top = top.iter().map(|(token, logprob)| (self.bytes(*token), *logprob)).collect();
            TokenLogprob { bytes: self.bytes(*token), logprob, top }
        });
        let mut logprobs: Vec<TokenLogprob> = sampled.collect();
        if let ([only], Some(all)) = (logprobs.as_mut_slice(), &choice.logprobs) {
            let mut top: Vec<(Vec<u8>, f32)> =
                texts.iter().zip(all).map(|(text, logprob)| (text.clone().into_bytes(), *logprob)).collect();
            top.sort_by(|one, other| other.1.total_cmp(&one.1));
            top.truncate(count);
            only.top = top;
        }
        logprobs
    }

    fn bytes(&self, token: TokenId) -> Vec<u8> {
        self.processor.token_bytes(token)
    }

    /// The released text with the tokens that it completes. A stop string also releases the token that it cuts, and
    /// no later one.
    fn show(&mut self, released: Released) -> Option<Piece> {
        let (text, stopped) = match released {
            Released::Text(text) => (text, false),
            Released::Last(text) => (text, true),
        };
        self.shown += text.len();
        let text = self.restrained.push(&text);
        let mut logprobs = Vec::new();
        while let Some(token) = self.held.front() {
            let shown = token.end <= self.shown || (stopped && token.start < self.shown);
            if !shown {
                break;
            }
            logprobs.extend(self.held.pop_front().map(|token| token.logprob));
        }
        (!text.is_empty() || !logprobs.is_empty()).then_some(Piece { text, logprobs })
    }

    /// Releases the text held back, at the end of the sequence.
    fn rest(&mut self, reason: FinishReason) -> Option<Piece> {
        let unfinished = self.characters.finish();
        self.written += unfinished.len();
        let text = match self.stops.push(&unfinished) {
            Released::Text(text) => text + &self.stops.finish(),
            Released::Last(text) => {
                self.answered = true;
                text
            }
        };
        self.end(reason);
        let piece = self.show(Released::Text(text));
        let held = self.restrained.finish();
        if held.is_empty() { piece } else { Some(piece.unwrap_or_default() + &held) }
    }

    /// Sets the finish reason, and cancels the sequence if it still runs.
    fn end(&mut self, reason: FinishReason) {
        self.finish = Some(reason);
        if let Some(tokens) = self.tokens.take() {
            tokens.satisfied();
        }
    }
}

impl Drop for CompletionStream {
    fn drop(&mut self) {
        if self.admitted {
            self.reservation.used(self.usage.prompt_tokens + self.usage.completion_tokens);
        }
    }
}

impl Stream for CompletionStream {
    type Item = Result<CompletionEvent, JudgeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(reason) = self.finish.take() {
                // An empty text would look like an empty answer, which most clients take for a verdict. A text cut
                // by its limit is marked as incomplete, and a stop string may legitimately come first.
                let cut = reason == FinishReason::Length && self.wrote;
                let silent = self.shown == 0 && !self.answered && !cut;
                let event = CompletionEvent::Finished(reason, self.usage);
                return Poll::Ready(Some(if silent { Err(JudgeError::Silent) } else { Ok(event) }));
            }
            let Some(tokens) = self.tokens.as_mut() else {
                return Poll::Ready(None);
            };
            let event = ready!(tokens.poll_next_unpin(context));
            self.trace(event.as_ref());
            let piece = match event {
                Some(Event::Admitted { cached_tokens }) => {
                    self.usage.cached_tokens = cached_tokens;
                    self.admitted = true;
                    None
                }
                Some(Event::Token(sampled)) => self.accept(&sampled),
                Some(Event::Said(tokens)) => {
                    let tokens: Vec<_> = tokens.into_iter().map(|token| (token, None)).collect();
                    return Poll::Ready(Some(Ok(CompletionEvent::Said(self.given(&tokens)))));
                }
                Some(Event::Chosen(choice)) => {
                    self.answered = true;
                    return Poll::Ready(Some(Ok(CompletionEvent::Chosen(self.choose(&choice)))));
                }
                Some(Event::Rated(reward)) => {
                    self.answered = true;
                    return Poll::Ready(Some(Ok(CompletionEvent::Rated(reward))));
                }
                Some(Event::Finished(engine::FinishReason::End, _)) => self.rest(FinishReason::Stop),
                Some(Event::Finished(engine::FinishReason::Length, _)) => {
                    let reason = self.at_bound;
                    self.rest(reason)
                }
                Some(Event::Failed(failure)) => {
                    self.tokens = None;
                    return Poll::Ready(Some(Err(failure.into())));
                }
                None => {
                    self.tokens = None;
                    return Poll::Ready(Some(Err(EngineError::Stopped.into())));
                }
            };
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(CompletionEvent::Piece(piece))));
            }
        }
    }
}
