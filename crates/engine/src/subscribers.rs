//! The clients that receive the events of one sequence: one client, or several with equal requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    error::Failure,
    observer::Ending,
    queue::timeout::QueueTimeout,
    stream::{Event, TokenStream},
};

/// The sender for one client.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Has room for every event of the sequence, so that sending never waits for a slow client.
    events: mpsc::Sender<Event>,
    /// Whether the client closed its stream because it has all that it wants. Set before the stream is closed; no
    /// other data depends on it, so that relaxed ordering is enough.
    satisfied: Arc<AtomicBool>,
    deadline: Option<Instant>,
    queue_timeout: Option<QueueTimeout>,
}

impl Subscriber {
    /// A subscriber and its stream, with room for `events` events.
    pub(crate) fn connected(
        events: usize,
        deadline: Option<Instant>,
        queue_timeout: Option<QueueTimeout>,
    ) -> (Self, TokenStream) {
        let (sender, receiver) = mpsc::channel(events);
        let satisfied = Arc::new(AtomicBool::new(false));
        let stream = TokenStream::new(receiver, Arc::clone(&satisfied), deadline);
        (Self { events: sender, satisfied, deadline, queue_timeout }, stream)
    }

    /// Sends an event. A closed stream is not an error: its subscriber is removed before the next step.
    fn tell(&self, event: Event) {
        let sent = self.events.try_send(event);
        assert!(
            !matches!(sent, Err(mpsc::error::TrySendError::Full(_))),
            "the channel holds every event of a sequence"
        );
    }

    /// The reason why the client no longer needs the sequence, if it does not. A client whose deadline has passed
    /// is sent [`Failure::Expired`].
    fn leaves(&self, now: Instant) -> Option<Ending> {
        if self.events.is_closed() {
            let satisfied = self.satisfied.load(Relaxed);
            return Some(if satisfied { Ending::Finished } else { Ending::Abandoned });
        }
        self.deadline.filter(|deadline| *deadline <= now).map(|_| {
            self.tell(Event::Failed(Failure::Expired));
            Ending::Expired
        })
    }
}

/// All subscribers of a sequence, and the events sent so far, which later subscribers receive as well.
#[derive(Debug)]
pub(crate) struct Subscribers {
    subscribers: Vec<Subscriber>,
    told: Vec<Event>,
}

impl Subscribers {
    pub(crate) fn new(first: Subscriber) -> Self {
        Self { subscribers: vec![first], told: Vec::new() }
    }

    /// Adds the subscribers of an equal request, which receive all events from the start.
    pub(crate) fn join(&mut self, others: Self) {
        for subscriber in others.subscribers {
            for event in &self.told {
                subscriber.tell(event.clone());
            }
            self.subscribers.push(subscriber);
        }
    }

    /// Removes subscribers that closed their stream or whose deadline has passed. If no subscriber is left, returns why
    /// the last one was removed.
    pub(crate) fn gone(&mut self, now: Instant) -> Option<Ending> {
        let mut last = Ending::Abandoned;
        self.subscribers.retain(|subscriber| {
            let leaves = subscriber.leaves(now);
            last = leaves.unwrap_or(last);
            leaves.is_none()
        });
        self.subscribers.is_empty().then_some(last)
    }

    /// Tells all subscribers' [`QueueTimeout`] that the sequence has started.
    pub(crate) fn begin(&self) {
        self.subscribers
            .iter()
            .filter_map(|subscriber| subscriber.queue_timeout.as_ref())
            .for_each(QueueTimeout::begin);
    }

    /// Removes subscribers for which `timed_out` returns a time, which they waited before the sequence was started, and
    /// sends them [`Failure::QueueTimedOut`] with a time to retry. Returns whether no subscriber is left.
    pub(crate) fn end_queue_timeouts(
        &mut self,
        timed_out: impl Fn(&QueueTimeout) -> Option<Duration>,
        retry_after_s: impl Fn() -> u64,
    ) -> bool {
        self.subscribers.retain(|subscriber| {
            let most = subscriber.queue_timeout.as_ref().and_then(&timed_out);
            if let Some(most) = most {
                let retry_after_s = retry_after_s();
                subscriber.tell(Event::Failed(Failure::QueueTimedOut { most, retry_after_s }));
            }
            most.is_none()
        });
        self.subscribers.is_empty()
    }

    pub(crate) fn tell(&mut self, event: Event) {
        for subscriber in &self.subscribers {
            subscriber.tell(event.clone());
        }
        self.told.push(event);
    }
}
