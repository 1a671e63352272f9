//! Chat responses as server-sent events.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{Chosen, CompletionEvent, CompletionStream, JudgeError, Usage};
use serde::Serialize;

use super::{
    request::StreamOptions,
    response::{ChunkChoice, Delta, Header, Logprobs, UsageBody, word},
    tools::Call,
};
use crate::{
    error::{ApiError, Dialect},
    metrics::StreamFate,
};

/// The texts as chunks, each as soon as it is written, then the usage if it was asked for, then `[DONE]`. A failure
/// ends the stream with the body of an error and without that word. The client's leaving drops the stream, which cancels the work.
pub(super) fn events(
    choices: Vec<CompletionStream>,
    (header, call): (Header, Option<Call>),
    options: StreamOptions,
) -> (StreamFate, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (fate, told) = StreamFate::pair();
    let streams = choices.into_iter().enumerate();
    let pieces = stream::select_all(streams.map(|(index, choice)| choice.map(move |event| (index, event))));
    let stage = Stage::Opening;
    let chat = ChatStream { pieces, header, call, options, running: 0, usages: Vec::new(), stage, told };
    let events =
        stream::unfold(chat, |mut chat| async move { chat.next().await.map(|events| (events, chat)) });
    (fate, Sse::new(events.flat_map(stream::iter).map(Ok)).keep_alive(KeepAlive::default()))
}

/// The texts of one response on their way.
struct ChatStream<S> {
    pieces: stream::SelectAll<S>,
    header: Header,
    /// The function whose arguments the texts are.
    call: Option<Call>,
    options: StreamOptions,
    /// Texts that have not ended.
    running: usize,
    usages: Vec<Usage>,
    stage: Stage,
    told: StreamFate,
}

/// Where a stream stands.
enum Stage {
    Opening,
    Running,
    Ended,
}

impl<S> ChatStream<S>
where
    S: Stream<Item = (usize, Result<CompletionEvent, JudgeError>)> + Unpin,
{
    /// The next events; none when all is said.
    async fn next(&mut self) -> Option<Vec<Event>> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::Running;
                self.running = self.pieces.len();
                let openings = (0..self.running).map(|index| {
                    let delta = Delta::opening(self.call.as_ref());
                    self.chunk(ChunkChoice { index, delta, logprobs: None, finish_reason: None })
                });
                Some(openings.collect())
            }
            Stage::Running => {
                let (index, event) = self.pieces.next().await?;
                Some(self.advance(index, event))
            }
            Stage::Ended => None,
        }
    }

    fn advance(&mut self, index: usize, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event {
            Ok(
                CompletionEvent::Piece(piece)
                | CompletionEvent::Said(piece)
                | CompletionEvent::Chosen(Chosen { piece, .. }),
            ) => {
                let logprobs = (!piece.logprobs.is_empty()).then(|| Logprobs::new(&piece.logprobs));
                let delta = Delta::more(piece.text, self.call.as_ref());
                vec![self.chunk(ChunkChoice { index, delta, logprobs, finish_reason: None })]
            }
            Ok(CompletionEvent::Rated(_)) => Vec::new(),
            Ok(CompletionEvent::Finished(reason, usage)) => {
                self.usages.push(usage);
                self.running -= 1;
                let finish_reason = Some(word(reason, self.call.as_ref()));
                let choice = ChunkChoice { index, delta: Delta::default(), logprobs: None, finish_reason };
                let mut events = vec![self.chunk(choice)];
                if self.running == 0 {
                    if self.options.include_usage {
                        events.push(data(&self.header.chunk(Vec::new(), Some(UsageBody::sum(&self.usages)))));
                    }
                    events.push(self.done());
                }
                events
            }
            Err(error) => {
                self.pieces.clear(); // cancels the other texts
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.told.end(error.outcome());
                self.stage = Stage::Ended;
                vec![data(&error.body())]
            }
        }
    }

    fn chunk(&self, choice: ChunkChoice) -> Event {
        data(&self.header.chunk(vec![choice], None))
    }

    fn done(&mut self) -> Event {
        self.stage = Stage::Ended;
        Event::default().data("[DONE]")
    }
}

/// An event without a name.
pub(super) fn data(body: &impl Serialize) -> Event {
    Event::default().json_data(body).expect("our own bodies can be written as JSON")
}
