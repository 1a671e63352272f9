//! Texts as server-sent events while they are written, for the interfaces that stream chunks.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{CompletionEvent, CompletionStream, FinishReason, JudgeError, Piece, Usage};

use crate::{
    dialects::{generation::text_event::TextEvent, sse},
    error::{ApiError, Dialect},
    metrics::StreamOutcome,
};

/// Writes the chunks of one interface. Texts have indices from 0.
pub(super) trait ChunkWriter: Send + 'static {
    /// The chunks before all text; `count` is the number of texts.
    fn opening(&mut self, count: usize) -> Vec<Event>;

    /// A chunk with more of the text at `index`.
    fn piece(&mut self, index: usize, piece: Piece) -> Event;

    /// The last chunk of the text at `index`.
    fn end(&mut self, index: usize, reason: FinishReason, usage: Usage) -> Event;

    /// The chunk with the token counts, after all texts have ended, if it was requested.
    fn usage(&self) -> Option<Event>;
}

/// Streams the texts in chunks as they are written, then the usage if requested, then `[DONE]`. After a failure the
/// stream ends with the body of an error, without `[DONE]`. When the client disconnects, the stream is dropped,
/// which cancels the work.
pub(super) fn events(
    texts: Vec<CompletionStream>,
    mut writer: impl ChunkWriter,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (outcome, writer_outcome) = StreamOutcome::pair();
    let running = texts.len();
    let opening = writer.opening(running);
    let texts = texts.into_iter().enumerate();
    let pieces = stream::select_all(texts.map(|(index, text)| text.map(move |event| (index, event))));
    let texts = TextStream { pieces, running, writer, outcome: writer_outcome };
    let events = stream::unfold(texts, |mut texts| async move {
        let (index, event) = texts.pieces.next().await?;
        Some((texts.advance(index, event), texts))
    });
    let events = stream::iter(opening).chain(events.flat_map(stream::iter)).map(Ok);
    (outcome, Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The texts of one response while they are written.
struct TextStream<S, W> {
    pieces: stream::SelectAll<S>,
    /// The number of texts that have not ended.
    running: usize,
    writer: W,
    /// Records the outcome for the metrics if the stream fails.
    outcome: StreamOutcome,
}

impl<S, W> TextStream<S, W>
where
    S: Stream<Item = (usize, Result<CompletionEvent, JudgeError>)> + Unpin,
    W: ChunkWriter,
{
    /// The chunks for an event of the text at `index`.
    fn advance(&mut self, index: usize, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event.map(TextEvent::of) {
            Ok(Some(TextEvent::Piece(piece))) => vec![self.writer.piece(index, piece)],
            Ok(None) => Vec::new(),
            Ok(Some(TextEvent::End(reason, usage))) => {
                self.running -= 1;
                let mut events = vec![self.writer.end(index, reason, usage)];
                if self.running == 0 {
                    events.extend(self.writer.usage());
                    events.push(Event::default().data("[DONE]"));
                }
                events
            }
            Err(error) => {
                self.pieces.clear(); // cancels the other texts
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.outcome.end(error.outcome());
                vec![sse::event(None, &error.body())]
            }
        }
    }
}
