//! A request in the scheduler, waiting or running.

use std::time::{Duration, Instant};

use critic::{BlockId, Chunk, Encoded, SequenceId, StepOutput, Visual, Wants};

use crate::{
    arrival::{Arrival, Identity},
    decoding::reply::{Accepted, Progress, Reply},
    error::Failure,
    observer::{Ending, SequenceReport, Stage},
    prefix_cache::BlockKey,
    queue::backlog::QueueSlot,
    request::{Lane, Part, Tenant, Urgency},
    scheduler::Outcome,
    stream::{Event, FinishReason},
    subscribers::Subscribers,
    suspects::Fingerprint,
};

/// A request with its cache blocks and its clients.
#[derive(Debug)]
pub(crate) struct Sequence {
    id: SequenceId,
    prompt: Encoded,
    reply: Reply,
    /// Number of positions of the prompt and the reply whose keys and values are in the cache.
    computed: usize,
    lane: Lane,
    tenant: Tenant,
    urgency: Urgency,
    weight: u32,
    identity: Identity,
    fingerprint: Fingerprint,
    runs_alone: bool,
    max_positions: usize,
    block_keys: Vec<BlockKey>,
    /// `[ leased from the prefix cache | own ]`: the first `leased` blocks belong to the prefix cache.
    block_table: Vec<BlockId>,
    leased: usize,
    pub(crate) subscribers: Subscribers,
    /// Its place in the queue; `None` once it is admitted.
    queue_slot: Option<QueueSlot>,
    times: Times,
    /// Number of steps in which it ran.
    steps: usize,
    /// Number of prompt tokens taken from the prefix cache.
    cached: usize,
    /// Number of sequences that used its cached prefix when it was admitted.
    fanout: usize,
}

/// The blocks of a sequence.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// The keys of the leased blocks.
    pub(crate) keys: Vec<BlockKey>,
    /// The blocks that it leased from the prefix cache.
    pub(crate) leased: Vec<BlockId>,
    /// Its own blocks.
    pub(crate) own: Vec<BlockId>,
}

/// The times of a sequence's events.
#[derive(Debug, Clone, Copy)]
struct Times {
    arrived: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
    choice: Option<Instant>,
    /// When it last wrote a token freely or by rules.
    token: Option<Instant>,
    /// The time between its last two such tokens, until it is taken.
    gap: Option<Duration>,
}

/// Whether the last token of a reply is run, because the reward head is read at it. Otherwise the last token is
/// never run.
fn rates_last_token(script: &[Part]) -> bool {
    let last = script.iter().rev().find(|part| part.max_tokens() > 0 || **part == Part::Reward);
    last == Some(&Part::Reward)
}

impl Sequence {
    pub(crate) fn new(arrival: Arrival) -> Self {
        let Arrival {
            id,
            request,
            block_keys,
            identity,
            fingerprint,
            runs_alone,
            subscribers,
            queue_slot,
            arrived,
        } = arrival;
        Self {
            id,
            lane: request.lane(),
            max_positions: request.encoded.tokens.len() + request.max_reply_tokens()
                - usize::from(!rates_last_token(&request.script)),
            prompt: request.encoded,
            reply: Reply::new(request.script, request.sampling, request.end_tokens),
            computed: 0,
            tenant: request.client.tenant,
            urgency: request.client.urgency,
            weight: request.client.terms.weight,
            identity,
            fingerprint,
            runs_alone,
            block_keys,
            block_table: Vec::new(),
            leased: 0,
            subscribers,
            queue_slot,
            times: Times { arrived, admitted: None, first_token: None, choice: None, token: None, gap: None },
            steps: 0,
            cached: 0,
            fanout: 0,
        }
    }

    /// The number of positions that it has in the cache.
    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// The maximum number of positions that it can have in the cache.
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

    /// Raises the urgency to that of another client of the sequence.
    pub(crate) fn want(&mut self, urgency: Urgency) {
        self.urgency = self.urgency.min(urgency);
    }

