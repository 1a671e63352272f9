//! One request while it runs.

use critic::{BlockId, Chunk, Encoded, SamplingParams, SequenceId, TokenId, Visual};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

use crate::{
    engine::Request,
    prefix_cache::{BlockKey, block_keys},
    sampler::sample,
    stream::{Event, FinishReason},
};

/// A request with its place in the cache and its way back to the client.
#[derive(Debug)]
pub(crate) struct Sequence {
    id: SequenceId,
    prompt: Encoded,
    generated: Vec<TokenId>,
    /// Positions whose keys and values are in the cache.
    computed: usize,
    /// Names of the full blocks of the prompt.
    block_keys: Vec<BlockKey>,
    /// `[ leased from the prefix cache | its own ]`: the first `leased` blocks belong to the prefix cache.
    block_table: Vec<BlockId>,
    leased: usize,
    sampling: SamplingParams,
    random: StdRng,
    max_new_tokens: usize,
    end_tokens: Vec<TokenId>,
    /// The output begins with one of these, when there are any.
    beginnings: Vec<Vec<TokenId>>,
    /// Holds every event that the sequence can have, so that sending never waits for a slow client.
    events: mpsc::Sender<Event>,
}

impl Sequence {
    pub(crate) fn new(
        id: SequenceId,
        request: Request,
        block_size: usize,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            id,
            block_keys: block_keys(&request.encoded, block_size),
            leased: 0,
            prompt: request.encoded,
            generated: Vec::new(),
            computed: 0,
            block_table: Vec::new(),
            random: StdRng::seed_from_u64(request.sampling.seed),
            sampling: request.sampling,
            max_new_tokens: request.max_new_tokens,
            end_tokens: request.end_tokens,
            beginnings: request.beginnings,
            events,
        }
    }

    /// The most positions it can ever have in the cache: the last token written is never run.
    pub(crate) fn max_positions(&self) -> usize {
        self.prompt.tokens.len() + self.max_new_tokens - 1
    }

    /// Whether the client went away.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
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

    /// Gives it its blocks, enough for [`max_positions`](Self::max_positions): `leased` ones, which hold the beginning of
    /// its prompt, then `own`. Its next tokens are those after the leased ones.
    pub(crate) fn place(&mut self, leased: Vec<BlockId>, own: Vec<BlockId>, block_size: usize) {
        self.leased = leased.len();
        self.computed = leased.len() * block_size;
        self.block_table = leased;
        self.block_table.extend(own);
        self.report(Event::Admitted { cached_tokens: self.computed });
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

    /// The next tokens to run, at most `budget` (which is not 0).
    pub(crate) fn next_chunk(&self, budget: usize) -> Chunk {
        let prompt = &self.prompt.tokens;
        let (tokens, wants_logits) = if self.is_decoding() {
            (self.generated[self.computed - prompt.len()..].to_vec(), true)
        } else {
            let end = prompt.len().min(self.computed + budget);
            (prompt[self.computed..end].to_vec(), end == prompt.len())
        };
        let span = self.computed..self.computed + tokens.len();
        let touches = |visual: &&Visual| visual.start < span.end && span.start < visual.start + visual.length;
        Chunk {
            sequence: self.id,
            tokens,
            start: self.computed,
            block_table: self.block_table.clone(),
            visuals: self.prompt.visuals.iter().filter(touches).cloned().collect(),
            wants_logits,
        }
    }

    /// Notes that `count` more positions are in the cache.
    pub(crate) fn advance(&mut self, count: usize) {
        self.computed += count;
    }

    /// Chooses the next token from `logits` and reports it; tells why the sequence is complete, when it is.
    pub(crate) fn write(&mut self, logits: &[f32]) -> Option<FinishReason> {
        let allowed = self.allowed();
        let known = (self.generated.as_slice(), allowed.as_deref());
        let sampled = sample(logits, &self.sampling, known, &mut self.random);
        if self.end_tokens.contains(&sampled.token) {
            return Some(FinishReason::End);
        }
        self.generated.push(sampled.token);
        self.report(Event::Token(sampled));
        (self.generated.len() == self.max_new_tokens).then_some(FinishReason::Length)
    }

    /// The tokens that may come next: those by which one of the beginnings goes on; any, once one is complete.
    fn allowed(&self) -> Option<Vec<TokenId>> {
        let written = self.generated.as_slice();
        let going_on =
            self.beginnings.iter().filter_map(|beginning| beginning.strip_prefix(written)?.first());
        let allowed: Vec<TokenId> = going_on.copied().collect();
        (!allowed.is_empty()).then_some(allowed)
    }

    /// Sends an event. A client that went away is no error: its sequence ends before the next step.
    pub(crate) fn report(&self, event: Event) {
        let sent = self.events.try_send(event);
        debug_assert!(
            !matches!(sent, Err(mpsc::error::TrySendError::Full(_))),
            "the channel holds every event of a sequence"
        );
    }
}
