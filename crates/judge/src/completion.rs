//! Text that a critic writes, as it comes.

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
    Caller, JudgeError, ReplyPart,
    caller::Reservation,
    restrained::Restrained,
    stop::{Released, StopStrings},
    traced::SequenceSpans,
};

/// How a text is to be written.
#[derive(Debug, Clone)]
pub struct CompletionParams {
    /// 0 takes the most probable token.
    pub temperature: f32,
    /// Draw only from the smallest set of tokens whose probability reaches this.
    pub top_p: f32,
    /// Draw only from this many most probable tokens.
    pub top_k: Option<usize>,
    /// Start of the random numbers; without one, each request has its own.
    pub seed: Option<u64>,
    /// Penalty on tokens already written; without one, what the checkpoint asks for.
    pub repetition_penalty: Option<f32>,
    /// Subtracted from the logit of a token that was written already.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for each time that it was written.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Draw only from tokens at least this many times as probable as the most probable one.
    pub min_p: f32,
    /// Tokens to write at least before the critic may end its turn.
    pub min_tokens: usize,
    /// Tokens to write at most; more than there is room for means all the room.
    pub max_tokens: usize,
    /// Any of these ends the text and is not part of it.
    pub stop: Vec<String>,
    /// What the text is made of; `max_tokens` bounds what the critic writes.
    pub script: Vec<ReplyPart>,
    /// What the written text must not have.
    pub restraint: Restraint,
    /// Report the probability of each token and of this many most probable ones.
    pub top_logprobs: Option<usize>,
    /// With `top_logprobs`, report these tokens in this order and not the most probable ones; empty for those.
    pub logprob_tokens: Vec<TokenId>,
    /// Write on until `max_tokens`, whatever the critic says.
    pub ignore_end: bool,
    /// Show control tokens in the text.
    pub show_control: bool,
    /// For whom it is written.
    pub caller: Caller,
}

impl CompletionParams {
    /// Greedy, with all defaults.
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
            restraint: Restraint::default(),
            top_logprobs: None,
            logprob_tokens: Vec::new(),
            ignore_end: false,
            show_control: false,
            caller: Caller::default(),
        }
    }

    /// What is told about each token.
    pub(crate) fn report(&self) -> Report {
        match self.top_logprobs {
            None => Report::Nothing,
            Some(count) if self.logprob_tokens.is_empty() => Report::MostProbable(count),
            Some(_) => Report::Of(self.logprob_tokens.clone()),
        }
    }
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, images included.
    pub prompt_tokens: usize,
    /// Those of them that were not computed again, since an earlier prompt began with them.
    pub cached_tokens: usize,
    /// Tokens written; the end token is not counted.
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
    /// The critic ended its turn, or wrote a stop string.
    Stop,
    /// It reached its bound of tokens.
    Length,
}

/// A token of the text and how probable it was, under the raw logits.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The bytes it stands for; a character may be spread over several tokens.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The most probable tokens in its place, best first.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// A piece of text and the tokens that it completes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// The text; empty when a token completes no character yet.
    pub text: String,
    /// Its tokens, when they were asked for.
    pub logprobs: Vec<TokenLogprob>,
}

impl std::ops::Add<&str> for Piece {
    type Output = Self;

    fn add(self, more: &str) -> Self {
        Self { text: self.text + more, ..self }
    }
}

/// A text that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Which of the texts, from 0.
    pub index: usize,
    /// It as text.
    pub piece: Piece,
    /// Natural logarithms of the probabilities of all texts, when they were asked for.
    pub logprobs: Option<Vec<f32>>,
}

/// What a stream of text yields.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionEvent {
    /// More text that the critic wrote.
    Piece(Piece),
    /// Text that stands there without being chosen.
    Said(Piece),
    /// One of the texts that the critic had to choose from.
    Chosen(Chosen),
    /// What the critic's reward head made of everything so far.
    Rated(f32),
    /// The end; nothing follows.
    Finished(FinishReason, Usage),
}

/// A whole text.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The text and its tokens.
    pub piece: Piece,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
}

/// A token whose text was not shown yet, and the bytes of all text before and after it.
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
    /// The texts of each choice that is still to come, in order.
    choices: VecDeque<Vec<String>>,
    top_logprobs: Option<usize>,
    show_control: bool,
    usage: Usage,
    /// Tokens wait here until their text is shown, or is known to belong to a stop string.
    held: VecDeque<HeldToken>,
    /// Bytes of all text so far, and of what was shown of it.
    written: usize,
    shown: usize,
    /// Whether a token was written that is no control token, be it of text or of none.
    wrote: bool,
    /// Whether something was chosen or read, or a stop string came, which is an answer whatever its text.
    answered: bool,
    /// What its caller's allowance gave for it.
    reservation: Reservation,
    /// Whether it ever ran.
    admitted: bool,
    /// Set when the last piece has been given and the end has not.
    finish: Option<FinishReason>,
}

/// The tokens of a prompt, and what was taken for it and its reply.
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

    /// Waits for the whole text.
    ///
    /// # Errors
    /// [`JudgeError`] when the model fails, or writes nothing.
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

    /// Text that no stop string ends, after what was held back of the text before it.
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

    /// How probable the tokens of a choice were. In the place of a choice of single tokens, the most probable ones are told
    /// among the choices: what else the critic would have written cannot stand there.
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

    /// The text with the tokens that it completes; at a stop string also the token that it cuts, and none after.
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

    /// The text that was held back, when the critic itself ended.
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

    /// Cancels the sequence when it still runs.
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
                // An end without a word would read as an empty answer, which most clients take for a verdict. What was cut amid
                // what it wrote says that it is not whole, and whoever named a stop string can find it at the beginning.
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
                Some(Event::Finished(engine::FinishReason::Length, _)) => self.rest(FinishReason::Length),
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
