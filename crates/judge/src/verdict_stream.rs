//! A verdict on its way.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use engine::EngineError;
use futures::{Stream, StreamExt};
use rubric::{
    Confidence, Direction, Distribution, Ending, Flag, Justification, Outcome, ParserEvent, Reading, Rubric,
    Scale, Verdict, VerdictError, VerdictParser,
};

use crate::{
    Chosen, CompletionEvent, CompletionStream, FinishReason, JudgeError, Receipt, Usage, memo::Slot,
    prepared::Prepared, receipt::verdict_digest, reply::Reader,
};

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
    /// What the critic says whatever is answered, when the verdict is calibrated by it.
    pub prior: Option<Distribution>,
    /// What is odd about the responses and the verdict.
    pub flags: Vec<Flag>,
    /// Why the text ended; a justification may be cut.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// What all this depended on.
    pub receipt: Box<Receipt>,
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
    /// Its reward head says how good it is; what it writes is its reasons.
    Rating { reward: Option<f64>, justification: Justification },
}

impl Progress {
    /// Takes text that the critic wrote; tells what it brought to light.
    fn push(&mut self, text: &str) -> Vec<VerdictEvent> {
        match self {
            Self::Choosing { justification, .. } | Self::Rating { justification, .. } => {
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

    fn rate(&mut self, read: f32) -> Option<VerdictEvent> {
        match self {
            Self::Rating { reward, .. } => {
                let outcome = Outcome::Score(*reward.insert(f64::from(read)));
                Some(VerdictEvent::Decision(outcome, None))
            }
            Self::Choosing { .. } | Self::Reading(_) => None,
        }
    }

    fn finish(self, reason: FinishReason) -> Result<(Verdict, Option<Distribution>), JudgeError> {
        let ending = match reason {
            FinishReason::Stop => Ending::Complete,
            FinishReason::Length => Ending::Cut,
        };
        // What is chosen among labels, or a number, is no guess at what a text meant.
        let confidence = Confidence::Stated;
        match self {
            Self::Choosing { chosen, justification, .. } => {
                let justification = justification.into_text();
                match chosen {
                    Some((outcome, distribution)) => {
                        Ok((Verdict { outcome, confidence, justification }, distribution))
                    }
                    None => {
                        Err(JudgeError::Unparsable { source: VerdictError::Missing, text: justification })
                    }
                }
            }
            Self::Rating { reward, justification } => {
                let justification = justification.into_text();
                let outcome = reward.map(Outcome::Score);
                match outcome {
                    Some(outcome) => Ok((Verdict { outcome, confidence, justification }, None)),
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

/// A verdict that is being written, or one that is remembered. Dropping it cancels the work.
pub struct VerdictStream {
    work: Option<Unfinished>,
    receipt: Receipt,
    /// One piece of text may hold several events.
    ready: VecDeque<VerdictEvent>,
}

/// What a verdict is being made of; gone when it has been given.
struct Unfinished {
    completion: CompletionStream,
    progress: Progress,
    rubric: Rubric,
    flags: Vec<Flag>,
    slot: Option<Slot>,
}

impl VerdictStream {
    pub(crate) fn new(completion: CompletionStream, prepared: Prepared, slot: Option<Slot>) -> Self {
        let Prepared { reader, rubric, receipt, flags, .. } = prepared;
        let justification = Justification::default();
        let progress = match reader {
            Reader::Choice(outcomes) => {
                let reading = rubric.reading;
                Progress::Choosing { outcomes, reading, chosen: None, justification }
            }
            Reader::Text(parser) => Progress::Reading(parser),
            Reader::Reward => Progress::Rating { reward: None, justification },
        };
        let work = Unfinished { completion, progress, rubric, flags, slot };
        Self { work: Some(work), receipt, ready: VecDeque::new() }
    }

    /// A verdict that is known already; its justification comes in one piece.
    pub(crate) fn remembered(judgement: Judgement) -> Self {
        let Judgement { verdict, distribution, receipt, .. } = &judgement;
        let (receipt, reasons) = (Receipt::clone(receipt), verdict.justification.clone());
        let mut ready = VecDeque::from([VerdictEvent::Decision(verdict.outcome, distribution.clone())]);
        ready.extend(Some(reasons).filter(|reasons| !reasons.is_empty()).map(VerdictEvent::Justification));
        ready.push_back(VerdictEvent::Verdict(judgement));
        Self { work: None, receipt, ready }
    }

    /// What the verdict will depend on.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
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
}

/// What is odd about responses, and about what was read of the critic.
pub(crate) fn flags_with(mut flags: Vec<Flag>, distribution: Option<&Distribution>) -> Vec<Flag> {
    if distribution.is_some_and(Distribution::is_off_label) {
        flags.push(Flag::LowLabelMass);
    }
    flags
}

impl Unfinished {
    fn finish(
        self,
        receipt: Receipt,
        (reason, usage): (FinishReason, Usage),
    ) -> Result<Judgement, JudgeError> {
        let Self { progress, rubric, flags, slot, .. } = self;
        let on_scale = !matches!(progress, Progress::Rating { .. });
        let (verdict, distribution) = progress.finish(reason)?;
        let Rubric { name: rubric, scale, direction, .. } = rubric;
        // A reward head knows no scale, and to it higher is better.
        let scale = scale.filter(|_| on_scale);
        let direction = if on_scale { direction } else { Direction::Higher };
        let receipt = Box::new(Receipt { cached_tokens: usage.cached_tokens, ..receipt });
        let flags = flags_with(flags, distribution.as_ref());
        let prior = None;
        let mut judgement = Judgement {
            verdict,
            rubric,
            scale,
            direction,
            distribution,
            prior,
            flags,
            reason,
            usage,
            receipt,
        };
        judgement.receipt.verdict_digest = verdict_digest(&judgement);
        if let Some(slot) = slot {
            slot.remember(judgement.clone());
        }
        Ok(judgement)
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
            let Some(work) = this.work.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(work.completion.poll_next_unpin(context)) {
                Some(Ok(CompletionEvent::Piece(piece))) => {
                    this.ready.extend(work.progress.push(&piece.text));
                }
                Some(Ok(CompletionEvent::Said(_))) => {}
                Some(Ok(CompletionEvent::Chosen(chosen))) => {
                    this.ready.extend(work.progress.choose(&chosen));
                }
                Some(Ok(CompletionEvent::Rated(reward))) => this.ready.extend(work.progress.rate(reward)),
                Some(Ok(CompletionEvent::Finished(reason, usage))) => {
                    let finish = |work: Unfinished| work.finish(this.receipt.clone(), (reason, usage));
                    let judgement = this.work.take().map(finish);
                    return Poll::Ready(judgement.map(|judgement| judgement.map(VerdictEvent::Verdict)));
                }
                Some(Err(error)) => {
                    this.work = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.work = None;
                    return Poll::Ready(Some(Err(EngineError::Stopped.into())));
                }
            }
        }
    }
}