    /// The weight of its tenant.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether it must run alone, since an engine may have died of it.
    pub(crate) fn runs_alone(&self) -> bool {
        self.runs_alone
    }

    /// When it joined the queue.
    pub(crate) fn arrived(&self) -> Instant {
        self.times.arrived
    }

    /// Whether at least this time has passed since its arrival.
    pub(crate) fn has_waited(&self, at_least: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.arrived()) >= at_least
    }

    /// The report of its end.
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
            reply_tokens: self.reply.len(),
            visuals: visuals.len(),
            visual_tokens: visuals.iter().map(|visual| visual.length).sum(),
            visual_tiles: visuals.iter().map(|visual| visual.tiles.count()).sum(),
            fanout: self.fanout,
        }
    }

    /// Records the number of sequences that use its cached prefix.
    pub(crate) fn note_fanout(&mut self, sequences: usize) {
        self.fanout = sequences;
    }

    /// The time between its last two tokens, if it was not returned before.
    pub(crate) fn take_gap(&mut self) -> Option<Duration> {
        self.times.gap.take()
    }

    /// Whether its whole prompt is in the cache.
    pub(crate) fn is_decoding(&self) -> bool {
        self.computed >= self.prompt.tokens.len()
    }

    /// Keys of the shareable blocks of its prompt.
    pub(crate) fn block_keys(&self) -> &[BlockKey] {
        &self.block_keys
    }

    /// The key of the first block of its prompt, and that block, if it leases it from the prefix cache.
    pub(crate) fn first_lease(&self) -> Option<(BlockKey, BlockId)> {
        (self.leased > 0).then(|| (self.block_keys[0], self.block_table[0]))
    }

    /// Keeps the blocks that it will compute from others; returns the keys of those that they could have used.
    pub(crate) fn stop_sharing(&mut self) -> Vec<BlockKey> {
        self.block_keys.split_off(self.leased)
    }

    /// Keys of the blocks that it will compute itself, and that others may use afterwards.
    pub(crate) fn unshared_keys(&self) -> &[BlockKey] {
        &self.block_keys[self.leased..]
    }

    /// Removes it from the queue and assigns its blocks, enough for [`max_positions`](Self::max_positions):
    /// `leased` ones, which hold the cached prefix of its prompt, then `own`. It continues after the leased ones.
    pub(crate) fn admit(
        &mut self,
        (leased, own): (Vec<BlockId>, Vec<BlockId>),
        block_size: usize,
        now: Instant,
    ) {
        self.queue_slot = None;
        self.times.admitted = Some(now);
        self.leased = leased.len();
        self.computed = leased.len() * block_size;
        self.cached = self.computed;
        self.block_table = leased;
        self.block_table.extend(own);
        self.subscribers.tell(Event::Admitted { cached_tokens: self.computed });
        self.reply.begin(&mut self.subscribers);
    }

    /// The index of its next own block that is full and shareable.
    pub(crate) fn next_shareable(&self, block_size: usize) -> Option<usize> {
        let full = self.leased < self.block_keys.len() && (self.leased + 1) * block_size <= self.computed;
        full.then_some(self.leased)
    }

    /// Hands the block of [`next_shareable`](Self::next_shareable) over to the prefix cache, and leases it from
    /// there.
    pub(crate) fn share(&mut self) -> BlockId {
        self.leased += 1;
        self.block_table[self.leased - 1]
    }

    /// The number of its own blocks.
    pub(crate) fn own_block_count(&self) -> usize {
        self.block_table.len() - self.leased
    }

    /// Ends it; returns its blocks.
    pub(crate) fn into_blocks(mut self) -> Blocks {
        let own = self.block_table.split_off(self.leased);
        self.block_keys.truncate(self.leased);
        Blocks { keys: self.block_keys, leased: self.block_table, own }
    }

    /// The number of prompt tokens not yet run.
    pub(crate) fn unread(&self) -> usize {
        self.prompt.tokens.len().saturating_sub(self.computed)
    }

    /// The number of tokens that it is expected to run still, if other texts have become `usual_length` tokens long of
    /// late. A reply may end long before its limit: it is expected to become as long as those were, or, if it is longer
    /// already, twice as long as it is.
    pub(crate) fn tokens_left(&self, usual_length: Option<usize>) -> usize {
        let most = self.max_positions.saturating_sub(self.computed.max(self.prompt.tokens.len()));
        let expected = usual_length.map_or(most, |usual| {
            let written = self.reply.len();
            if written < usual { usual - written } else { written }
        });
        self.unread() + expected.min(most)
    }

    /// The next tokens to run, at most `budget`, which must not be 0.
    pub(crate) fn next_chunk(&self, budget: usize) -> Chunk {
        let prompt = &self.prompt.tokens;
        let all = prompt.len() + self.reply.token_count();
        // A prompt chunk never extends into the reply, so that the split of a prompt does not depend on the reply.
        let last = if self.is_decoding() { all } else { prompt.len() };
        let span = self.computed..last.min(self.computed + budget);
        let tokens = prompt.iter().copied().chain(self.reply.tokens());
        let touches = |visual: &&Visual| visual.start < span.end && span.start < visual.start + visual.length;
        Chunk {
            sequence: self.id,
            tokens: tokens.skip(span.start).take(span.len()).collect(),
            start: span.start,
            block_table: self.block_table.clone(),
            visuals: self.prompt.visuals.iter().filter(touches).cloned().collect(),
            wants: if span.end < all { Wants::Nothing } else { self.reply.wants() },
        }
    }

    /// Records that a step added `count` positions to the cache.
    pub(crate) fn advance(&mut self, count: usize) {
        self.steps += 1;
        self.computed += count;
    }

    /// Whether it may have to wait for another thread when it continues.
    pub(crate) fn follows_rules(&self) -> bool {
        self.reply.follows_rules()
    }

    /// Continues by the result of a step and sends the events; returns how it ended, if it did.
    pub(crate) fn go_on(&mut self, outcome: Outcome, now: Instant) -> Option<Ending> {
        let finished = outcome.and_then(|output| output.map_or(Ok(None), |output| self.accept(&output, now)));
        let (event, ending) = match finished {
            Ok(reason) => {
                let reason = reason?;
                let report = self.report(Ending::Finished, now);
                (Event::Finished(reason, Box::new(report)), Ending::Finished)
            }
            Err(failure) => {
                let ending = match failure {
                    Failure::GuideError(_) | Failure::UnknownLabel { .. } => Ending::Unwritable,
                    Failure::Backend(_)
                    | Failure::Panicked
                    | Failure::Expired
                    | Failure::QueueTimedOut { .. }
                    | Failure::GivenUp => Ending::Failed,
                };
                (Event::Failed(failure), ending)
            }
        };
        self.subscribers.tell(event);
        Some(ending)
    }

    /// Continues by the output of its last token; returns why it is complete, if it is.
    fn accept(&mut self, output: &StepOutput, now: Instant) -> Result<Option<FinishReason>, Failure> {
        let Accepted { progress, kept, finished } = self.reply.accept(output, &mut self.subscribers)?;
        self.computed = self.computed.min((self.prompt.tokens.len() - 1).saturating_add(kept));
        if matches!(progress, Progress::Wrote | Progress::Chose) {
            self.times.first_token.get_or_insert(now);
        }
        match progress {
            Progress::Nothing => {}
            Progress::Wrote => {
                let before = self.times.token.replace(now);
                self.times.gap = before.map(|before| now.saturating_duration_since(before));
            }
            Progress::Chose | Progress::Rated => {
                self.times.choice.get_or_insert(now);
            }
        }
        Ok(finished)
    }
}
