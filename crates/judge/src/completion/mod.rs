//! The text that a critic writes, as a stream.

mod account;
mod events;
mod held_tokens;
mod logprobs;
mod params;
mod text;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use critic::{Processor, TokenId};
use engine::{Choice, EngineError, Event, Sampled, TokenStream};
use futures::{Stream, StreamExt};

use crate::{JudgeError, ReplyPart, traced::SequenceSpans};

use account::Account;
pub(crate) use account::Charged;
pub use events::{Chosen, Completion, CompletionEvent, FinishReason, Piece, TokenLogprob, Usage};
use logprobs::{ChoiceLogprobs, token_report};
pub use params::CompletionParams;
use text::{Given, Release, Text};

/// The text of one running sequence. Dropping it cancels the sequence before the next step.
pub struct CompletionStream {
    /// `None` once the sequence has ended.
    tokens: Option<TokenStream>,
    spans: SequenceSpans,
    processor: Arc<dyn Processor>,
    text: Text,
    /// `None` if no log-probabilities were requested.
    choice_logprobs: Option<ChoiceLogprobs>,
    account: Account,
    /// The finish reason if some of the text is cut by its limit.
    at_bound: FinishReason,
    show_control: bool,
    /// Whether a token other than a control token was written, even if it completed no text.
    wrote: bool,
    /// Whether a text was chosen, a reward was read, a stop string was found or rules say when a text ends, which
    /// makes even an empty text an answer.
    answered: bool,
    /// Set when the last piece has been emitted, but not yet the end.
    finish: Option<FinishReason>,
}

impl CompletionStream {
    pub(crate) fn new(
        tokens: TokenStream,
        processor: Arc<dyn Processor>,
        charged: Charged,
        labels: VecDeque<Vec<Vec<u8>>>,
        params: &CompletionParams,
    ) -> Self {
        let choice_logprobs = params.top_logprobs.map(|count| {
            let most = count.max(params.logprob_tokens.len());
            ChoiceLogprobs::new(processor.clone(), labels, most)
        });
        Self {
            tokens: Some(tokens),
            spans: SequenceSpans::submitted(charged.tokens),
            processor,
            text: Text::new(params),
            choice_logprobs,
            account: Account::new(charged),
            at_bound: params.bound.reason(&params.script),
            show_control: params.show_control,
            wrote: false,
            answered: params.script.iter().any(|part| matches!(part, ReplyPart::GenerateBy(_))),
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
                | CompletionEvent::Fixed(piece)
                | CompletionEvent::Chosen(Chosen { piece, .. }) => whole += piece,
                CompletionEvent::Reward(_) => {}
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
            Some(Event::Fixed(_)) => {}
            Some(Event::Token(_) | Event::Chosen(_) | Event::Reward(_)) => self.spans.replied(),
            Some(Event::Finished(_, report)) => self.spans.finished(report),
            Some(Event::Failed(failure)) => self.spans.failed(failure),
            None => self.spans.failed(&EngineError::Stopped),
        }
    }

    fn accept(&mut self, sampled: &Sampled) -> Option<Piece> {
        self.account.usage.completion_tokens += 1;
        if self.processor.is_control(sampled.token) && !self.show_control {
            return None;
        }
        self.wrote = true;
        let bytes = self.processor.token_bytes(sampled.token);
        let report = sampled.report.as_ref().map(|reported| token_report(&*self.processor, reported));
        let Release { piece, is_stopped } = self.text.write(bytes, report);
        if is_stopped {
            self.answered = true;
            self.end(FinishReason::Stop);
        }
        piece
    }

    fn give(&mut self, tokens: &[TokenId]) -> Given {
        self.account.usage.completion_tokens += tokens.len();
        self.text.give(tokens.iter().map(|token| self.processor.token_bytes(*token)))
    }

    fn choose(&mut self, choice: &Choice) -> Chosen {
        let tokens: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        let Given { mut piece, starts } = self.give(&tokens);
        if let Some(choice_logprobs) = &mut self.choice_logprobs {
            piece.logprobs.extend(choice_logprobs.next(choice, &starts));
        }
        Chosen { index: choice.label, piece, logprobs: choice.logprobs.clone(), mass: choice.mass }
    }

    /// Releases the text held back, at the end of the sequence.
    fn rest(&mut self, reason: FinishReason) -> Option<Piece> {
        let Release { piece, is_stopped } = self.text.finish();
        self.answered |= is_stopped;
        self.end(reason);
        piece
    }

    /// Sets the finish reason, and cancels the sequence if it still runs.
    fn end(&mut self, reason: FinishReason) {
        self.finish = Some(reason);
        if let Some(tokens) = self.tokens.take() {
            tokens.satisfied();
        }
    }

    /// The last event. An empty text would look like an empty answer, which most clients take for a verdict. A text cut
    /// by its limit is marked as incomplete, and a stop string may legitimately come first.
    fn finished(&self, reason: FinishReason) -> Result<CompletionEvent, JudgeError> {
        let is_cut = reason == FinishReason::Length && self.wrote;
        if self.text.is_empty() && !self.answered && !is_cut {
            return Err(JudgeError::Silent);
        }
        Ok(CompletionEvent::Finished(reason, self.account.usage))
    }

    /// Processes an event of the sequence; returns what follows from it, if anything does.
    fn follow(&mut self, event: Event) -> Option<Result<CompletionEvent, JudgeError>> {
        let event = match event {
            Event::Admitted { cached_tokens } => {
                self.account.admit(cached_tokens);
                return None;
            }
            Event::Token(sampled) => CompletionEvent::Piece(self.accept(&sampled)?),
            Event::Fixed(tokens) => CompletionEvent::Fixed(self.give(&tokens).piece),
            Event::Chosen(choice) => {
                self.answered = true;
                CompletionEvent::Chosen(self.choose(&choice))
            }
            Event::Reward(reward) => {
                self.answered = true;
                CompletionEvent::Reward(reward)
            }
            Event::Finished(engine::FinishReason::End, _) => {
                CompletionEvent::Piece(self.rest(FinishReason::Stop)?)
            }
            Event::Finished(engine::FinishReason::Length, _) => {
                CompletionEvent::Piece(self.rest(self.at_bound)?)
            }
            Event::Failed(failure) => {
                self.tokens = None;
                return Some(Err(failure.into()));
            }
        };
        Some(Ok(event))
    }
}

impl Stream for CompletionStream {
    type Item = Result<CompletionEvent, JudgeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(reason) = self.finish.take() {
                return Poll::Ready(Some(self.finished(reason)));
            }
            let Some(tokens) = self.tokens.as_mut() else {
                return Poll::Ready(None);
            };
            let event = ready!(tokens.poll_next_unpin(context));
            self.trace(event.as_ref());
            let Some(event) = event else {
                self.tokens = None;
                return Poll::Ready(Some(Err(EngineError::Stopped.into())));
            };
            if let Some(told) = self.follow(event) {
                return Poll::Ready(Some(told));
            }
        }
    }
}
