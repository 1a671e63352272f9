//! A reply that is generated piece by piece from the logits.

use std::collections::VecDeque;

use critic::{SamplingParams, StepOutput, TokenId, Wants};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    guide::{Allowed, Guide, GuideError, TokenOutcome},
    labels::{BranchReading, Coverage, LabelReader},
    sampler::{Choices, SamplingContext, choose_label, logprobs_of, reported_others, sample},
};
use crate::{
    error::Failure,
    request::Part,
    stream::{Event, FinishReason, Sampled},
    subscribers::Subscribers,
};

/// The current piece of a reply.
#[derive(Debug)]
enum ReplyState {
    /// None: the reply has not begun or is complete.
    Nothing,
    /// Free text, with at most this many more tokens.
    Writing(usize),
    /// Text by the rules of a guide, with at most this many more tokens.
    Following(usize, Box<dyn Guide>),
    /// A choice among labels, with look-ahead along their shared prefixes.
    Reading(Box<LabelReader>),
    /// A reward.
    Rating,
}

/// The effect of the output of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The text ended, or more logits are needed.
    Nothing,
    /// A token was written.
    Wrote,
    /// A label was chosen.
    Chose,
    /// A reward was read.
    Rated,
}

/// The progress of a reply.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) progress: Progress,
    /// Number of tokens that stay valid in the cache, counted from the last token of the prompt.
    pub(crate) kept: usize,
    /// Why the reply is complete, if it is.
    pub(crate) finished: Option<FinishReason>,
}

/// The tokens of a reply, and its remaining pieces.
#[derive(Debug)]
pub(crate) struct Reply {
    written: Vec<TokenId>,
    /// Number of written tokens that are text of the critic; the others are given, or labels that were chosen.
    own: usize,
    /// Look-ahead tokens after the written ones, run only to read the logits after them.
    ahead: Vec<TokenId>,
    state: ReplyState,
    /// The pieces after the current one.
    script: VecDeque<Part>,
    /// Whether text of the critic was cut by its limit.
    cut: bool,
    sampling: SamplingParams,
    random: StdRng,
    end_tokens: Vec<TokenId>,
    /// The value for [`Accepted::kept`].
    kept: usize,
}

impl Reply {
    pub(crate) fn new(script: Vec<Part>, sampling: SamplingParams, end_tokens: Vec<TokenId>) -> Self {
        Self {
            written: Vec::new(),
            own: 0,
            ahead: Vec::new(),
            state: ReplyState::Nothing,
            script: script.into(),
            cut: false,
            random: StdRng::seed_from_u64(sampling.seed),
            sampling,
            end_tokens,
            kept: usize::MAX,
        }
    }

    /// The number of written tokens.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether the current text follows rules, for which another thread may have to be awaited.
    pub(crate) fn follows_rules(&self) -> bool {
        matches!(self.state, ReplyState::Following(..))
    }

