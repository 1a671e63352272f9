//! The stream of events of a sequence.

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

/// A sampled token.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: TokenId,
    /// Its log-probabilities, if they were requested.
    pub report: Option<Reported>,
}

/// Log-probabilities under the raw logits, before penalties and temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The log-probability of the chosen token.
    pub chosen: f32,
    /// Those of the requested tokens: the most probable ones, best first, or given ones in their order.
    pub others: Vec<(TokenId, f32)>,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The critic wrote an end token, or the last piece of the reply is complete.
    End,
    /// The reply is complete, but text of the critic was cut by its limit.
    Length,
}

/// The label chosen for a [`Part::Choice`](crate::Part::Choice).
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Index of the label, from 0.
    pub label: usize,
    /// The tokens of the label, with the sampled token at each branch between labels.
    pub tokens: Vec<(TokenId, Option<Sampled>)>,
    /// Log-probabilities (natural logarithm) of all labels under the raw logits, in their order, if they were
    /// requested. The remainder of the probabilities to 1 is text that is not one of the labels.
    pub logprobs: Option<Vec<f32>>,
    /// The probability of all labels together, under the raw logits. If the probabilities were not requested, it is an
    /// upper bound, since improbable labels need not be read to their ends.
    pub mass: f64,
}

/// An event of a sequence.
#[derive(Debug, Clone)]
pub enum Event {
    /// The sequence was admitted; the first of all events.
    Admitted {
        /// Number of prompt tokens taken from the prefix cache.
        cached_tokens: usize,
    },
    /// A token was written; an end token is not reported.
    Token(Sampled),
    /// Fixed tokens of the script.
    Fixed(Vec<TokenId>),
    /// A label was chosen.
    Chosen(Choice),
    /// The number of the reward head.
    Reward(f32),
    /// The sequence is complete, with the reason and a report; no event follows.
    Finished(FinishReason, Box<SequenceReport>),
    /// The sequence failed; no event follows.
    Failed(Failure),
}

/// How long after the deadline the stream waits for the engine to report the expiry, which it does between two
/// steps.
const GRACE: Duration = Duration::from_secs(1);

/// The events of one sequence. Dropping the stream cancels the sequence before the next step;
/// [`satisfied`](Self::satisfied) ends it as complete. If the deadline passes while the engine is stuck in a step,
/// the stream itself reports the expiry.
///
/// A stream that ends without [`Event::Finished`] or [`Event::Failed`] means that the engine's thread died.
#[derive(Debug)]
pub struct TokenStream {
    events: mpsc::Receiver<Event>,
    /// Shared with the subscriber at the engine's end.
    satisfied: Arc<AtomicBool>,
    /// The time at which the stream stops waiting for the engine.
    end: Option<Instant>,
    /// The timer for `end`, created by the first poll that has to wait.
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

    /// A stream with only a failure, for a request that failed before it became a sequence.
    pub(crate) fn failed(failure: Failure) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        // The channel has room for one event and an open receiver, so that sending cannot fail.
        let _ = sender.try_send(Event::Failed(failure));
        Self::new(receiver, Arc::default(), None)
    }

    /// Ends the sequence before the next step and reports it as finished, since the client has all that it wants.
    pub fn satisfied(self) {
        self.satisfied.store(true, Relaxed);
    }

    /// Waits for the next event without a time limit, on a thread outside the asynchronous runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }
}

#[cfg(test)]
impl TokenStream {
    /// The next event, if it has already arrived.
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
