//! A verdict on its way.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use engine::EngineError;
use futures::{Stream, StreamExt};
use rubric::{Ending, ParserEvent, Rubric, Scale, Verdict, VerdictParser};

use crate::{CompletionEvent, CompletionStream, FinishReason, JudgeError, Usage};

/// A verdict and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision and why.
    pub verdict: Verdict,
    /// Name of the rubric.
    pub rubric: String,
    /// The scale of the rubric, for a score.
    pub scale: Option<Scale>,
    /// Why the text ended; a justification may be cut.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
}

/// What a stream of a verdict yields.
#[derive(Debug, Clone, PartialEq)]
pub enum VerdictEvent {
    /// More of the justification; all pieces together are the justification of the verdict.
    Justification(String),
    /// The verdict; nothing follows.
    Verdict(Judgement),
}

/// A verdict that is being written. Dropping it cancels the work.
pub struct VerdictStream {
    completion: CompletionStream,
    /// Gone when the verdict has been given.
    parser: Option<VerdictParser>,
    rubric: Rubric,
    /// One piece of text may hold several events.
    ready: VecDeque<VerdictEvent>,
}

impl VerdictStream {
    pub(crate) fn new(completion: CompletionStream, parser: VerdictParser, rubric: Rubric) -> Self {
        Self { completion, parser: Some(parser), rubric, ready: VecDeque::new() }
    }

    /// Waits for the verdict.
    ///
    /// # Errors
    /// [`JudgeError`] when the model fails or its text is no verdict.
    pub async fn collect(mut self) -> Result<Judgement, JudgeError> {
        while let Some(event) = self.next().await {
            match event? {
                VerdictEvent::Justification(_) => {}
                VerdictEvent::Verdict(judgement) => return Ok(judgement),
            }
        }
        Err(EngineError::Stopped.into())
    }

    fn finish(
        &mut self,
        parser: VerdictParser,
        reason: FinishReason,
        usage: Usage,
    ) -> Result<Judgement, JudgeError> {
        let ending = match reason {
            FinishReason::Stop => Ending::Complete,
            FinishReason::Length => Ending::Cut,
        };
        let text = parser.text().to_owned();
        let verdict = parser.finish(ending).map_err(|source| JudgeError::Unparsable { source, text })?;
        Ok(Judgement { verdict, rubric: self.rubric.name.clone(), scale: self.rubric.scale, reason, usage })
    }
}

impl Stream for VerdictStream {
    type Item = Result<VerdictEvent, JudgeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            let this = &mut *self;
            let Some(parser) = this.parser.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(this.completion.poll_next_unpin(context)) {
                Some(Ok(CompletionEvent::Piece(piece))) => {
                    this.ready.extend(parser.push(&piece.text).into_iter().filter_map(|event| match event {
                        ParserEvent::Justification(text) => Some(VerdictEvent::Justification(text)),
                        ParserEvent::Outcome(_) => None,
                    }));
                }
                Some(Ok(CompletionEvent::Finished(reason, usage))) => {
                    let judgement = this.parser.take().map(|parser| this.finish(parser, reason, usage));
                    return Poll::Ready(judgement.map(|judgement| judgement.map(VerdictEvent::Verdict)));
                }
                Some(Err(error)) => {
                    this.parser = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.parser = None;
                    return Poll::Ready(Some(Err(EngineError::Stopped.into())));
                }
            }
        }
    }
}
