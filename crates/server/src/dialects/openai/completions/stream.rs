//! The chunks of streamed completions.

use std::{convert::Infallible, mem};

use axum::response::{Sse, sse::Event};
use futures::Stream;
use judge::{CompletionStream, FinishReason, Piece, Usage};

use super::{
    super::{
        response::{ResponseHeader, UsageBody},
        text_stream::{self, ChunkWriter},
    },
    response::{TextChoice, TextCompletion, TextLogprobs},
};
use crate::{
    dialects::{
        generation::{continuation::PromptTexts, text_event::finish_reason_name},
        sse,
    },
    metrics::StreamOutcome,
};

/// What the chunks contain besides text.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkOptions {
    /// The log-probabilities of the tokens.
    pub(super) logprobs: bool,
    /// The token counts, in the last chunk.
    pub(super) include_usage: bool,
}

/// The texts as server-sent events of one response, with the indices of the first prompt's texts first.
pub(super) fn events(
    prompts: Vec<PromptTexts<CompletionStream>>,
    header: ResponseHeader,
    options: ChunkOptions,
) -> (StreamOutcome, Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let usages = prompts.iter().map(|_| Vec::new()).collect();
    let (mut texts, mut streams) = (Vec::new(), Vec::new());
    for (prompt, PromptTexts { echo, texts: prompt_streams }) in prompts.into_iter().enumerate() {
        for stream in prompt_streams {
            texts.push(TextState { prompt, echo: echo.clone() });
            streams.push(stream);
        }
    }
    text_stream::events(streams, CompletionWriter { header, options, texts, usages })
}

/// The state of a text in the stream.
struct TextState {
    /// Index of its prompt.
    prompt: usize,
    /// The text to send before it; empty once it is sent, or if `echo` is off.
    echo: String,
}

/// Writes the chunks of one response.
struct CompletionWriter {
    header: ResponseHeader,
    options: ChunkOptions,
    texts: Vec<TextState>,
    /// The usage of the texts that have ended, by prompt.
    usages: Vec<Vec<Usage>>,
}

impl CompletionWriter {
    fn chunk(&self, choice: TextChoice) -> Event {
        sse::event(None, &TextCompletion::new(&self.header, vec![choice], None))
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
        let logprobs = self.options.logprobs.then(|| TextLogprobs::new(&piece.logprobs));
        self.chunk(TextChoice { index, text: piece.text, logprobs, finish_reason: None })
    }

    fn end(&mut self, index: usize, reason: FinishReason, usage: Usage) -> Event {
        self.usages[self.texts[index].prompt].push(usage);
        let finish_reason = Some(finish_reason_name(reason));
        self.chunk(TextChoice { index, text: String::new(), logprobs: None, finish_reason })
    }

    fn usage(&self) -> Option<Event> {
        let usage = || {
            let usage = UsageBody::of_prompts(&self.usages);
            sse::event(None, &TextCompletion::new(&self.header, Vec::new(), Some(usage)))
        };
        self.options.include_usage.then(usage)
    }
}
