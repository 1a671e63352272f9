//! A response as server-sent events, each with its name and its number.

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
    metrics::StreamFate,
};

/// An event of a response. There is one message with one text, so that both have the index 0.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseEvent {
    /// Its name: `response.created`, `response.in_progress`, `response.output_item.added`, `response.content_part.added`,
    /// `response.output_text.delta` for each piece, `response.output_text.done`, `response.content_part.done`,
    /// `response.output_item.done`, and `response.completed`, `response.incomplete` or, after any of them, `response.failed`.
    #[serde(rename = "type")]
    name: &'static str,
    /// From 0.
    sequence_number: usize,
    /// The response as it is then, in the first two and the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseBody>,
    /// Which message it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    /// The message as it is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<OutputMessage>,
    /// The name of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<String>,
    /// Which text of the message it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    /// The text as it is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<OutputText>,
    /// What is added to the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<String>,
    /// The whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Of the tokens of `delta` or `text`, when they were asked for, else empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenBody>>,
}

impl ResponseEvent {
    /// About the whole response.
    fn whole(name: &'static str, response: ResponseBody) -> Self {
        Self { name, response: Some(response), ..Self::default() }
    }

    /// About its message.
    fn item(name: &'static str, item: OutputMessage) -> Self {
        Self { name, output_index: Some(0), item: Some(item), ..Self::default() }
    }

    /// About the text of the message that is called `item_id`.
    fn text(name: &'static str, item_id: &str) -> Self {
        let item_id = Some(item_id.to_owned());
        Self { name, output_index: Some(0), content_index: Some(0), item_id, ..Self::default() }
    }
}

/// The response as events. The client's leaving drops the stream, which cancels the work.
pub(super) fn events(
    text: CompletionStream,
    begun: ResponseBody,
) -> (StreamFate, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (fate, told) = StreamFate::pair();
    let (message, whole) = (OutputMessage::begun(), OutputText::new(String::new(), &[]));
    let mut writer = Writer { text, begun, message, whole, count: 0, told };
    let opening = writer.open();
    let events = stream::unfold(writer, |mut writer| async move {
        let event = writer.text.next().await?;
        Some((writer.advance(event), writer))
    });
    let events = stream::iter(opening).chain(events.flat_map(stream::iter)).map(Ok);
    (fate, Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A response on its way.
struct Writer {
    text: CompletionStream,
    begun: ResponseBody,
    message: OutputMessage,
    /// The text so far.
    whole: OutputText,
    /// Events so far.
    count: usize,
    told: StreamFate,
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
                self.told.end(error.outcome());
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

    /// The event with its number.
    fn event(&mut self, event: ResponseEvent) -> Event {
        let sequence_number = self.count;
        self.count += 1;
        let body = ResponseEvent { sequence_number, ..event };
        let event = Event::default().event(body.name).json_data(&body);
        event.expect("our own bodies can be written as JSON")
    }
}
