//! The chunks of streamed chat responses.

use std::convert::Infallible;

use axum::response::{Sse, sse::Event};
use futures::Stream;
use judge::{CompletionStream, FinishReason, Piece, Usage};

use super::{
    response::{ChunkChoice, Delta, Logprobs, ResponseHeader, UsageBody, finish_reason_of},
    text_stream::{self, ChunkWriter},
};
use crate::{
    dialects::{
        generation::{
            call::{Call, CallReader},
            text_counts::StreamOptions,
        },
        sse,
    },
    metrics::StreamOutcome,
};

/// The texts as server-sent events; they are calls if there is a `call`.
pub(super) fn events(
    choices: Vec<CompletionStream>,
    header: ResponseHeader,
    call: Option<Call>,
    options: StreamOptions,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let calls = call.iter().flat_map(|call| vec![CallReader::new(call); choices.len()]).collect();
    text_stream::events(choices, ChatWriter { header, call, calls, options, usages: Vec::new() })
}

/// Writes the chunks of one response.
struct ChatWriter {
    header: ResponseHeader,
    /// The function to call, if the texts are calls.
    call: Option<Call>,
    /// The call in each text, if they are calls.
    calls: Vec<CallReader>,
    options: StreamOptions,
    /// The usage of the texts that have ended.
    usages: Vec<Usage>,
}

impl ChatWriter {
    fn chunk(&self, choice: ChunkChoice) -> Event {
        sse::event(None, &self.header.chunk(vec![choice], None))
    }
}

impl ChunkWriter for ChatWriter {
    fn opening(&mut self, count: usize) -> Vec<Event> {
        let opening = |index| {
            let name = self.calls.get(index).and_then(CallReader::name);
            let delta = Delta::opening(self.call.as_ref().map(|call| (call, name)));
            self.chunk(ChunkChoice { index, delta, logprobs: None, finish_reason: None })
        };
        (0..count).map(opening).collect()
    }

    fn piece(&mut self, index: usize, piece: Piece) -> Event {
        let logprobs = (!piece.logprobs.is_empty()).then(|| Logprobs::new(&piece.logprobs));
        let delta = match (&self.call, self.calls.get_mut(index)) {
            (Some(call), Some(reader)) => Delta::call(reader.push(&piece.text), call.style),
            (None, _) | (_, None) => Delta::text(piece.text),
        };
        self.chunk(ChunkChoice { index, delta, logprobs, finish_reason: None })
    }

    fn end(&mut self, index: usize, reason: FinishReason, usage: Usage) -> Event {
        self.usages.push(usage);
        let finish_reason = Some(finish_reason_of(reason, self.call.as_ref()));
        let delta = match (&self.call, self.calls.get_mut(index)) {
            (Some(call), Some(reader)) => Delta::call(reader.finish(reason), call.style),
            (None, _) | (_, None) => Delta::default(),
        };
        self.chunk(ChunkChoice { index, delta, logprobs: None, finish_reason })
    }

    fn usage(&self) -> Option<Event> {
        let usage = || sse::event(None, &self.header.chunk(Vec::new(), Some(UsageBody::sum(&self.usages))));
        self.options.include_usage.then(usage)
    }
}
