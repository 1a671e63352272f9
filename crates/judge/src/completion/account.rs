//! The tokens of a text, and the caller's allowance from which they are taken.

use super::Usage;
use crate::caller::Reservation;

/// The length of a prompt in tokens, and the reservation for it and its reply.
pub(crate) struct Charged {
    pub(crate) tokens: usize,
    pub(crate) reservation: Reservation,
}

/// Counts the tokens of one text. When it is dropped, the caller gets back what was reserved and not used: all of it if
/// nothing was computed.
pub(super) struct Account {
    pub(super) usage: Usage,
    reservation: Reservation,
    /// Whether the sequence was admitted to the engine's running batch.
    is_admitted: bool,
}

impl Account {
    pub(super) fn new(Charged { tokens: prompt_tokens, reservation }: Charged) -> Self {
        Self { usage: Usage { prompt_tokens, ..Usage::default() }, reservation, is_admitted: false }
    }

    /// Records that the sequence was admitted, with so many tokens of its prompt from the prefix cache.
    pub(super) fn admit(&mut self, cached_tokens: usize) {
        self.usage.cached_tokens = cached_tokens;
        self.is_admitted = true;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.is_admitted {
            self.reservation.used(self.usage.prompt_tokens + self.usage.completion_tokens);
        }
    }
}
