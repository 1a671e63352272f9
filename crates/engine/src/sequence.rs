//! One request while it runs.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use critic::{BlockId, Chunk, Encoded, SamplingParams, SequenceId, TokenId, Visual, Wants};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    arrival::{Arrival, Identity},
    audience::Audience,
    backlog::Place,
    error::Failure,
    guide::{Allowed, Guide, Lost, Taken},
    labels::Reading,
    observer::{Ending, SequenceReport, Stage},
    prefix_cache::BlockKey,
    request::{Lane, Part, Tenant, Urgency},
    sampler::{Choices, SamplingContext, logprobs_of, sample},
    stream::{Event, FinishReason, Sampled},
    suspects::Fingerprint,
};

/// The piece of its reply that a sequence is at.
#[derive(Debug)]
enum Doing {
    /// It writes; so many tokens more at most.
    Writing(usize),
    /// The same by rules.
    Following(usize, Box<dyn Guide>),
    /// It chooses a label, looking ahead along the beginnings that labels share.
    Reading(Box<Reading>),
    /// Its reward head is read.
    Rating,
}

/// A request with its place in the cache and its clients.
#[derive(Debug)]
pub(crate) struct Sequence {
    id: SequenceId,
    prompt: Encoded,
    /// The reply so far.
    written: Vec<TokenId>,
    /// Tokens after the reply that are run only to read what would come after them.
    ahead: Vec<TokenId>,
    /// Positions whose keys and values are in the cache, of `[ prompt | written | ahead ]`.
    computed: usize,
    /// Pieces of the reply that come after the present one.
    script: VecDeque<Part>,
    doing: Option<Doing>,
    /// Whether what it wrote was cut by its bound.
    cut: bool,
    lane: Lane,
    tenant: Tenant,
    urgency: Urgency,
    weight: u32,
    identity: Identity,
    fingerprint: Fingerprint,
    runs_alone: bool,
    max_positions: usize,
    block_keys: Vec<BlockKey>,
    /// `[ leased from the prefix cache | its own ]`: the first `leased` blocks belong to the prefix cache.
    block_table: Vec<BlockId>,
    leased: usize,
    sampling: SamplingParams,
    random: StdRng,
    end_tokens: Vec<TokenId>,
    pub(crate) audience: Audience,
    /// Its place in the waiting line, while it waits.
    place: Option<Place>,
    times: Times,
    /// Steps that it was in.
    steps: usize,
    /// Tokens of its prompt that were kept from earlier ones.
    cached: usize,
    /// How many sequences read what it found kept when it was admitted.
    fanout: usize,
}

/// When what happened to a sequence.
#[derive(Debug, Clone, Copy)]
struct Times {
    arrived: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
    choice: Option<Instant>,
    /// When it last wrote a token by itself.
    token: Option<Instant>,
    /// From the token before to that one, until it is taken.
    gap: Option<Duration>,
}

/// Whether the last token of a reply is run, since its reward is wanted. No other last token is.
fn rates_last_token(script: &[Part]) -> bool {
    let last = script.iter().rev().find(|part| part.max_tokens() > 0 || **part == Part::Rate);
    last == Some(&Part::Rate)
}

impl Sequence {
    pub(crate) fn new(arrival: Arrival) -> Self {
        let Arrival { id, request, block_keys, identity, fingerprint, runs_alone, audience, place, arrived } =
            arrival;
        Self {
            id,
            lane: request.lane(),
            max_positions: request.encoded.tokens.len() + request.max_reply_tokens()
                - usize::from(!rates_last_token(&request.script)),
            prompt: request.encoded,
            written: Vec::new(),
            ahead: Vec::new(),
            computed: 0,
            script: request.script.into(),
            doing: None,
            cut: false,
            tenant: request.tenant,
            urgency: request.urgency,
            weight: request.terms.weight,
            identity,
            fingerprint,
            runs_alone,
            block_keys,
            block_table: Vec::new(),
            leased: 0,
            random: StdRng::seed_from_u64(request.sampling.seed),
            sampling: request.sampling,
            end_tokens: request.end_tokens,
            audience,
            place,
            times: Times { arrived, admitted: None, first_token: None, choice: None, token: None, gap: None },
            steps: 0,
            cached: 0,
            fanout: 0,
        }
    }

