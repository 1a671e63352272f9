//! A verdict as a stream.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use engine::EngineError;
use futures::{Stream, StreamExt};
use rubric::{
    Confidence, Direction, Distribution, Ending, Flag, Justification, Outcome, ParserEvent, Reading, Rubric,
    Scale, ScorePair, Verdict, VerdictError, VerdictParser,
};

use crate::{
    Chosen, CompletionEvent, CompletionStream, Conditions, FinishReason, JudgeError, Receipt, Usage,
    prepared::Prepared,
    reply::{Known, Reader},
    verdict_cache::Slot,
};

/// A verdict and the circumstances of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision and the justification.
    pub verdict: Verdict,
    /// Name of the rubric.
    pub rubric: String,
    /// The scale of the rubric; `None` without one, and for rewards of a reward head.
    pub scale: Option<Scale>,
    /// Which end of the scale is better.
    pub direction: Direction,
    /// The probability of every possible decision, if it was read.
    pub distribution: Option<Distribution>,
    /// The distribution for content-free responses, if the verdict is calibrated.
    pub prior: Option<Distribution>,
    /// The probability of all possible decisions together, if the critic had to choose one of them; an upper bound if
    /// there is no distribution.
    pub label_mass: Option<f64>,
    /// Flags of the responses and the verdict.
    pub flags: Vec<Flag>,
    /// Why the text ended; a justification may be cut.
    pub reason: FinishReason,
    /// The number of tokens read and written.
    pub usage: Usage,
    /// The conditions of the verdict, and what is needed to compare it with that of a replay.
    pub receipt: Box<Receipt>,
}

/// An event of a verdict stream.
#[derive(Debug, Clone, PartialEq)]
pub enum VerdictEvent {
    /// The decision, as soon as it is known: before, during or after the justification. Critics that write their
    /// decision within free text emit none; their decision is known at the end.
    Decision(Outcome, Option<Distribution>),
    /// More of the justification; all pieces together are the justification of the verdict.
    Justification(String),
    /// The verdict; no event follows.
    Verdict(Judgement),
}

/// A decision of the critic, and what was read with it.
struct Decision {
    outcome: Outcome,
    distribution: Option<Distribution>,
    /// The probability of all possible decisions together, if there are labels for them.
    label_mass: Option<f64>,
}

/// The scores that were chosen so far.
struct Scored {
    scores: Vec<f64>,
    /// The probability of all possible scores in each place, all places together.
    mass: f64,
}

impl Scored {
    fn decision(&self, direction: Direction) -> Option<Decision> {
        let [first, second] = self.scores[..] else { return None };
        let outcome = Outcome::Scores(ScorePair::new(first, second, direction));
        Some(Decision { outcome, distribution: None, label_mass: Some(self.mass) })
    }
}

/// The state of a verdict so far.
enum Progress {
    /// The critic chooses one of these outcomes; the text that it writes is the justification.
    Choosing {
        outcomes: Vec<Outcome>,
        reading: Reading,
        chosen: Option<Decision>,
        justification: Justification,
    },
    /// The critic chooses the scores of both responses, one after the other.
    Scoring { lists: VecDeque<Vec<f64>>, direction: Direction, scored: Scored, justification: Justification },
    /// The decision and the justification are parsed from the text.
    Reading(VerdictParser),
    /// The reward head computes the reward; the text that the critic writes is the justification.
    Rating { reward: Option<f64>, justification: Justification },
}

