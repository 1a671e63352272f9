//! A request on its way from a handle to the engine's thread.

use std::time::Instant;

use critic::SequenceId;

use crate::{
    audience::Audience, backlog::Place, prefix_cache::BlockKey, request::Request, suspects::Fingerprint,
};

/// What two requests have in common when one answer serves both.
pub(crate) type Identity = [u8; 32];

/// What the engine's handle worked out of a request.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: SequenceId,
    pub(crate) request: Request,
    /// Names of the full blocks of the prompt.
    pub(crate) block_keys: Vec<BlockKey>,
    pub(crate) identity: Identity,
    pub(crate) fingerprint: Fingerprint,
    /// Whether an engine may have died of it.
    pub(crate) runs_alone: bool,
    pub(crate) audience: Audience,
    pub(crate) place: Option<Place>,
    pub(crate) arrived: Instant,
}