    /// The most positions it can ever have in the cache.
    pub(crate) fn max_positions(&self) -> usize {
        self.max_positions
    }

    #[cfg(test)]
    pub(crate) fn id(&self) -> SequenceId {
        self.id
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(crate) fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Notes that somebody wants it this soon, too.
    pub(crate) fn want(&mut self, urgency: Urgency) {
        self.urgency = self.urgency.min(urgency);
    }

    /// How much its tenant weighs among others.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether nothing may run beside it, since an engine may have died of it.
    pub(crate) fn runs_alone(&self) -> bool {
        self.runs_alone
    }

    /// When it joined the waiting line.
    pub(crate) fn arrived(&self) -> Instant {
        self.times.arrived
    }

    /// Whether it has been there for so long.
    pub(crate) fn has_waited(&self, at_least: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.arrived()) >= at_least
    }

    /// What there is to say of it at its end.
    pub(crate) fn report(&self, ending: Ending, now: Instant) -> SequenceReport {
        let Times { arrived, admitted, first_token, choice, .. } = self.times;
        let visuals = &self.prompt.visuals;
        let since = |then: Instant| then.saturating_duration_since(arrived);
        SequenceReport {
            lane: self.lane,
            ending,
            stage: match admitted {
                None => Stage::Waiting,
                Some(_) if self.is_decoding() => Stage::Decode,
                Some(_) => Stage::Prefill,
            },
            queued: since(admitted.unwrap_or(now)),
            to_first_token: first_token.map(since),
            to_choice: choice.map(since),
            total: since(now),
            steps: self.steps,
            prompt_tokens: self.prompt.tokens.len(),
            cached_tokens: self.cached,
            reply_tokens: self.written.len(),
            visuals: visuals.len(),
            visual_tokens: visuals.iter().map(|visual| visual.length).sum(),
            visual_tiles: visuals.iter().map(|visual| visual.tiles.count()).sum(),
            fanout: self.fanout,
        }
    }

    /// Notes how many sequences read what it found kept.
    pub(crate) fn note_fanout(&mut self, sequences: usize) {
        self.fanout = sequences;
    }

    /// From the token before to the one that it wrote last, if that was not taken yet.
    pub(crate) fn take_gap(&mut self) -> Option<Duration> {
        self.times.gap.take()
    }

    /// Whether its whole prompt is in the cache.
    pub(crate) fn is_decoding(&self) -> bool {
        self.computed >= self.prompt.tokens.len()
    }

    /// Names of the blocks that it may share.
    pub(crate) fn block_keys(&self) -> &[BlockKey] {
        &self.block_keys
    }

    /// Names of the blocks that it will compute itself and others may read then.
    pub(crate) fn unshared_keys(&self) -> &[BlockKey] {
        &self.block_keys[self.leased..]
    }

    /// Takes it out of the waiting line and gives it its blocks, enough for [`max_positions`](Self::max_positions):
    /// `leased` ones, which hold the beginning of its prompt, then `own`. Its next tokens are those after the leased ones.
    pub(crate) fn admit(
        &mut self,
        (leased, own): (Vec<BlockId>, Vec<BlockId>),
        block_size: usize,
        now: Instant,
    ) {
        self.place = None;
        self.times.admitted = Some(now);
        self.leased = leased.len();
        self.computed = leased.len() * block_size;
        self.cached = self.computed;
        self.block_table = leased;
        self.block_table.extend(own);
        self.audience.tell(Event::Admitted { cached_tokens: self.computed });
        self.begin_part();
    }

    /// The next of its own blocks that is full and may be shared: its index.
    pub(crate) fn next_shareable(&self, block_size: usize) -> Option<usize> {
        let full = self.leased < self.block_keys.len() && (self.leased + 1) * block_size <= self.computed;
        full.then_some(self.leased)
    }

