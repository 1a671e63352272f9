//! A reply that is generated piece by piece from the logits.

use std::collections::VecDeque;

use critic::{SamplingParams, TokenId, Wants};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    audience::Audience,
    error::Failure,
    guide::{Allowed, Guide, Lost, Taken},
    labels::{BranchReading, Coverage, LabelReader},
    request::Part,
    sampler::{Choices, SamplingContext, choose_label, logprobs_of, reported_others, sample},
    stream::{Event, FinishReason, Sampled},
};

/// The current piece of a reply.
#[derive(Debug)]
enum Doing {
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

/// The effect of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
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
    pub(crate) did: Did,
    /// Number of tokens that stay valid in the cache, counted from the last token of the prompt.
    pub(crate) stand: usize,
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
    doing: Doing,
    /// The pieces after the current one.
    script: VecDeque<Part>,
    /// Whether text of the critic was cut by its limit.
    cut: bool,
    sampling: SamplingParams,
    random: StdRng,
    end_tokens: Vec<TokenId>,
    /// The value for [`Accepted::stand`].
    stand: usize,
}

impl Reply {
    pub(crate) fn new(script: Vec<Part>, sampling: SamplingParams, end_tokens: Vec<TokenId>) -> Self {
        Self {
            written: Vec::new(),
            own: 0,
            ahead: Vec::new(),
            doing: Doing::Nothing,
            script: script.into(),
            cut: false,
            random: StdRng::seed_from_u64(sampling.seed),
            sampling,
            end_tokens,
            stand: usize::MAX,
        }
    }

    /// The number of written tokens.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether the current text follows rules, for which another thread may have to be awaited.
    pub(crate) fn follows_rules(&self) -> bool {
        matches!(self.doing, Doing::Following(..))
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
        match &self.doing {
            Doing::Rating => Wants::Reward,
            Doing::Nothing | Doing::Writing(_) | Doing::Following(..) | Doing::Reading(_) => Wants::Logits,
        }
    }

    /// Advances to the first piece that needs logits.
    pub(crate) fn begin(&mut self, audience: &mut Audience) {
        self.begin_part(audience);
    }

