//! A response as server-sent events, each with a name and a sequence number.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{CompletionEvent, CompletionStream, FinishReason, JudgeError};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::response::{Logprobs, TokenBody},
    response::{End, OutputMessage, OutputText, ResponseBody},
};
use crate::{
    dialects::{generation::text_event::TextEvent, sse},
    error::{ApiError, Dialect},
    metrics::StreamOutcome,
};

/// An event of a response. There is a single message with a single text, so that the index of either is 0.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseEvent {
    /// The name of the event. In order: `response.created`, `response.in_progress`, `response.output_item.added`,
    /// `response.content_part.added`, `response.output_text.delta` for each part of the text,
    /// `response.output_text.done`, `response.content_part.done`, `response.output_item.done`, and
    /// `response.completed` or `response.incomplete`. A failure ends the stream with `response.failed`.
    #[serde(rename = "type")]
    name: &'static str,
    /// Number of the event, from 0.
    sequence_number: usize,
    /// The state of the response, in the first two events and in the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseBody>,
    /// Index of the message that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    /// The state of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<OutputMessage>,
    /// Id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<String>,
    /// Index of the text in the message that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    /// The state of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<OutputText>,
    /// The text to append.
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<String>,
    /// The whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Log-probabilities of the tokens of `delta` or `text`; empty if they were not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenBody>>,
}

impl ResponseEvent {
    /// An event about the whole response.
    fn whole(name: &'static str, response: ResponseBody) -> Self {
        Self { name, response: Some(response), ..Self::default() }
    }

    /// An event about its message.
    fn item(name: &'static str, item: OutputMessage) -> Self {
        Self { name, output_index: Some(0), item: Some(item), ..Self::default() }
    }

    /// An event about the text of the message with the id `item_id`.
    fn text(name: &'static str, item_id: &str) -> Self {
        let item_id = Some(item_id.to_owned());
        Self { name, output_index: Some(0), content_index: Some(0), item_id, ..Self::default() }
    }
}

/// The text as server-sent events of `response`, of which nothing is written yet. When the client disconnects, the
/// stream is dropped, which cancels the work.
pub(super) fn events(
    text: CompletionStream,
    response: ResponseBody,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (outcome, writer_outcome) = StreamOutcome::pair();
    let (message, written) = (OutputMessage::in_progress(), OutputText::new(String::new(), &[]));
    let mut writer = Writer { text, response, message, written, count: 0, outcome: writer_outcome };
    let opening = writer.open();
    let events = stream::unfold(writer, |mut writer| async move {
        let event = writer.text.next().await?;
        Some((writer.advance(event), writer))
    });
    let events = stream::iter(opening).chain(events.flat_map(stream::iter)).map(Ok);
    (outcome, Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The state of a streamed response.
struct Writer {
    text: CompletionStream,
    /// The response before its message.
    response: ResponseBody,
    message: OutputMessage,
    /// The text so far.
    written: OutputText,
    /// The number of events so far.
    count: usize,
    /// Records the outcome for the metrics if the stream fails.
    outcome: StreamOutcome,
}

impl Writer {
    /// The events before the text.
    fn open(&mut self) -> Vec<Event> {
        let text = ResponseEvent::text("response.content_part.added", &self.message.id);
        let opening = [
            ResponseEvent::whole("response.created", self.response.clone()),
            ResponseEvent::whole("response.in_progress", self.response.clone()),
            ResponseEvent::item("response.output_item.added", self.message.clone()),
            ResponseEvent { part: Some(self.written.clone()), ..text },
        ];
        opening.map(|event| self.event(event)).into()
    }

    /// The events for an event of the text.
    fn advance(&mut self, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event.map(TextEvent::of) {
            Ok(Some(TextEvent::Piece(piece))) => {
                let logprobs = Logprobs::new(&piece.logprobs).into_tokens();
                self.written.text += &piece.text;
                self.written.logprobs.extend(logprobs.iter().cloned());
                let text = ResponseEvent::text("response.output_text.delta", &self.message.id);
                vec![self.event(ResponseEvent { delta: Some(piece.text), logprobs: Some(logprobs), ..text })]
            }
            Ok(None) => Vec::new(),
            Ok(Some(TextEvent::End(reason, usage))) => self.close(End { reason, usage }),
            Err(error) => {
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.outcome.end(error.outcome());
                let response = self.response.clone().with_error(&error);
                vec![self.event(ResponseEvent::whole("response.failed", response))]
            }
        }
    }

    /// The events after the text.
    fn close(&mut self, end: End) -> Vec<Event> {
        let item = self.message.clone().with_text(self.written.clone(), end.reason);
        let response = self.response.clone().with_message(item.clone(), end);
        let OutputText { text, logprobs, .. } = self.written.clone();
        let about_text = |name| ResponseEvent::text(name, &self.message.id);
        let name = match end.reason {
            FinishReason::Stop => "response.completed",
            FinishReason::Length => "response.incomplete",
        };
        let closing = [
            ResponseEvent {
                text: Some(text),
                logprobs: Some(logprobs),
                ..about_text("response.output_text.done")
            },
            ResponseEvent { part: Some(self.written.clone()), ..about_text("response.content_part.done") },
            ResponseEvent::item("response.output_item.done", item),
            ResponseEvent::whole(name, response),
        ];
        closing.map(|event| self.event(event)).into()
    }

    /// Numbers an event.
    fn event(&mut self, event: ResponseEvent) -> Event {
        let sequence_number = self.count;
        self.count += 1;
        let body = ResponseEvent { sequence_number, ..event };
        sse::event(Some(body.name), &body)
    }
}
