//! The clients that listen to one sequence: one, or several whose requests are the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use crate::{
    error::Failure,
    observer::Ending,
    patience::Patience,
    stream::{Event, TokenStream},
};

/// One client.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Holds every event that the sequence can have, so that sending never waits for a slow client.
    events: mpsc::Sender<Event>,
    /// Whether a stream that is closed was so because its client has all that it wants. It is set before, and nothing else depends
    /// on it.
    satisfied: Arc<AtomicBool>,
    deadline: Option<Instant>,
    patience: Option<Patience>,
}

impl Listener {
    /// A client and its stream, which holds `events` events.
    pub(crate) fn connected(
        events: usize,
        deadline: Option<Instant>,
        patience: Option<Patience>,
    ) -> (Self, TokenStream) {
        let (sender, receiver) = mpsc::channel(events);
        let satisfied = Arc::new(AtomicBool::new(false));
        let stream = TokenStream::new(receiver, Arc::clone(&satisfied), deadline);
        (Self { events: sender, satisfied, deadline, patience }, stream)
    }

    /// Sends an event. A client that went away is no error: it is left out before the next step.
    fn tell(&self, event: Event) {
        let sent = self.events.try_send(event);
        assert!(
            !matches!(sent, Err(mpsc::error::TrySendError::Full(_))),
            "the channel holds every event of a sequence"
        );
    }

    /// Why it wants no answer any more, when that is so; one whose time is up is told.
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

/// All clients of a sequence, and what they were told, for those that come later.
#[derive(Debug)]
pub(crate) struct Audience {
    listeners: Vec<Listener>,
    told: Vec<Event>,
}

impl Audience {
    pub(crate) fn new(first: Listener) -> Self {
        Self { listeners: vec![first], told: Vec::new() }
    }

    /// Takes in the listeners of an equal request, which hear everything from the start.
    pub(crate) fn join(&mut self, others: Self) {
        for listener in others.listeners {
            for event in &self.told {
                listener.tell(event.clone());
            }
            self.listeners.push(listener);
        }
    }

    /// Leaves out those that went away or whose time is up; tells how the last one left when nobody stays.
    pub(crate) fn gone(&mut self, now: Instant) -> Option<Ending> {
        let mut last = Ending::Abandoned;
        self.listeners.retain(|listener| {
            let leaves = listener.leaves(now);
            last = leaves.unwrap_or(last);
            leaves.is_none()
        });
        self.listeners.is_empty().then_some(last)
    }

    /// Notes that what they wait for is begun.
    pub(crate) fn begin(&self) {
        self.listeners.iter().filter_map(|listener| listener.patience.as_ref()).for_each(Patience::begin);
    }

    /// Leaves out those that will wait no longer for it to be begun, and tells them when to come again; tells whether nobody
    /// stays.
    pub(crate) fn lose_patience(&mut self, now: Instant, retry_after_s: impl Fn() -> u64) -> bool {
        self.listeners.retain(|listener| {
            let over = listener.patience.as_ref().and_then(|patience| patience.over(now));
            if let Some(most) = over {
                let retry_after_s = retry_after_s();
                listener.tell(Event::Failed(Failure::Waited { most, retry_after_s }));
            }
            over.is_none()
        });
        self.listeners.is_empty()
    }

    pub(crate) fn tell(&mut self, event: Event) {
        for listener in &self.listeners {
            listener.tell(event.clone());
        }
        self.told.push(event);
    }
}