impl Progress {
    /// Processes text that the critic wrote; returns the events that follow from it.
    fn push(&mut self, text: &str) -> Vec<VerdictEvent> {
        match self {
            Self::Choosing { justification, .. }
            | Self::Scoring { justification, .. }
            | Self::Rating { justification, .. } => {
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
        if let Self::Scoring { lists, direction, scored, .. } = self {
            scored.scores.push(lists.pop_front()?[choice.index]);
            scored.mass *= choice.mass;
            let decision = scored.decision(*direction)?;
            return Some(VerdictEvent::Decision(decision.outcome, None));
        }
        if let Self::Choosing { outcomes, reading, chosen, .. } = self {
            let distribution = choice.logprobs.as_ref();
            let distribution =
                distribution.map(|logprobs| Distribution::new(outcomes.iter().copied(), logprobs));
            let expected = match reading {
                Reading::Written => None,
                Reading::Expected => distribution.as_ref().and_then(Distribution::expected_score),
            };
            let outcome = expected.map_or(outcomes[choice.index], Outcome::Score);
            let mass = distribution.as_ref().map_or(choice.mass, |distribution| distribution.label_mass);
            let label_mass = Some(mass);
            let decision = chosen.insert(Decision { outcome, distribution, label_mass });
            return Some(VerdictEvent::Decision(outcome, decision.distribution.clone()));
        }
        None
    }

    fn rate(&mut self, read: f32) -> Option<VerdictEvent> {
        match self {
            Self::Rating { reward, .. } => {
                let outcome = Outcome::Score(*reward.insert(f64::from(read)));
                Some(VerdictEvent::Decision(outcome, None))
            }
            Self::Choosing { .. } | Self::Scoring { .. } | Self::Reading(_) => None,
        }
    }

    fn finish(self, reason: FinishReason) -> Result<(Verdict, Decision), JudgeError> {
        let (decision, justification) = match self {
            Self::Choosing { chosen, justification, .. } => (chosen, justification),
            Self::Scoring { direction, scored, justification, .. } => {
                (scored.decision(direction), justification)
            }
            Self::Rating { reward, justification } => {
                let outcome = reward.map(Outcome::Score);
                let decided = |outcome| Decision { outcome, distribution: None, label_mass: None };
                (outcome.map(decided), justification)
            }
            Self::Reading(parser) => {
                let ending = match reason {
                    FinishReason::Stop => Ending::Complete,
                    FinishReason::Length => Ending::Cut,
                };
                let text = parser.text().to_owned();
                let verdict =
                    parser.finish(ending).map_err(|source| JudgeError::Unparsable { source, text })?;
                let outcome = verdict.outcome;
                return Ok((verdict, Decision { outcome, distribution: None, label_mass: None }));
            }
        };
        let justification = justification.into_text();
        let Some(decision) = decision else {
            return Err(JudgeError::Unparsable { source: VerdictError::Missing, text: justification });
        };
        // A chosen label or a reward is never inferred from free text.
        let confidence = Confidence::Stated;
        Ok((Verdict { outcome: decision.outcome, confidence, justification }, decision))
    }
}

/// A verdict that is being written, or a known one. Dropping it cancels the work.
pub struct VerdictStream {
    work: Option<Unfinished>,
    conditions: Conditions,
    /// Pending events, since one piece of text may cause several.
    ready: VecDeque<VerdictEvent>,
}

/// A verdict in progress; removed when the verdict is emitted.
struct Unfinished {
    completion: CompletionStream,
    progress: Progress,
    rubric: Rubric,
    flags: Vec<Flag>,
    slot: Option<Slot>,
}

impl VerdictStream {
    pub(crate) fn new(completion: CompletionStream, prepared: Prepared, slot: Option<Slot>) -> Self {
        let Prepared { reader, rubric, conditions, flags, sampling, .. } = prepared;
        let justification = Justification::default();
        let progress = match reader {
            Reader::Choice(outcomes) => {
                // A mean would be the same for every seed.
                let reading = if sampling.temperature > 0.0 { Reading::Written } else { rubric.reading };
                Progress::Choosing { outcomes, reading, chosen: None, justification }
            }
            Reader::Scores(lists) => {
                let (lists, direction) = (lists.into(), rubric.direction);
                let scored = Scored { scores: Vec::new(), mass: 1.0 };
                Progress::Scoring { lists, direction, scored, justification }
            }
            Reader::Text(parser) => Progress::Reading(parser),
            Reader::Reward => Progress::Rating { reward: None, justification },
        };
        let work = Unfinished { completion, progress, rubric, flags, slot };
        Self { work: Some(work), conditions, ready: VecDeque::new() }
    }

    /// A stream of a known verdict, with the events in the order in which they come while the critic writes; its
    /// justification is one piece.
    pub(crate) fn remembered(judgement: Judgement, known: Known) -> Self {
        let Judgement { verdict, distribution, receipt, .. } = &judgement;
        let (conditions, reasons) = (receipt.conditions().clone(), verdict.justification.clone());
        let decision = || VerdictEvent::Decision(verdict.outcome, distribution.clone());
        let reasons = Some(reasons).filter(|reasons| !reasons.is_empty()).map(VerdictEvent::Justification);
        let events = match known {
            Known::Before => [Some(decision()), reasons],
            Known::After => [reasons, Some(decision())],
            Known::AtTheEnd => [reasons, None],
        };
        let mut ready: VecDeque<_> = events.into_iter().flatten().collect();
        ready.push_back(VerdictEvent::Verdict(judgement));
        Self { work: None, conditions, ready }
    }

    /// The inputs on which the verdict will depend.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Waits for the verdict.
    ///
    /// # Errors
    /// [`JudgeError::Unparsable`] when the text has no valid verdict; otherwise the errors of the model and the
    /// engine, as for [`CompletionStream::collect`].
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

/// The flags of the responses, and those that follow from the probability of all possible decisions together.
pub(crate) fn flags_with(mut flags: Vec<Flag>, label_mass: Option<f64>) -> Vec<Flag> {
    flags.extend(label_mass.and_then(Flag::of_label_mass));
    flags
}

impl Unfinished {
    fn finish(
        self,
        conditions: Conditions,
        (reason, usage): (FinishReason, Usage),
    ) -> Result<Judgement, JudgeError> {
        let Self { progress, rubric, flags, slot, .. } = self;
        let on_scale = !matches!(progress, Progress::Rating { .. });
        let (verdict, Decision { distribution, label_mass, .. }) = progress.finish(reason)?;
        let Rubric { name: rubric, scale, direction, .. } = rubric;
        // A reward head has no scale, and higher rewards are better.
        let scale = scale.filter(|_| on_scale);
        let direction = if on_scale { direction } else { Direction::Higher };
        let receipt = Box::new(Receipt::new(conditions, &verdict, reason, usage.cached_tokens));
        let flags = flags_with(flags, label_mass);
        let prior = None;
        let judgement = Judgement {
            verdict,
            rubric,
            scale,
            direction,
            distribution,
            prior,
            label_mass,
            flags,
            reason,
            usage,
            receipt,
        };
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
                Some(Ok(CompletionEvent::Fixed(_))) => {}
                Some(Ok(CompletionEvent::Chosen(chosen))) => {
                    this.ready.extend(work.progress.choose(&chosen));
                }
                Some(Ok(CompletionEvent::Reward(reward))) => this.ready.extend(work.progress.rate(reward)),
                Some(Ok(CompletionEvent::Finished(reason, usage))) => {
                    let finish = |work: Unfinished| work.finish(this.conditions.clone(), (reason, usage));
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
