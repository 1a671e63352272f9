//! A response as server-sent events, each with a name and a sequence number.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{CompletionEvent, CompletionStream, FinishReason, JudgeError, Piece};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::response::{Logprobs, TokenBody},
    response::{End, OutputCall, OutputItem, OutputMessage, OutputText, ResponseBody},
};
use crate::{
    dialects::{
        generation::{
            call::{CallPart, CallReader},
            text_event::TextEvent,
        },
        sse,
    },
    error::{ApiError, Dialect},
    metrics::StreamOutcome,
};

/// An event of a response. There is a single item, a message with a single text or a call, so that all indices are 0.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseEvent {
    /// The name of the event. In order: `response.created`, `response.in_progress`, `response.output_item.added`,
    /// `response.content_part.added`, `response.output_text.delta` for each part of the text,
    /// `response.output_text.done`, `response.content_part.done`, `response.output_item.done`, and
    /// `response.completed` or `response.incomplete`. For a call, `response.function_call_arguments.delta` and
    /// `response.function_call_arguments.done` replace the events of parts and texts. A failure ends the stream with
    /// `response.failed`.
    #[serde(rename = "type")]
    name: &'static str,
    /// Number of the event, from 0.
    sequence_number: usize,
    /// The state of the response, in the first two events and in the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseBody>,
    /// Index of the item that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    /// The state of the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<OutputItem>,
    /// Id of the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<String>,
    /// Index of the text in the message that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    /// The state of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<OutputText>,
    /// The text to append, or the part of the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<String>,
    /// The whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The whole arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    /// The name of the function, with its whole arguments.
    #[serde(rename = "name", skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    /// Log-probabilities of the tokens of `delta` or `text`; empty if they were not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenBody>>,
}

impl ResponseEvent {
    /// An event about the whole response.
    fn whole(name: &'static str, response: ResponseBody) -> Self {
        Self { name, response: Some(response), ..Self::default() }
    }

    /// An event about its item.
    fn item(name: &'static str, item: OutputItem) -> Self {
        Self { name, output_index: Some(0), item: Some(item), ..Self::default() }
    }

    /// An event about the arguments of the call with the id `item_id`.
    fn call(name: &'static str, item_id: &str) -> Self {
        Self { name, output_index: Some(0), item_id: Some(item_id.to_owned()), ..Self::default() }
    }

    /// An event about the text of the message with the id `item_id`.
    fn text(name: &'static str, item_id: &str) -> Self {
        let item_id = Some(item_id.to_owned());
        Self { name, output_index: Some(0), content_index: Some(0), item_id, ..Self::default() }
    }
}

/// The text as server-sent events of `response`, of which nothing is written yet; it is the call that `call` reads.
/// When the client disconnects, the stream is dropped, which cancels the work.
pub(super) fn events(
    text: CompletionStream,
    call: Option<CallReader>,
    response: ResponseBody,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (outcome, writer_outcome) = StreamOutcome::pair();
    let item = match call {
        None => {
            let (message, written) = (OutputMessage::in_progress(), OutputText::new(String::new(), &[]));
            WrittenItem::Text(WrittenText { message, written })
        }
        Some(reader) => {
            let item = reader.name().map(|name| OutputCall::in_progress(name.to_owned()));
            WrittenItem::Call(WrittenCall { reader, item, arguments: String::new() })
        }
    };
    let mut writer = Writer { text, response, item, count: 0, outcome: writer_outcome };
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
    /// The response before its item.
    response: ResponseBody,
    item: WrittenItem,
    /// The number of events so far.
    count: usize,
    /// Records the outcome for the metrics if the stream fails.
    outcome: StreamOutcome,
}

impl Writer {
    /// The events before the text.
    fn open(&mut self) -> Vec<Event> {
        let about_response = ["response.created", "response.in_progress"]
            .map(|name| ResponseEvent::whole(name, self.response.clone()));
        let about_item = match &self.item {
            WrittenItem::Text(text) => text.open(),
            WrittenItem::Call(call) => call.open(),
        };
        self.events(about_response.into_iter().chain(about_item))
    }

    /// The events for an event of the text.
    fn advance(&mut self, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event.map(TextEvent::of) {
            Ok(Some(TextEvent::Piece(piece))) => {
                let events = match &mut self.item {
                    WrittenItem::Text(text) => vec![text.piece(piece)],
                    WrittenItem::Call(call) => {
                        let part = call.reader.push(&piece.text);
                        call.part(part)
                    }
                };
                self.events(events)
            }
            Ok(None) => Vec::new(),
            Ok(Some(TextEvent::End(reason, usage))) => self.close(End { reason, usage }),
            Err(error) => {
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.outcome.end(error.outcome());
                let response = self.response.clone().with_error(&error);
                self.events([ResponseEvent::whole("response.failed", response)])
            }
        }
    }

