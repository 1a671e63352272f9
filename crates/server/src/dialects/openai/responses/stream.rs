//! A response as server-sent events, each with a name and a sequence number.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{Chosen, CompletionEvent, CompletionStream, FinishReason, JudgeError};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::response::{Logprobs, TokenBody},
    response::{End, OutputMessage, OutputText, ResponseBody},
};
use crate::{
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

/// The response as server-sent events. When the client disconnects, the stream is dropped, which cancels the work.
pub(super) fn events(
    text: CompletionStream,
    begun: ResponseBody,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (outcome, ended) = StreamOutcome::pair();
    let (message, whole) = (OutputMessage::begun(), OutputText::new(String::new(), &[]));
    let mut writer = Writer { text, begun, message, whole, count: 0, ended };
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
    begun: ResponseBody,
    message: OutputMessage,
    /// The text so far.
    whole: OutputText,
    /// The number of events so far.
    count: usize,
    /// Records the outcome for the metrics if the stream fails.
    ended: StreamOutcome,
}

impl Writer {
    fn open(&mut self) -> Vec<Event> {
        let text = ResponseEvent::text("response.content_part.added", &self.message.id);
        let opening = [
            ResponseEvent::whole("response.created", self.begun.clone()),
            ResponseEvent::whole("response.in_progress", self.begun.clone()),
            ResponseEvent::item("response.output_item.added", self.message.clone()),
            ResponseEvent { part: Some(self.whole.clone()), ..text },
        ];
        opening.map(|event| self.event(event)).into()
    }

    fn advance(&mut self, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event {
            Ok(
                CompletionEvent::Piece(piece)
                | CompletionEvent::Said(piece)
                | CompletionEvent::Chosen(Chosen { piece, .. }),
            ) => {
                let logprobs = Logprobs::new(&piece.logprobs).into_tokens();
                self.whole.text += &piece.text;
                self.whole.logprobs.extend(logprobs.iter().cloned());
                let text = ResponseEvent::text("response.output_text.delta", &self.message.id);
                vec![self.event(ResponseEvent { delta: Some(piece.text), logprobs: Some(logprobs), ..text })]
            }
            Ok(CompletionEvent::Rated(_)) => Vec::new(),
            Ok(CompletionEvent::Finished(reason, usage)) => self.close(End { reason, usage }),
            Err(error) => {
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.ended.end(error.outcome());
                let response = self.begun.clone().failed(&error);
                vec![self.event(ResponseEvent::whole("response.failed", response))]
            }
        }
    }

    fn close(&mut self, end: End) -> Vec<Event> {
        let item = self.message.clone().ended(self.whole.clone(), end.reason);
        let response = self.begun.clone().ended(item.clone(), end);
        let OutputText { text, logprobs, .. } = self.whole.clone();
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
            ResponseEvent { part: Some(self.whole.clone()), ..about_text("response.content_part.done") },
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
        let event = Event::default().event(body.name).json_data(&body);
        event.expect("our own bodies can be written as JSON")
    }
}
