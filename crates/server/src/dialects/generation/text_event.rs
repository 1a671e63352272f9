//! The events of a text that is written, as far as clients are told of them.

use judge::{Chosen, CompletionEvent, FinishReason, Piece, Usage};

/// An event of a text.
pub(crate) enum TextEvent {
    /// More of the text.
    Piece(Piece),
    /// Its end, with its token counts.
    End(FinishReason, Usage),
}

impl TextEvent {
    /// What a client is told of an event; `None` for a reward, which is no text.
    pub(crate) fn of(event: CompletionEvent) -> Option<Self> {
        match event {
            CompletionEvent::Piece(piece)
            | CompletionEvent::Fixed(piece)
            | CompletionEvent::Chosen(Chosen { piece, .. }) => Some(Self::Piece(piece)),
            CompletionEvent::Reward(_) => None,
            CompletionEvent::Finished(reason, usage) => Some(Self::End(reason, usage)),
        }
    }
}

/// The name of a finish reason in all interfaces: `stop`, or `length` at the maximum number of tokens.
pub(crate) fn finish_reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}
