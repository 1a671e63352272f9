//! What comes back from a running sequence.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use critic::TokenId;
use tokio::{sync::mpsc, time::Sleep};

use crate::{error::Failure, observer::SequenceReport};

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: TokenId,
    /// What was to be reported of it.
    pub report: Option<Reported>,
}

/// Log-probabilities under the raw logits, before penalties and temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// That of the chosen token.
    pub chosen: f32,
    /// Those of the tokens that were asked for: the most probable ones, best first, or given ones in their order.
    pub others: Vec<(TokenId, f32)>,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The critic wrote one of its end tokens, or the reply's last piece is complete.
    End,
    /// It is complete, but what the critic wrote was cut by its bound.
    Length,
}

/// The label that was chosen of a [`Choose`](crate::Part::Choose).
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Which label, from 0.
    pub label: usize,
    /// Its tokens, with what was sampled where it was not the only label left.
    pub tokens: Vec<(TokenId, Option<Sampled>)>,
    /// Natural logarithms of the probabilities of all labels under the raw logits, in their order, when they were asked
    /// for. What the probabilities lack to 1 is what the critic would rather have written.
    pub logprobs: Option<Vec<f32>>,
}

/// Something that happened to a sequence.
#[derive(Debug, Clone)]
pub enum Event {
    /// It began to run; the first of all events.
    Admitted {
        /// Tokens of its prompt whose keys and values were kept from earlier requests.
        cached_tokens: usize,
    },
    /// It wrote a token; an end token is not reported.
    Token(Sampled),
    /// Tokens that stand there without being chosen.
    Said(Vec<TokenId>),
    /// It chose a label.
    Chosen(Choice),
    /// The reward head read this number.
    Rated(f32),
    /// It is complete, for this reason, and this became of it; nothing follows.
    Finished(FinishReason, Box<SequenceReport>),
    /// There will be no more of it; nothing follows.
    Failed(Failure),
}

/// For so long after its time is up a request is left to the engine, which says so between two steps and counts it.
const GRACE: Duration = Duration::from_secs(1);

/// The events of one sequence. Dropping it cancels the sequence before the next step; [`satisfied`](Self::satisfied) ends it. When its time is up while the engine is in
/// a step that does not end, the stream says so itself.
///
/// A stream that ends without [`Event::Finished`] or [`Event::Failed`] means that the engine's thread died.
#[derive(Debug)]
pub struct TokenStream {
    events: mpsc::Receiver<Event>,
    /// Shared with the listener at the other end.
    satisfied: Arc<AtomicBool>,
    /// When nobody waits for the engine any more.
    end: Option<Instant>,
    /// The alarm for that, once somebody waits.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl TokenStream {
    pub(crate) fn new(
        events: mpsc::Receiver<Event>,
        satisfied: Arc<AtomicBool>,
        deadline: Option<Instant>,
    ) -> Self {
        let end = deadline.and_then(|deadline| deadline.checked_add(GRACE));
        Self { events, satisfied, end, alarm: None }
    }

    /// Ends the sequence before the next step, as one that is complete: its client has all that it wants.
    pub fn satisfied(self) {
        self.satisfied.store(true, Relaxed);
    }

    /// Waits for the next event on a thread that is not an asynchronous one, for as long as it takes.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }
}

#[cfg(test)]
impl TokenStream {
    /// The next event, when it is there already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl futures::Stream for TokenStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Self { events, end, alarm, .. } = &mut *self;
        if let Poll::Ready(event) = events.poll_recv(context) {
            return Poll::Ready(event);
        }
        let Some(time) = *end else { return Poll::Pending };
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(time.into())));
        alarm.as_mut().poll(context).map(|()| {
            *end = None;
            events.close();
            Some(Event::Failed(Failure::Expired))
        })
    }
}
