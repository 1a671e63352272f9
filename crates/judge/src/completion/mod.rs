//! The text that a critic writes, as a stream.

mod events;
mod held_tokens;
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
    restrained::{Restrained, Shown},
    stop::{Released, StopStrings},
    traced::SequenceSpans,
};

pub use events::{Chosen, Completion, CompletionEvent, FinishReason, Piece, TokenLogprob, Usage};
use held_tokens::{HeldToken, HeldTokens};
pub use params::CompletionParams;

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
    /// Tokens whose text has not been released.
    held: HeldTokens,
    /// Bytes of text generated so far, and of text that belongs to no stop string.
    written: usize,
    shown: usize,
    /// Characters of all pieces so far. A restraint makes them differ from the text that was generated.
    told: usize,
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
            held: HeldTokens::default(),
            written: 0,
            shown: 0,
            told: 0,
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
                | CompletionEvent::Chosen(Chosen { piece, .. }) => whole += piece,
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
            let (place, top) = (start..self.written, self.top(&report.others));
            self.held.push(HeldToken { place, bytes, logprob: report.chosen, top });
        }
        let released = self.stops.push(&text);
        if let Released::Last(_) = released {
            self.answered = true;
            self.end(FinishReason::Stop);
        }
        self.show(released)
    }

    /// Fixed text, in which stop strings do not apply, after whatever was held back of the text before it; and the
    /// number of characters of the whole text before each of its tokens.
    fn given(&mut self, tokens: &[TokenId]) -> (Piece, Vec<usize>) {
        self.usage.completion_tokens += tokens.len();
        let held = self.restrained.finish();
        let mut piece = self.tell(held, false);
        let mut starts = Vec::with_capacity(tokens.len());
        for token in tokens {
            starts.push(self.told);
            let bytes = self.bytes(*token);
            let text = self.characters.push(&bytes);
            self.written += text.len();
            self.shown += text.len();
            self.told += text.chars().count();
            piece.text += &text;
        }
        (piece, starts)
    }

    fn choose(&mut self, choice: &Choice) -> Chosen {
        let tokens: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        let (mut piece, starts) = self.given(&tokens);
        let labels = self.labels.pop_front().unwrap_or_default();
        if let Some(count) = self.top_logprobs {
            piece.logprobs.extend(self.logprobs_of(choice, &starts, &labels, count));
        }
        Chosen { index: choice.label, piece, logprobs: choice.logprobs.clone() }
    }

    /// Log-probabilities of those tokens of a choice that tell its label from others; `starts` are the characters
    /// before each token. For a choice between single tokens the most probable alternatives are taken from the labels,
    /// since no other token is possible there.
    fn logprobs_of(
        &self,
        choice: &Choice,
        starts: &[usize],
        labels: &[Vec<u8>],
        count: usize,
    ) -> Vec<TokenLogprob> {
        let read = choice.tokens.iter().zip(starts).filter_map(|((token, sampled), start)| {
            let report = sampled.as_ref()?.report.as_ref()?;
            let (bytes, top) = (self.bytes(*token), self.top(&report.others));
            Some(TokenLogprob { bytes, start: *start, logprob: report.chosen, top })
        });
        let mut logprobs: Vec<TokenLogprob> = read.collect();
        if let ([_], [only], Some(all)) = (&choice.tokens[..], logprobs.as_mut_slice(), &choice.logprobs) {
            let mut top: Vec<(Vec<u8>, f32)> =
                labels.iter().zip(all).map(|(label, logprob)| (label.clone(), *logprob)).collect();
            top.sort_by(|one, other| other.1.total_cmp(&one.1));
            top.truncate(count);
            only.top = top;
        }
        logprobs
    }

    /// The bytes and log-probabilities of alternative tokens.
    fn top(&self, others: &[(TokenId, f32)]) -> Vec<(Vec<u8>, f32)> {
        others.iter().map(|(token, logprob)| (self.bytes(*token), *logprob)).collect()
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
        let place = self.shown..self.shown + text.len();
        self.shown = place.end;
        let shown = self.restrained.push(&text, &self.held.begin(&place));
        let piece = self.tell(shown, stopped);
        (!piece.text.is_empty() || !piece.logprobs.is_empty()).then_some(piece)
    }

    /// The next piece, with the tokens whose text is complete, or cut by a stop string if it has `stopped` the text.
    fn tell(&mut self, shown: Shown, stopped: bool) -> Piece {
        let (told, end) = (self.told, self.shown);
        self.held.place(shown.starts.iter().map(|start| told + start));
        self.told += shown.characters;
        let logprobs = self.held.take(|place| place.end <= end || (stopped && place.start < end));
        Piece { text: shown.text, logprobs }
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
        let mut piece = self.show(Released::Text(text)).unwrap_or_default();
        let held = self.restrained.finish();
        piece += self.tell(held, false);
        (!piece.text.is_empty() || !piece.logprobs.is_empty()).then_some(piece)
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
                    let (piece, _) = self.given(&tokens);
                    return Poll::Ready(Some(Ok(CompletionEvent::Said(piece))));
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
