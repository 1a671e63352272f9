//! The state shared by the parts of one client's request in the queue.

use std::sync::PoisonError;

use tokio::sync::{Notify, futures::Notified};

use crate::{
    error::EngineError,
    request::Tenant,
    sync::{Arc, Mutex, MutexGuard},
};

/// The ticket of a client's request. Every part of the request has a clone of it, so that the request is accepted
/// or rejected as a whole: once one part was accepted, the others wait for room, and once one was rejected, all later
/// ones are. It counts as one request as long as any of its parts waits or is being prepared. Another request needs
/// another ticket, even if it is from the same client.
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held only to count, never while anything waits. Lock order: the lock of the queue may be taken while this
    /// one is held, but not the reverse.
    standing: Mutex<Standing>,
    /// Held while a part tries to join the queue, so that parts join in the order in which they were submitted, and
    /// at most one of them waits for room.
    turn: tokio::sync::Mutex<()>,
    /// Held while a part tries to be prepared, so that at most one of them waits for room. It is not `turn`, since
    /// that room comes from prepared parts of the same request, which need `turn` to join the queue.
    preparation_turn: tokio::sync::Mutex<()>,
    /// Notified when a part that waits for room should try again. At most two do, one for each turn.
    woken: Notify,
}

/// The state of a request relative to the queue.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Whether it waits for room where other requests are rejected.
    patient: bool,
    /// Whether any of its parts was ever in the queue.
    let_in: bool,
    /// Why it was rejected, which applies to all of its parts.
    pub(crate) refused: Option<EngineError>,
    /// Set while it counts as one of the queue's requests.
    pub(crate) counted: Option<Counted>,
    /// Number of parts being prepared.
    preparing: usize,
    /// Number of parts in the queue.
    waiting: usize,
}

/// Marks a request that counts as one of the queue's requests.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The tenant in whose share it counts too, if that is limited.
    pub(crate) tenant: Option<Tenant>,
}

/// How the next part of a request joins the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinOrder {
    /// As the first part of all, for which there must be room.
    First,
    /// While no other part is in the queue: it is accepted without a limit, so that an accepted request always
    /// makes progress.
    Next,
    /// Beside other parts, as soon as there is room in the half of the queue that such parts may fill.
    Beside,
}

impl Ticket {
    /// The ticket of a request that waits for room until its deadline, where other requests are rejected.
    #[must_use]
    pub fn patient() -> Self {
        let standing = Standing { patient: true, ..Standing::default() };
        Self(Arc::new(Shared { standing: Mutex::new(standing), ..Shared::default() }))
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request was rejected.
    #[cfg(test)]
    pub(crate) fn is_refused(&self) -> bool {
        self.standing().refused.is_some()
    }

    /// Whether any of its parts was ever in the queue.
    pub(crate) fn is_let_in(&self) -> bool {
        self.standing().let_in
    }

    /// Whether it counts as one of the queue's requests.
    pub(crate) fn is_counted(&self) -> bool {
        self.standing().counted.is_some()
    }

    /// Makes the request be rejected when there is no room, unless it was already accepted.
    pub(crate) fn stop_waiting(&self) {
        self.standing().patient = false;
    }

    /// Waits until a part of the request that found no room should try again. What happens after this call counts, even
    /// before the future is polled.
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.0.woken.notified()
    }

    /// Wakes the parts of the request that wait for room.
    pub(crate) fn wake(&self) {
        self.0.woken.notify_waiters();
    }

    /// Waits until no other part of the request tries to join the queue.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// Waits until no other part of the request tries to be prepared.
    pub(crate) async fn preparation_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.preparation_turn.lock().await
    }
}

impl Standing {
    /// Whether its parts wait when there is no room.
    pub(crate) fn waits(&self) -> bool {
        self.patient || self.let_in
    }

    /// How its next part joins.
    pub(crate) fn join_order(&self) -> JoinOrder {
        match (self.let_in, self.waiting) {
            (false, _) => JoinOrder::First,
            (true, 0) => JoinOrder::Next,
            (true, _) => JoinOrder::Beside,
        }
    }

    /// Whether any of its parts is being prepared.
    pub(crate) fn prepares(&self) -> bool {
        self.preparing > 0
    }

    /// Records that a part is being prepared.
    pub(crate) fn prepare(&mut self) {
        self.preparing += 1;
    }

    /// Records that a part is no longer being prepared. A returned value means that the request no longer counts.
    pub(crate) fn prepared(&mut self) -> Option<Counted> {
        self.preparing -= 1;
        self.settled()
    }

    /// Records that a part has joined the queue.
    pub(crate) fn join(&mut self) {
        self.waiting += 1;
        self.let_in = true;
    }

    /// Records that a part has left the queue. A returned value means that the request no longer counts.
    pub(crate) fn leave(&mut self) -> Option<Counted> {
        self.waiting -= 1;
        self.settled()
    }

    /// Clears `counted`, and returns it, when no part waits or is being prepared.
    fn settled(&mut self) -> Option<Counted> {
        let is_idle = self.preparing + self.waiting == 0;
        self.counted.take_if(|_| is_idle)
    }
}
