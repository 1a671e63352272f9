//! A request on its way from a handle to the engine's thread.

use std::time::Instant;

use critic::SequenceId;

use crate::{
    prefix_cache::BlockKey, queue::backlog::QueueSlot, request::Request, subscribers::Subscribers,
    suspects::Fingerprint,
};

/// A digest that is equal for requests that one answer can serve.
pub(crate) type Identity = [u8; 32];

/// A request with the data that the handle derived from it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: SequenceId,
    pub(crate) request: Request,
    /// Keys of the shareable full blocks of the prompt.
    pub(crate) block_keys: Vec<BlockKey>,
    pub(crate) identity: Identity,
    pub(crate) fingerprint: Fingerprint,
    /// Whether it must run alone, since an engine may have died of it.
    pub(crate) runs_alone: bool,
    pub(crate) subscribers: Subscribers,
    pub(crate) queue_slot: Option<QueueSlot>,
    pub(crate) arrived: Instant,
}
