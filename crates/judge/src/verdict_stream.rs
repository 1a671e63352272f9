//! A verdict on its way.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use engine::EngineError;
use futures::{Stream, StreamExt};
use rubric::{
    Direction, Distribution, Ending, Justification, Outcome, ParserEvent, Reading, Rubric, Scale, Verdict,
    VerdictError, VerdictParser,
};

use crate::{Chosen, CompletionEvent, CompletionStream, FinishReason, JudgeError, Usage, reply::Reader};

/// A verdict and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision and why.
    pub verdict: Verdict,
    /// Name of the rubric.
    pub rubric: String,
    /// The scale of the rubric, for a score.
    pub scale: Option<Scale>,
    /// Which scores are good.
    pub direction: Direction,
    /// How probable every possible decision was, when that was read.
    pub distribution: Option<Distribution>,
    /// Why the text ended; a justification may be cut.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
}

/// What a stream of a verdict yields.
#[derive(Debug, Clone, PartialEq)]
pub enum VerdictEvent {
    /// What the critic decided, as soon as it is known, which may be before, amid or after the justification. Critics that
    /// decide somewhere in free text have none: their verdict is known at the end.
    Decision(Outcome, Option<Distribution>),
    /// More of the justification; all pieces together are the justification of the verdict.
    Justification(String),
    /// The verdict; nothing follows.
    Verdict(Judgement),
}

/// What is known so far.
enum Progress {
    /// The critic chooses one of these; what it writes is its reasons.
    Choosing {
        outcomes: Vec<Outcome>,
        reading: Reading,
        chosen: Option<(Outcome, Option<Distribution>)>,
        justification: Justification,
    },
    /// Its text has everything.
    Reading(VerdictParser),
}

impl Progress {
    /// Takes text that the critic wrote; tells what it brought to light.
    fn push(&mut self, text: &str) -> Vec<VerdictEvent> {
        match self {
            Self::Choosing { justification, .. } => {
                justification.push(text).map(VerdictEvent::Justification).into_iter().collect()
            }
            Self::Reading(parser) => (parser.push(text).into_iter())
                .map(|event| match event {
                    ParserEvent::Justification(text) => VerdictEvent::Justification(text),
                    ParserEvent::Outcome(outcome) => VerdictEvent::Decision(outcome, None),
                })
                .collect(),
        }
    }

    fn choose(&mut self, choice: &Chosen) -> Option<VerdictEvent> {
        if let Self::Choosing { outcomes, reading, chosen, .. } = self {
            let distribution = choice.logprobs.as_ref();
            let distribution =
                distribution.map(|logprobs| Distribution::new(outcomes.iter().copied(), logprobs));
            let expected = match reading {
                Reading::Written => None,
                Reading::Expected => distribution.as_ref().and_then(Distribution::expected_score),
            };
            let outcome = expected.map_or(outcomes[choice.index], Outcome::Score);
            let (outcome, distribution) = chosen.insert((outcome, distribution));
            return Some(VerdictEvent::Decision(*outcome, distribution.clone()));
        }
        None
    }

    fn finish(self, reason: FinishReason) -> Result<(Verdict, Option<Distribution>), JudgeError> {
        let ending = match reason {
            FinishReason::Stop => Ending::Complete,
            FinishReason::Length => Ending::Cut,
        };
        match self {
            Self::Choosing { chosen, justification, .. } => {
                let justification = justification.into_text();
                match chosen {
                    Some((outcome, distribution)) => Ok((Verdict { outcome, justification }, distribution)),
                    None => {
                        Err(JudgeError::Unparsable { source: VerdictError::Missing, text: justification })
                    }
                }
            }
            Self::Reading(parser) => {
                let text = parser.text().to_owned();
                let verdict =
                    parser.finish(ending).map_err(|source| JudgeError::Unparsable { source, text })?;
                Ok((verdict, None))
            }
        }
    }
}

/// A verdict that is being written. Dropping it cancels the work.
pub struct VerdictStream {
    completion: CompletionStream,
    /// Gone when the verdict has been given.
    progress: Option<Progress>,
    rubric: Rubric,
    /// One piece of text may hold several events.
    ready: VecDeque<VerdictEvent>,
}

impl VerdictStream {
    pub(crate) fn new(completion: CompletionStream, reader: Reader, rubric: Rubric) -> Self {
        let progress = match reader {
            Reader::Choice(outcomes) => {
                let (reading, justification) = (rubric.reading, Justification::default());
                Progress::Choosing { outcomes, reading, chosen: None, justification }
            }
            Reader::Text(parser) => Progress::Reading(parser),
        };
        Self { completion, progress: Some(progress), rubric, ready: VecDeque::new() }
    }

    /// Waits for the verdict.
    ///
    /// # Errors
    /// [`JudgeError`] when the model fails or its text is no verdict.
    pub async fn collect(mut self) -> Result<Judgement, JudgeError> {
        while let Some(event) = self.next().await {
            match event? {
                VerdictEvent::Decision(..) | VerdictEvent::Justification(_) => {}
                VerdictEvent::Verdict(judgement) => return Ok(judgement),
            }
        }
        Err(EngineError::Stopped.into())
    }

    fn finish(
        &self,
        progress: Progress,
        reason: FinishReason,
        usage: Usage,
    ) -> Result<Judgement, JudgeError> {
        let (verdict, distribution) = progress.finish(reason)?;
        let Rubric { name, scale, direction, .. } = &self.rubric;
        let (rubric, scale, direction) = (name.clone(), *scale, *direction);
        Ok(Judgement { verdict, rubric, scale, direction, distribution, reason, usage })
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
            let Some(progress) = this.progress.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(this.completion.poll_next_unpin(context)) {
                Some(Ok(CompletionEvent::Piece(piece))) => {
                    this.ready.extend(progress.push(&piece.text));
                }
                Some(Ok(CompletionEvent::Said(_))) => {}
                Some(Ok(CompletionEvent::Chosen(chosen))) => this.ready.extend(progress.choose(&chosen)),
                Some(Ok(CompletionEvent::Finished(reason, usage))) => {
                    let judgement = this.progress.take().map(|progress| this.finish(progress, reason, usage));
                    return Poll::Ready(judgement.map(|judgement| judgement.map(VerdictEvent::Verdict)));
                }
                Some(Err(error)) => {
                    this.progress = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.progress = None;
                    return Poll::Ready(Some(Err(EngineError::Stopped.into())));
                }
            }
        }
    }
}
