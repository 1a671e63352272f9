//! The load of the queue, its bounds, and whether a demand exceeds them.

use super::ticket::JoinOrder;
use crate::request::Lane;

/// The load of the queue or of one tenant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Number of requests with a part that waits or is being prepared.
    pub(crate) requests: usize,
    /// Number of parts being prepared.
    pub(crate) preparing: usize,
    /// Number of parts in the queue.
    pub(crate) parts: usize,
    /// Number of tokens of these parts.
    pub(crate) tokens: usize,
}

/// A part in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueuedPart {
    pub(crate) lane: Lane,
    /// Number of prompt tokens that neither are nor will be in the prefix cache.
    pub(crate) tokens: usize,
}

/// The kinds of room for which a request or a part can wait. Each has waiters of its own: a request that waits for a
/// place, for example, must not hold up the parts whose end gives it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// For one more request.
    Request,
    /// For the first part of a request that counts already.
    FirstPart,
    /// For a part to be prepared beside others.
    FurtherPreparation,
    /// For a part to join the queue beside others.
    FurtherPart,
}

/// A demand for room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) join_order: JoinOrder,
    /// Whether the request is not counted yet.
    pub(crate) is_new: bool,
    pub(crate) demand: Demand,
}

/// What needs room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Demand {
    /// A part to be prepared while no other part of the request is.
    Preparation,
    /// A part to be prepared beside other parts of the request, which waits until there is room.
    FurtherPreparation,
    /// A part that joins the queue.
    Join(QueuedPart),
}

/// Upper bounds on a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Maximum number of requests, and of parts that are prepared or wait beyond one of each request.
    pub(crate) requests: usize,
    pub(crate) tokens: usize,
}

/// A bound that was exceeded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    Requests,
    Tokens,
    /// Either bound of the tenant's share.
    Share,
}

impl Wanted {
    /// The kind of room that it needs; `None` if it is accepted without a limit.
    pub(crate) fn room(&self) -> Option<Room> {
        match (self.demand, self.join_order) {
            (Demand::FurtherPreparation, _) => Some(Room::FurtherPreparation),
            (Demand::Preparation | Demand::Join(_), JoinOrder::First) if self.is_new => Some(Room::Request),
            (Demand::Preparation, _) | (Demand::Join(_), JoinOrder::Next) => None,
            (Demand::Join(_), JoinOrder::First) => Some(Room::FirstPart),
            (Demand::Join(_), JoinOrder::Beside) => Some(Room::FurtherPart),
        }
    }
}

impl Load {
    /// Whether nothing waits or is being prepared.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests + self.preparing + self.parts == 0
    }

    /// The bound exceeded by a demand, if there is one.
    pub(crate) fn lacks(&self, wanted: Wanted, most: Bounds) -> Option<Bound> {
        if wanted.is_new && wanted.join_order == JoinOrder::First && self.requests >= most.requests {
            return Some(Bound::Requests);
        }
        let QueuedPart { tokens, .. } = match wanted.demand {
            Demand::Preparation => return None,
            Demand::FurtherPreparation => {
                return (self.preparing + self.parts >= most.requests).then_some(Bound::Requests);
            }
            Demand::Join(part) => part,
        };
        match wanted.join_order {
            JoinOrder::Next => None,
            JoinOrder::First => self.lacks_tokens(tokens, most),
            JoinOrder::Beside => {
                let room = most.beside();
                if self.parts >= room.requests {
                    Some(Bound::Requests)
                } else {
                    self.lacks_tokens(tokens, room)
                }
            }
        }
    }

    /// When no tokens wait, a part of any length may join.
    fn lacks_tokens(&self, more: usize, most: Bounds) -> Option<Bound> {
        (self.tokens > 0 && self.tokens + more > most.tokens).then_some(Bound::Tokens)
    }

    pub(crate) fn add(&mut self, wanted: Wanted) {
        self.requests += usize::from(wanted.is_new);
        match wanted.demand {
            Demand::Preparation | Demand::FurtherPreparation => self.preparing += 1,
            Demand::Join(QueuedPart { tokens, .. }) => {
                (self.parts, self.tokens) = (self.parts + 1, self.tokens + tokens);
            }
        }
    }
}

impl Bounds {
    /// The bounds for parts beside the one that each accepted request may always have. They leave room for first
    /// parts, which are rejected without it: parts that wait take the room of each departure at once, so that
    /// otherwise a single request of many parts would keep all others out.
    fn beside(self) -> Self {
        Self { requests: (self.requests / 2).max(1), tokens: self.tokens / 2 }
    }
}
