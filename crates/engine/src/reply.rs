//! A reply while it is made, piece by piece, by the logits that come.

use std::collections::VecDeque;

use critic::{SamplingParams, TokenId, Wants};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    audience::Audience,
    error::Failure,
    guide::{Allowed, Guide, Lost, Taken},
    labels::Reading,
    request::Part,
    sampler::{Choices, SamplingContext, logprobs_of, sample},
    stream::{Event, FinishReason, Sampled},
};

/// The piece that a reply is at.
#[derive(Debug)]
enum Doing {
    /// None: it is not begun, or complete.
    Nothing,
    /// The critic writes; so many tokens more at most.
    Writing(usize),
    /// The same by rules.
    Following(usize, Box<dyn Guide>),
    /// It chooses a label, looking ahead along the beginnings that labels share.
    Reading(Box<Reading>),
    /// Its reward head is read.
    Rating,
}

/// What came of some logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    /// The text ended, or others are wanted to go on.
    Nothing,
    /// A token was written.
    Wrote,
    /// A label was chosen.
    Chose,
    /// A reward was read.
    Rated,
}

/// How a reply went on.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) did: Did,
    /// How many tokens need not be run again, of the prompt's last one and those that were run after it.
    pub(crate) stand: usize,
    /// Why it is complete, when it is.
    pub(crate) finished: Option<FinishReason>,
}

/// The tokens of a reply, and what is to come of it.
#[derive(Debug)]
pub(crate) struct Reply {
    written: Vec<TokenId>,
    /// Tokens after the written ones that are run only to read what would come after them.
    ahead: Vec<TokenId>,
    doing: Doing,
    /// Pieces that come after the present one.
    script: VecDeque<Part>,
    /// Whether what the critic wrote was cut by its bound.
    cut: bool,
    sampling: SamplingParams,
    random: StdRng,
    end_tokens: Vec<TokenId>,
    /// What [`Accepted::stand`] says.
    stand: usize,
}

impl Reply {
    pub(crate) fn new(script: Vec<Part>, sampling: SamplingParams, end_tokens: Vec<TokenId>) -> Self {
        Self {
            written: Vec::new(),
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

    /// How many tokens are written.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether it is written by rules now, which may have to be waited for.
    pub(crate) fn follows_rules(&self) -> bool {
        matches!(self.doing, Doing::Following(..))
    }

    /// The tokens to run after the prompt: those that are written, then those ahead.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = TokenId> {
        self.written.iter().chain(&self.ahead).copied()
    }

    /// How many these are.
    pub(crate) fn token_count(&self) -> usize {
        self.written.len() + self.ahead.len()
    }

    /// What is wanted of the last token.
    pub(crate) fn wants(&self) -> Wants {
        match &self.doing {
            Doing::Rating => Wants::Reward,
            Doing::Nothing | Doing::Writing(_) | Doing::Following(..) | Doing::Reading(_) => Wants::Logits,
        }
    }

    /// Goes to the first piece that needs logits.
    pub(crate) fn begin(&mut self, audience: &mut Audience) {
        self.begin_part(audience);
    }

    /// Goes on by the logits after the last token, or by its reward.
    ///
    /// # Errors
    /// When rules tell no more what may be written.
    pub(crate) fn accept(&mut self, logits: &[f32], audience: &mut Audience) -> Result<Accepted, Failure> {
        self.stand = usize::MAX;
        let (did, finished) = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Writing(left) => self.write(logits, left, audience),
            Doing::Following(left, guide) => self.follow(logits, (left, guide), audience)?,
            Doing::Reading(reading) => self.read(logits, reading, audience),
            Doing::Rating => {
                // The row of a chunk that wants a reward is that one number.
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
        self.written.push(sampled.token);
        audience.tell(Event::Token(sampled));
        if left > 1 {
            self.doing = Doing::Writing(left - 1);
            return (Did::Wrote, None);
        }
        self.cut = true;
        (Did::Wrote, self.go_on(audience))
    }

    /// Writes the next token by the rules of `guide`, which may refuse some of what it allows.
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
            // Where no token can end a text, it ends by itself.
            let sampled = possible.then(|| self.sample(logits, Choices::By(allowed)));
            let Some(sampled) = sampled.filter(|sampled| !self.ends(sampled.token, allowed)) else {
                return Ok((Did::Nothing, self.go_on(audience)));
            };
            match guide.take(sampled.token, left - 1)? {
                Taken::Refused => {}
                taken => break (sampled, taken),
            }
        };
        self.written.push(sampled.token);
        audience.tell(Event::Token(sampled));
        if left > 1 && taken != Taken::Complete {
            self.doing = Doing::Following(left - 1, guide);
            return Ok((Did::Wrote, None));
        }
        self.cut |= taken == Taken::Open;
        Ok((Did::Wrote, self.go_on(audience)))
    }

    /// Whether `token` ends a text here.
    fn ends(&self, token: TokenId, allowed: &Allowed) -> bool {
        allowed.end && self.end_tokens.contains(&token)
    }

    /// Chooses what comes next.
    fn sample(&mut self, logits: &[f32], choices: Choices<'_>) -> Sampled {
        // An end that comes too early is none, unless nothing else may come.
        let early = self.written.len() < self.sampling.min_tokens;
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
        mut reading: Box<Reading>,
        audience: &mut Audience,
    ) -> (Did, Option<FinishReason>) {
        let ways = &reading.branch().ways;
        let replied: Vec<TokenId> = self.tokens().collect();
        let choices = Choices::These(ways);
        let context = SamplingContext { generated: &replied, ends: &[], banned: &[], choices };
        let chosen = sample(logits, &self.sampling, &context, &mut self.random);
        let logprobs = if reading.is_of_all() { logprobs_of(logits, ways) } else { Vec::new() };
        if reading.note(chosen, logprobs) {
            let path = reading.branch().path.clone();
            self.look_ahead(path);
            self.doing = Doing::Reading(reading);
            return (Did::Nothing, None);
        }
        let choice = reading.choice();
        let label: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        // What was run on the way to this label is kept.
        self.look_ahead(label);
        self.written.append(&mut self.ahead);
        audience.tell(Event::Chosen(choice));
        (Did::Chose, self.go_on(audience))
    }

    /// Replaces the tokens that are run ahead; those that the old and the new ones begin with stay computed.
    fn look_ahead(&mut self, path: Vec<TokenId>) {
        let same = self.ahead.iter().zip(&path).take_while(|(old, new)| old == new).count();
        self.stand = self.stand.min(1 + self.written.len() + same);
        self.ahead = path;
    }

    /// Begins the next piece; tells why the reply is complete, when it is.
    fn go_on(&mut self, audience: &mut Audience) -> Option<FinishReason> {
        let reason = if self.cut { FinishReason::Length } else { FinishReason::End };
        let complete = self.begin_part(audience);
        // The next piece needs what follows the last token. When the piece before added none, that was run already and is run
        // again, into the same place.
        self.stand = self.stand.min(self.written.len());
        complete.then_some(reason)
    }

    /// Begins the next piece that needs logits; tells whether there is none.
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
                    Doing::Reading(Box::new(Reading::new(labels, distribution)))
                }
            };
            return false;
        }
        true
    }
}