    /// Continues by the logits after the last token, or by its reward.
    ///
    /// # Errors
    /// [`Failure::Lost`] when the guide cannot continue, or no token is allowed.
    pub(crate) fn accept(&mut self, logits: &[f32], audience: &mut Audience) -> Result<Accepted, Failure> {
        self.stand = usize::MAX;
        let (did, finished) = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Writing(left) => self.write(logits, left, audience),
            Doing::Following(left, guide) => self.follow(logits, (left, guide), audience)?,
            Doing::Reading(reading) => self.read(logits, reading, audience),
            Doing::Rating => {
                // For a reward, the row consists of this one number.
                logits.first().into_iter().for_each(|reward| audience.tell(Event::Rated(*reward)));
                (Did::Rated, self.go_on(audience))
            }
            Doing::Nothing => (Did::Nothing, self.go_on(audience)),
        };
        Ok(Accepted { did, stand: self.stand, finished })
    }

    fn write(&mut self, logits: &[f32], left: usize, audience: &mut Audience) -> (Did, Option<FinishReason>) {
        let sampled = self.sample(logits, Choices::All);
        if self.end_tokens.contains(&sampled.token) {
            return (Did::Nothing, self.go_on(audience));
        }
        self.push(sampled, audience);
        if left > 1 {
            self.doing = Doing::Writing(left - 1);
            return (Did::Wrote, None);
        }
        self.cut = true;
        (Did::Wrote, self.go_on(audience))
    }

    /// Writes the next token by the rules of `guide`, which may refuse allowed tokens.
    fn follow(
        &mut self,
        logits: &[f32],
        (left, mut guide): (usize, Box<dyn Guide>),
        audience: &mut Audience,
    ) -> Result<(Did, Option<FinishReason>), Lost> {
        let (sampled, taken) = loop {
            let allowed = guide.allowed(left)?;
            let possible =
                allowed.tokens.iter().any(|bits| *bits != 0) || (allowed.end && !self.end_tokens.is_empty());
            if !possible && !allowed.end {
                return Err(Lost("no token may come next".into()));
            }
            // If no token can end the text, it ends without one.
            let sampled = possible.then(|| self.sample(logits, Choices::By(allowed)));
            let Some(sampled) = sampled.filter(|sampled| !self.ends(sampled.token, allowed)) else {
                return Ok((Did::Nothing, self.go_on(audience)));
            };
            match guide.take(sampled.token, left - 1)? {
                Taken::Refused => {}
                taken => break (sampled, taken),
            }
        };
        self.push(sampled, audience);
        if left > 1 && taken != Taken::Complete {
            self.doing = Doing::Following(left - 1, guide);
            return Ok((Did::Wrote, None));
        }
        self.cut |= taken == Taken::Open;
        Ok((Did::Wrote, self.go_on(audience)))
    }

    /// Adds a token to the critic's text.
    fn push(&mut self, sampled: Sampled, audience: &mut Audience) {
        self.written.push(sampled.token);
        self.own += 1;
        audience.tell(Event::Token(sampled));
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
        audience: &mut Audience,
    ) -> (Did, Option<FinishReason>) {
        let logprobs = logprobs_of(logits, &reader.branch().ways);
        let others = reported_others(logits, &self.sampling.report);
        if reader.note(BranchReading { logprobs, others }) {
            let path = reader.branch().path.clone();
            self.look_ahead(path);
            self.doing = Doing::Reading(reader);
            return (Did::Nothing, None);
        }
        let chosen =
            choose_label(&reader.scores(&self.sampling.logit_bias), &self.sampling, &mut self.random);
        let choice = reader.choice(chosen);
        let label: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        // The positions run along this label stay in the cache.
        self.look_ahead(label);
        self.written.append(&mut self.ahead);
        audience.tell(Event::Chosen(choice));
        (Did::Chose, self.go_on(audience))
    }

    /// Replaces the look-ahead tokens; the common prefix of the old and the new ones stays valid in the cache.
    fn look_ahead(&mut self, path: Vec<TokenId>) {
        let same = self.ahead.iter().zip(&path).take_while(|(old, new)| old == new).count();
        self.stand = self.stand.min(1 + self.written.len() + same);
        self.ahead = path;
    }

    /// Begins the next piece; returns why the reply is complete, if it is.
    fn go_on(&mut self, audience: &mut Audience) -> Option<FinishReason> {
        let reason = if self.cut { FinishReason::Length } else { FinishReason::End };
        let complete = self.begin_part(audience);
        // The next piece needs the logits after the last token. If the previous piece added none, that token was
        // already run and is run again, into the same slot.
        self.stand = self.stand.min(self.written.len());
        complete.then_some(reason)
    }

    /// Begins the next piece that needs logits; returns whether there is none.
    fn begin_part(&mut self, audience: &mut Audience) -> bool {
        while let Some(part) = self.script.pop_front() {
            self.doing = match part {
                Part::Write(0) | Part::WriteBy { tokens: 0, .. } => continue,
                Part::Write(tokens) => Doing::Writing(tokens),
                Part::WriteBy { tokens, rules } => Doing::Following(tokens, rules.begin()),
                Part::Say(tokens) => {
                    self.written.extend(&tokens);
                    audience.tell(Event::Said(tokens));
                    continue;
                }
                Part::Rate => Doing::Rating,
                Part::Choose { labels, distribution } => {
                    // Sampling needs all probabilities, and a bias may favour any label.
                    let SamplingParams { temperature, logit_bias, .. } = &self.sampling;
                    let all = distribution || *temperature > 0.0 || !logit_bias.is_empty();
                    let coverage = if all { Coverage::Every } else { Coverage::ToTheBest };
                    Doing::Reading(Box::new(LabelReader::new(labels, coverage)))
                }
            };
            return false;
        }
        true
    }
}