    /// The events after the text.
    fn close(&mut self, end: End) -> Vec<Event> {
        let (mut events, item) = match &mut self.item {
            WrittenItem::Text(text) => text.close(end.reason),
            WrittenItem::Call(call) => call.close(end.reason),
        };
        events.extend(item.clone().map(|item| ResponseEvent::item("response.output_item.done", item)));
        let name = match end.reason {
            FinishReason::Stop => "response.completed",
            FinishReason::Length => "response.incomplete",
        };
        events.push(ResponseEvent::whole(name, self.response.clone().with_item(item, end)));
        self.events(events)
    }

    /// Numbers the events.
    fn events(&mut self, events: impl IntoIterator<Item = ResponseEvent>) -> Vec<Event> {
        let numbered = events.into_iter().map(|event| {
            let sequence_number = self.count;
            self.count += 1;
            let body = ResponseEvent { sequence_number, ..event };
            sse::event(Some(body.name), &body)
        });
        numbered.collect()
    }
}

/// The item of a response while it is written.
enum WrittenItem {
    Text(WrittenText),
    Call(WrittenCall),
}

/// A message while it is written.
struct WrittenText {
    message: OutputMessage,
    /// The text so far.
    written: OutputText,
}

impl WrittenText {
    fn open(&self) -> Vec<ResponseEvent> {
        let text = ResponseEvent::text("response.content_part.added", &self.message.id);
        let item = OutputItem::Message(self.message.clone());
        vec![
            ResponseEvent::item("response.output_item.added", item),
            ResponseEvent { part: Some(self.written.clone()), ..text },
        ]
    }

    fn piece(&mut self, piece: Piece) -> ResponseEvent {
        let logprobs = Logprobs::new(&piece.logprobs).into_tokens();
        self.written.text += &piece.text;
        self.written.logprobs.extend(logprobs.iter().cloned());
        let text = ResponseEvent::text("response.output_text.delta", &self.message.id);
        ResponseEvent { delta: Some(piece.text), logprobs: Some(logprobs), ..text }
    }

    /// The last events of the text, and its item.
    fn close(&self, reason: FinishReason) -> (Vec<ResponseEvent>, Option<OutputItem>) {
        let item = self.message.clone().with_text(self.written.clone(), reason);
        let OutputText { text, logprobs, .. } = self.written.clone();
        let about_text = |name| ResponseEvent::text(name, &self.message.id);
        let closing = vec![
            ResponseEvent {
                text: Some(text),
                logprobs: Some(logprobs),
                ..about_text("response.output_text.done")
            },
            ResponseEvent { part: Some(self.written.clone()), ..about_text("response.content_part.done") },
        ];
        (closing, Some(OutputItem::Message(item)))
    }
}

/// A call while it is written.
struct WrittenCall {
    reader: CallReader,
    /// The call without its arguments, once its function is known.
    item: Option<OutputCall>,
    /// The arguments so far.
    arguments: String,
}

impl WrittenCall {
    fn open(&self) -> Vec<ResponseEvent> {
        let item = self.item.iter().cloned();
        item.map(|item| ResponseEvent::item("response.output_item.added", OutputItem::Call(item))).collect()
    }

    /// The events for more of the call.
    fn part(&mut self, part: Option<CallPart>) -> Vec<ResponseEvent> {
        let Some(CallPart { name, arguments }) = part else { return Vec::new() };
        let mut events = Vec::new();
        if let Some(name) = name {
            self.item = Some(OutputCall::in_progress(name));
            events.extend(self.open());
        }
        if let Some(item) = self.item.as_ref().filter(|_| !arguments.is_empty()) {
            self.arguments += &arguments;
            let call = ResponseEvent::call("response.function_call_arguments.delta", &item.id);
            events.push(ResponseEvent { delta: Some(arguments), ..call });
        }
        events
    }

    /// The last events of the call, and its item; `None` if the text ended before the function was known.
    fn close(&mut self, reason: FinishReason) -> (Vec<ResponseEvent>, Option<OutputItem>) {
        let part = self.reader.finish(reason);
        let mut events = self.part(part);
        let Some(item) = self.item.clone() else { return (events, None) };
        let arguments = std::mem::take(&mut self.arguments);
        let done = ResponseEvent::call("response.function_call_arguments.done", &item.id);
        let name = Some(item.name.clone());
        events.push(ResponseEvent { arguments: Some(arguments.clone()), function: name, ..done });
        (events, Some(OutputItem::Call(item.with_arguments(arguments, reason))))
    }
}
