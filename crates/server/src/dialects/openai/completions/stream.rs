//! Continued texts as server-sent events.

use std::convert::Infallible;

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt, stream};
use judge::{Chosen, CompletionEvent, CompletionStream, JudgeError, Usage};

use super::{
    super::{
        request::StreamOptions,
        response::{Header, UsageBody, word},
        stream::data,
    },
    Prompted,
    response::{Places, TextChoice, TextCompletion},
};
use crate::{
    error::{ApiError, Dialect},
    metrics::StreamFate,
};

/// Whether the probabilities of tokens are told in a stream, and what comes beside the texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    pub(super) logprobs: bool,
    pub(super) options: StreamOptions,
}

/// The texts as chunks, each as soon as it is written, then the usage if it was asked for, then `[DONE]`. A failure ends
/// the stream with the body of an error and without that word. The client's leaving drops the stream, which cancels the work.
pub(super) fn events(
    prompted: Vec<Prompted<CompletionStream>>,
    header: Header,
    telling: Telling,
) -> (StreamFate, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let (fate, told) = StreamFate::pair();
    let usages = prompted.iter().map(|_| Vec::new()).collect();
    let (mut texts, mut streams, mut opening) = (Vec::new(), Vec::new(), Vec::new());
    for (prompt, Prompted { echo, texts: written }) in prompted.into_iter().enumerate() {
        for text in written {
            let index = texts.len();
            texts.push(Text { prompt, places: Places::after(&echo) });
            streams.push(text.map(move |event| (index, event)));
            if !echo.is_empty() {
                opening.push((index, echo.clone()));
            }
        }
    }
    let running = streams.len();
    let writer =
        Writer { pieces: stream::select_all(streams), header, telling, texts, usages, running, told };
    let opening: Vec<Event> = opening.into_iter().map(|(index, echo)| writer.chunk(index, echo)).collect();
    let events = stream::unfold(writer, |mut writer| async move {
        let (index, event) = writer.pieces.next().await?;
        Some((writer.advance(index, event), writer))
    });
    let events = stream::iter(opening).chain(events.flat_map(stream::iter)).map(Ok);
    (fate, Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A text on its way.
struct Text {
    /// Which prompt it continues.
    prompt: usize,
    places: Places,
}

/// The texts of one response on their way.
struct Writer<S> {
    pieces: stream::SelectAll<S>,
    header: Header,
    telling: Telling,
    texts: Vec<Text>,
    /// Of the texts of each prompt that have ended.
    usages: Vec<Vec<Usage>>,
    /// Texts that have not ended.
    running: usize,
    told: StreamFate,
}

impl<S> Writer<S>
where
    S: Stream<Item = (usize, Result<CompletionEvent, JudgeError>)> + Unpin,
{
    fn advance(&mut self, index: usize, event: Result<CompletionEvent, JudgeError>) -> Vec<Event> {
        match event {
            Ok(
                CompletionEvent::Piece(piece)
                | CompletionEvent::Said(piece)
                | CompletionEvent::Chosen(Chosen { piece, .. }),
            ) => {
                let places = &mut self.texts[index].places;
                let logprobs = self.telling.logprobs.then(|| places.logprobs(&piece.logprobs));
                vec![self.event(TextChoice { index, text: piece.text, logprobs, finish_reason: None })]
            }
            Ok(CompletionEvent::Rated(_)) => Vec::new(),
            Ok(CompletionEvent::Finished(reason, usage)) => {
                self.usages[self.texts[index].prompt].push(usage);
                self.running -= 1;
                let finish_reason = Some(word(reason, None));
                let mut events = vec![self.event(TextChoice {
                    index,
                    text: String::new(),
                    logprobs: None,
                    finish_reason,
                })];
                if self.running == 0 {
                    if self.telling.options.include_usage {
                        let usage = UsageBody::of_prompts(&self.usages);
                        events.push(data(&TextCompletion::new(&self.header, Vec::new(), Some(usage))));
                    }
                    events.push(Event::default().data("[DONE]"));
                }
                events
            }
            Err(error) => {
                self.pieces.clear(); // cancels the other texts
                let error = ApiError::from_judge(error, Dialect::OpenAi);
                self.told.end(error.outcome());
                vec![data(&error.body())]
            }
        }
    }

    fn chunk(&self, index: usize, text: String) -> Event {
        self.event(TextChoice { index, text, logprobs: None, finish_reason: None })
    }

    fn event(&self, choice: TextChoice) -> Event {
        data(&TextCompletion::new(&self.header, vec![choice], None))
    }
}