    /// The tokens to run after the prompt: the written ones, then the look-ahead.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = TokenId> {
        self.written.iter().chain(&self.ahead).copied()
    }

    /// The number of tokens to run after the prompt.
    pub(crate) fn token_count(&self) -> usize {
        self.written.len() + self.ahead.len()
    }

    /// What is wanted after the last token.
    pub(crate) fn wants(&self) -> Wants {
        match &self.state {
            ReplyState::Rating => Wants::Reward,
            ReplyState::Nothing
            | ReplyState::Writing(_)
            | ReplyState::Following(..)
            | ReplyState::Reading(_) => Wants::Logits,
        }
    }

    /// Advances to the first piece that needs logits.
    pub(crate) fn begin(&mut self, subscribers: &mut Subscribers) {
        self.begin_part(subscribers);
    }

    /// Continues by the output that [`wants`](Self::wants) named, of the last token.
    ///
    /// # Errors
    /// [`Failure::GuideError`] when the guide cannot continue, or no token is allowed; [`Failure::UnknownLabel`] when a
    /// token of a label has no logit.
    pub(crate) fn accept(
        &mut self,
        output: &StepOutput,
        subscribers: &mut Subscribers,
    ) -> Result<Accepted, Failure> {
        self.kept = usize::MAX;
        let (progress, finished) = match (std::mem::replace(&mut self.state, ReplyState::Nothing), output) {
            (ReplyState::Nothing, _) => (Progress::Nothing, self.go_on(subscribers)),
            (ReplyState::Writing(left), StepOutput::Logits(logits)) => self.write(logits, left, subscribers),
            (ReplyState::Following(left, guide), StepOutput::Logits(logits)) => {
                self.follow(logits, (left, guide), subscribers)?
            }
            (ReplyState::Reading(reading), StepOutput::Logits(logits)) => {
                self.read(logits, reading, subscribers)?
            }
            (ReplyState::Rating, StepOutput::Reward(reward)) => {
                subscribers.tell(Event::Reward(*reward));
                (Progress::Rated, self.go_on(subscribers))
            }
            (ReplyState::Rating, StepOutput::Logits(_))
            | (
                ReplyState::Writing(_) | ReplyState::Following(..) | ReplyState::Reading(_),
                StepOutput::Reward(_),
            ) => unreachable!("a backend returns what a chunk wants"),
        };
        Ok(Accepted { progress, kept: self.kept, finished })
    }

    fn write(
        &mut self,
        logits: &[f32],
        left: usize,
        subscribers: &mut Subscribers,
    ) -> (Progress, Option<FinishReason>) {
        let sampled = self.sample(logits, Choices::All);
        if self.end_tokens.contains(&sampled.token) {
            return (Progress::Nothing, self.go_on(subscribers));
        }
        self.push(sampled, subscribers);
        if left > 1 {
            self.state = ReplyState::Writing(left - 1);
            return (Progress::Wrote, None);
        }
        self.cut = true;
        (Progress::Wrote, self.go_on(subscribers))
    }

    /// Writes the next token by the rules of `guide`, which may refuse allowed tokens.
    fn follow(
        &mut self,
        logits: &[f32],
        (left, mut guide): (usize, Box<dyn Guide>),
        subscribers: &mut Subscribers,
    ) -> Result<(Progress, Option<FinishReason>), GuideError> {
        let (sampled, taken) = loop {
            let allowed = guide.allowed(left)?;
            let possible =
                allowed.tokens.iter().any(|bits| *bits != 0) || (allowed.end && !self.end_tokens.is_empty());
            if !possible && !allowed.end {
                return Err(GuideError::DeadEnd);
            }
            // If no token can end the text, it ends without one.
            let sampled = possible.then(|| self.sample(logits, Choices::By(allowed)));
            let Some(sampled) = sampled.filter(|sampled| !self.ends(sampled.token, allowed)) else {
                return Ok((Progress::Nothing, self.go_on(subscribers)));
            };
            match guide.take(sampled.token, left - 1)? {
                TokenOutcome::Refused => {}
                taken => break (sampled, taken),
            }
        };
        self.push(sampled, subscribers);
        if left > 1 && taken != TokenOutcome::Complete {
            self.state = ReplyState::Following(left - 1, guide);
            return Ok((Progress::Wrote, None));
        }
        self.cut |= taken == TokenOutcome::Open;
        Ok((Progress::Wrote, self.go_on(subscribers)))
    }

    /// Adds a token to the critic's text.
    fn push(&mut self, sampled: Sampled, subscribers: &mut Subscribers) {
        self.written.push(sampled.token);
        self.own += 1;
        subscribers.tell(Event::Token(sampled));
    }

    /// Whether `token` ends the text here.
    fn ends(&self, token: TokenId, allowed: &Allowed) -> bool {
        allowed.end && self.end_tokens.contains(&token)
    }

    /// Samples the next token.
    fn sample(&mut self, logits: &[f32], choices: Choices<'_>) -> Sampled {
        // End tokens are banned before the minimum length of the critic's text, unless nothing else is allowed.
        let early = self.own < self.sampling.min_tokens;
        let context = SamplingContext {
            generated: &self.written,
            ends: &self.end_tokens,
            banned: if early { &self.end_tokens } else { &[] },
            choices,
        };
        sample(logits, &self.sampling, &context, &mut self.random)
    }

    fn read(
        &mut self,
        logits: &[f32],
        mut reader: Box<LabelReader>,
        subscribers: &mut Subscribers,
    ) -> Result<(Progress, Option<FinishReason>), Failure> {
        // Only here it is known how many logits there are. A panic would end the engine.
        let mut children = reader.branch().children.iter();
        if let Some(token) = children.find(|token| token.0 as usize >= logits.len()) {
            return Err(Failure::UnknownLabel { token: *token, vocabulary: logits.len() });
        }
        let logprobs = logprobs_of(logits, &reader.branch().children);
        let others = reported_others(logits, &self.sampling.report);
        if reader.note(BranchReading { logprobs, others }) {
            let path = reader.branch().path.clone();
            self.look_ahead(path);
            self.state = ReplyState::Reading(reader);
            return Ok((Progress::Nothing, None));
        }
        let chosen =
            choose_label(&reader.scores(&self.sampling.logit_bias), &self.sampling, &mut self.random);
        let choice = reader.choice(chosen);
        let label: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        // The positions run along this label stay in the cache.
        self.look_ahead(label);
        self.written.append(&mut self.ahead);
        subscribers.tell(Event::Chosen(choice));
        Ok((Progress::Chose, self.go_on(subscribers)))
    }

    /// Replaces the look-ahead tokens; the common prefix of the old and the new ones stays valid in the cache.
    fn look_ahead(&mut self, path: Vec<TokenId>) {
        let same = self.ahead.iter().zip(&path).take_while(|(old, new)| old == new).count();
        self.kept = self.kept.min(1 + self.written.len() + same);
        self.ahead = path;
    }

    /// Begins the next piece; returns why the reply is complete, if it is.
    fn go_on(&mut self, subscribers: &mut Subscribers) -> Option<FinishReason> {
        let reason = if self.cut { FinishReason::Length } else { FinishReason::End };
        let complete = self.begin_part(subscribers);
        // The next piece needs the logits after the last token. If the previous piece added none, that token was
        // already run and is run again, into the same slot.
        self.kept = self.kept.min(self.written.len());
        complete.then_some(reason)
    }

    /// Begins the next piece that needs logits; returns whether there is none.
    fn begin_part(&mut self, subscribers: &mut Subscribers) -> bool {
        while let Some(part) = self.script.pop_front() {
            self.state = match part {
                Part::Generate(0) | Part::GenerateBy { tokens: 0, .. } => continue,
                Part::Generate(tokens) => ReplyState::Writing(tokens),
                Part::GenerateBy { tokens, rules } => ReplyState::Following(tokens, rules.begin()),
                Part::Fixed(tokens) => {
                    self.written.extend(&tokens);
                    subscribers.tell(Event::Fixed(tokens));
                    continue;
                }
                Part::Reward => ReplyState::Rating,
                Part::Choice { labels, distribution } => {
                    // Sampling needs all probabilities, and a bias may favour any label.
                    let SamplingParams { temperature, logit_bias, .. } = &self.sampling;
                    let coverage = match distribution {
                        true => Coverage::Reported,
                        false if *temperature > 0.0 || !logit_bias.is_empty() => Coverage::Every,
                        false => Coverage::ToTheBest,
                    };
                    ReplyState::Reading(Box::new(LabelReader::new(labels, coverage)))
                }
            };
            return false;
        }
        true
    }
}