    /// Hands the block of [`next_shareable`](Self::next_shareable) to the prefix cache and goes on as its lessee.
    pub(crate) fn share(&mut self) -> BlockId {
        self.leased += 1;
        self.block_table[self.leased - 1]
    }

    /// How many blocks are its own.
    pub(crate) fn own_block_count(&self) -> usize {
        self.block_table.len() - self.leased
    }

    /// Ends it: the names of the blocks that it leases, and its own blocks.
    pub(crate) fn into_blocks(mut self) -> (Vec<BlockKey>, Vec<BlockId>) {
        let own = self.block_table.split_off(self.leased);
        self.block_keys.truncate(self.leased);
        (self.block_keys, own)
    }

    /// How many tokens of its prompt are not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.prompt.tokens.len().saturating_sub(self.computed)
    }

    /// The next tokens to run, at most `budget` (which is not 0).
    pub(crate) fn next_chunk(&self, budget: usize) -> Chunk {
        let (prompt, reply) = (&self.prompt.tokens, self.written.len());
        let all = prompt.len() + reply + self.ahead.len();
        // A piece of prompt ends with the prompt, so that how a prompt is cut never depends on the reply.
        let last = if self.is_decoding() || reply + self.ahead.len() == 0 { all } else { prompt.len() };
        let span = self.computed..last.min(self.computed + budget);
        let token = |position: usize| match position.checked_sub(prompt.len()) {
            None => prompt[position],
            Some(index) if index < reply => self.written[index],
            Some(index) => self.ahead[index - reply],
        };
        let touches = |visual: &&Visual| visual.start < span.end && span.start < visual.start + visual.length;
        Chunk {
            sequence: self.id,
            tokens: span.clone().map(token).collect(),
            start: span.start,
            block_table: self.block_table.clone(),
            visuals: self.prompt.visuals.iter().filter(touches).cloned().collect(),
            wants: match &self.doing {
                _ if span.end < all => Wants::Nothing,
                Some(Doing::Rating) => Wants::Reward,
                Some(Doing::Writing(_) | Doing::Following(..) | Doing::Reading(_)) | None => Wants::Logits,
            },
        }
    }

    /// Notes that a step put `count` more positions into the cache.
    pub(crate) fn advance(&mut self, count: usize) {
        self.steps += 1;
        self.computed += count;
    }

    /// Goes on by the logits after its last token; tells why it is complete, when it is.
    pub(crate) fn accept(&mut self, logits: &[f32], now: Instant) -> Result<Option<FinishReason>, Failure> {
        let doing = self.doing.take();
        let reads = matches!(doing, Some(Doing::Reading(_)));
        let before = self.written.len();
        let ended = match doing {
            Some(Doing::Writing(left)) => self.write(logits, left),
            Some(Doing::Following(left, guide)) => self.follow(logits, left, guide)?,
            Some(Doing::Reading(reading)) => self.read(logits, reading),
            Some(Doing::Rating) => {
                self.times.choice.get_or_insert(now);
                // The row of a chunk that wants a reward is that one number.
                logits.first().into_iter().for_each(|reward| self.audience.tell(Event::Rated(*reward)));
                self.go_on()
            }
            None => self.go_on(),
        };
        if self.written.len() > before {
            self.times.first_token.get_or_insert(now);
            if reads {
                self.times.choice.get_or_insert(now);
            } else {
                let before = self.times.token.replace(now);
                self.times.gap = before.map(|before| now.saturating_duration_since(before));
            }
        }
        Ok(ended)
    }

    fn write(&mut self, logits: &[f32], left: usize) -> Option<FinishReason> {
        let sampled = self.sample(logits, Choices::All);
        if self.end_tokens.contains(&sampled.token) {
            return self.go_on();
        }
        self.written.push(sampled.token);
        self.audience.tell(Event::Token(sampled));
        if left > 1 {
            self.doing = Some(Doing::Writing(left - 1));
            return None;
        }
        self.cut = true;
        self.go_on()
    }

    /// Writes the next token by the rules of `guide`, which may refuse some of what it allows.
    fn follow(
        &mut self,
        logits: &[f32],
        left: usize,
        mut guide: Box<dyn Guide>,
    ) -> Result<Option<FinishReason>, Lost> {
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
                return Ok(self.go_on());
            };
            match guide.take(sampled.token, left - 1)? {
                Taken::Refused => {}
                taken => break (sampled, taken),
            }
        };
        self.written.push(sampled.token);
        self.audience.tell(Event::Token(sampled));
        let may_go_on = left > 1 && taken != Taken::Complete;
        if may_go_on {
            self.doing = Some(Doing::Following(left - 1, guide));
            return Ok(None);
        }
        self.cut |= taken == Taken::Open;
        Ok(self.go_on())
    }

    /// Whether `token` ends a text here.
    fn ends(&self, token: TokenId, allowed: &Allowed) -> bool {
        allowed.end && self.end_tokens.contains(&token)
    }

    /// Chooses what comes next.
    fn sample(&mut self, logits: &[f32], choices: Choices<'_>) -> Sampled {
        // An end that comes too early is none.
        let early = self.written.len() < self.sampling.min_tokens;
        let context = SamplingContext {
            generated: &self.written,
            ends: if early { &[] } else { &self.end_tokens },
            banned: if early { &self.end_tokens } else { &[] },
            choices,
        };
        sample(logits, &self.sampling, &context, &mut self.random)
    }

    fn read(&mut self, logits: &[f32], mut reading: Box<Reading>) -> Option<FinishReason> {
        let ways = &reading.branch().ways;
        let replied: Vec<TokenId> = self.written.iter().chain(&self.ahead).copied().collect();
        let choices = Choices::These(ways);
        let context = SamplingContext { generated: &replied, ends: &[], banned: &[], choices };
        let chosen = sample(logits, &self.sampling, &context, &mut self.random);
        let logprobs = if reading.is_of_all() { logprobs_of(logits, ways) } else { Vec::new() };
        if reading.note(chosen, logprobs) {
            let path = reading.branch().path.clone();
            self.look_ahead(path);
            self.doing = Some(Doing::Reading(reading));
            return None;
        }
        let choice = reading.choice();
        let label: Vec<TokenId> = choice.tokens.iter().map(|(token, _)| *token).collect();
        // What was run on the way to this label is kept.
        self.look_ahead(label);
        self.written.append(&mut self.ahead);
        self.audience.tell(Event::Chosen(choice));
        self.go_on()
    }

    /// Replaces the tokens that are run ahead; those that the old and the new ones begin with stay computed.
    fn look_ahead(&mut self, path: Vec<TokenId>) {
        let same = self.ahead.iter().zip(&path).take_while(|(old, new)| old == new).count();
        self.computed = self.computed.min(self.prompt.tokens.len() + self.written.len() + same);
        self.ahead = path;
    }

    /// Begins the next piece; tells why the reply is complete, when it is.
    fn go_on(&mut self) -> Option<FinishReason> {
        let reason = if self.cut { FinishReason::Length } else { FinishReason::End };
        let complete = self.begin_part();
        // The next piece needs what follows the last token. When the piece before added none, that was run already and is run
        // again, into the same place.
        let last = self.prompt.tokens.len() + self.written.len() - 1;
        self.computed = self.computed.min(last);
        complete.then_some(reason)
    }

    /// Begins the next piece that needs logits; tells whether there is none.
    fn begin_part(&mut self) -> bool {
        while let Some(part) = self.script.pop_front() {
            match part {
                Part::Write(0) | Part::WriteBy { tokens: 0, .. } => {}
                Part::Write(tokens) => {
                    self.doing = Some(Doing::Writing(tokens));
                    return false;
                }
                Part::WriteBy { tokens, rules } => {
                    self.doing = Some(Doing::Following(tokens, rules.begin()));
                    return false;
                }
                Part::Say(tokens) => {
                    self.written.extend(&tokens);
                    self.audience.tell(Event::Said(tokens));
                }
                Part::Rate => {
                    self.doing = Some(Doing::Rating);
                    return false;
                }
                Part::Choose { labels, distribution } => {
                    self.doing = Some(Doing::Reading(Box::new(Reading::new(labels, distribution))));
                    return false;
                }
            }
        }
        true
    }
}
