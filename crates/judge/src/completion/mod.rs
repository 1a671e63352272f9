//! The text that a critic writes, as a stream.

mod events;
mod params;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use critic::{Processor, TokenId, Utf8Stream};
use engine::{Choice, EngineError, Event, Sampled, TokenStream};
use futures::{Stream, StreamExt};

use crate::{
    JudgeError, ReplyPart,
    caller::Reservation,
    restrained::Restrained,
    stop::{Released, StopStrings},
    traced::SequenceSpans,
};

pub use events::{Chosen, Completion, CompletionEvent, FinishReason, Piece, TokenLogprob, Usage};
pub use params::CompletionParams;

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
    /// The labels of the remaining choices as bytes, in order, if log-probabilities were requested.
    labels: VecDeque<Vec<Vec<u8>>>,
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
    /// Whether a text was chosen, a reward was read, a stop string was found or rules say when a text ends, which
    /// makes even an empty text an answer.
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
        labels: VecDeque<Vec<Vec<u8>>>,
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
            labels,
            top_logprobs: params.top_logprobs.map(|count| count.max(params.logprob_tokens.len())),
            show_control: params.show_control,
            usage: Usage { prompt_tokens, ..Usage::default() },
            held: VecDeque::new(),
            written: 0,
            shown: 0,
            wrote: false,
            answered: params.script.iter().any(|part| matches!(part, ReplyPart::WriteBy(_))),
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
        let labels = self.labels.pop_front().unwrap_or_default();
        if let Some(count) = self.top_logprobs {
            piece.logprobs = self.logprobs_of(choice, &labels, count);
        }
        Chosen { index: choice.label, piece, logprobs: choice.logprobs.clone() }
    }

    /// Log-probabilities of the tokens of a choice. For a choice between single tokens the most probable
    /// alternatives are taken from the labels, since no other token is possible there.
    fn logprobs_of(&self, choice: &Choice, labels: &[Vec<u8>], count: usize) -> Vec<TokenLogprob> {
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
                labels.iter().zip(all).map(|(label, logprob)| (label.clone(), *logprob)).collect();
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
