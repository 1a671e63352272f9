//! The chunks of streamed completions.

use std::{convert::Infallible, mem};

use axum::response::{Sse, sse::Event};
use futures::Stream;
use judge::{CompletionStream, FinishReason, Piece, Usage};

use super::{
    super::{
        request::StreamOptions,
        response::{Header, UsageBody, word},
        text_stream::{self, ChunkWriter, data},
    },
    Prompted,
    response::{Places, TextChoice, TextCompletion},
};
use crate::metrics::StreamOutcome;

/// What the chunks contain besides text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    pub(super) logprobs: bool,
    pub(super) options: StreamOptions,
}

/// The texts as server-sent events of one response, with the indices of the first prompt's texts first.
pub(super) fn events(
    prompted: Vec<Prompted<CompletionStream>>,
    header: Header,
    telling: Telling,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let usages = prompted.iter().map(|_| Vec::new()).collect();
    let (mut texts, mut streams) = (Vec::new(), Vec::new());
    for (prompt, Prompted { echo, texts: written }) in prompted.into_iter().enumerate() {
        for text in written {
            texts.push(Text { prompt, places: Places::after(&echo), echo: echo.clone() });
            streams.push(text);
        }
    }
    text_stream::events(streams, CompletionWriter { header, telling, texts, usages })
}

/// The state of a text in the stream.
struct Text {
    /// Index of its prompt.
    prompt: usize,
    places: Places,
    /// The text to send before it; empty once it is sent, or if `echo` is off.
    echo: String,
}

/// Writes the chunks of one response.
struct CompletionWriter {
    header: Header,
    telling: Telling,
    texts: Vec<Text>,
    /// The usage of the texts that have ended, by prompt.
    usages: Vec<Vec<Usage>>,
}

impl CompletionWriter {
    fn chunk(&self, choice: TextChoice) -> Event {
        data(&TextCompletion::new(&self.header, vec![choice], None))
    }
}

impl ChunkWriter for CompletionWriter {
    fn opening(&mut self, _count: usize) -> Vec<Event> {
        let echoes: Vec<String> = self.texts.iter_mut().map(|text| mem::take(&mut text.echo)).collect();
        let echoes = echoes.into_iter().enumerate().filter(|(_, echo)| !echo.is_empty());
        let opening =
            |(index, text)| self.chunk(TextChoice { index, text, logprobs: None, finish_reason: None });
        echoes.map(opening).collect()
    }

    fn piece(&mut self, index: usize, piece: Piece) -> Event {
        let places = &mut self.texts[index].places;
        let logprobs = self.telling.logprobs.then(|| places.logprobs(&piece.logprobs));
        self.chunk(TextChoice { index, text: piece.text, logprobs, finish_reason: None })
    }

    fn end(&mut self, index: usize, reason: FinishReason, usage: Usage) -> Event {
        self.usages[self.texts[index].prompt].push(usage);
        let finish_reason = Some(word(reason, None));
        self.chunk(TextChoice { index, text: String::new(), logprobs: None, finish_reason })
    }

    fn usage(&self) -> Option<Event> {
        let usage = || {
            let usage = UsageBody::of_prompts(&self.usages);
            data(&TextCompletion::new(&self.header, Vec::new(), Some(usage)))
        };
        self.telling.options.include_usage.then(usage)
    }
}
