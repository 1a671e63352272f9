//! One request while it runs.

use critic::{BlockId, Chunk, Encoded, SamplingParams, SequenceId, TokenId, Visual};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

use crate::{
    engine::Request,
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
    block_table: Vec<BlockId>,
    sampling: SamplingParams,
    random: StdRng,
    max_new_tokens: usize,
    end_tokens: Vec<TokenId>,
    /// Holds every event that the sequence can have, so that sending never waits for a slow client.
    events: mpsc::Sender<Event>,
}

impl Sequence {
    pub(crate) fn new(id: SequenceId, request: Request, events: mpsc::Sender<Event>) -> Self {
        Self {
            id,
            prompt: request.encoded,
            generated: Vec::new(),
            computed: 0,
            block_table: Vec::new(),
            random: StdRng::seed_from_u64(request.sampling.seed),
            sampling: request.sampling,
            max_new_tokens: request.max_new_tokens,
            end_tokens: request.end_tokens,
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

    /// Gives it its blocks, enough for [`max_positions`](Self::max_positions).
    pub(crate) fn place(&mut self, blocks: Vec<BlockId>) {
        self.block_table = blocks;
    }

    /// Takes its blocks back when it ends.
    pub(crate) fn into_blocks(self) -> Vec<BlockId> {
        self.block_table
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
        let touches =
            |visual: &&Visual| visual.start < span.end && span.start < visual.start + visual.length;
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
        let sampled = sample(logits, &self.sampling, &self.generated, &mut self.random);
        if self.end_tokens.contains(&sampled.token) {
            return Some(FinishReason::End);
        }
        self.generated.push(sampled.token);
        self.report(Event::Token(sampled));
        (self.generated.len() == self.max_new_tokens).then_some(FinishReason::Length)
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
