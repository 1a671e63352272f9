//! One step of work for a model: chunks of several sequences, as plain data.

use crate::Visual;

/// The id of a token in the checkpoint's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub u32);

/// The index of a block of the paged key/value cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// The id of a sequence, valid for the life of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What a step returns for the last token of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: more of the prompt follows.
    Nothing,
    /// Its logits.
    Logits,
    /// The one number that the checkpoint's reward head computes from its hidden state.
    Reward,
}

/// Consecutive tokens of one sequence to run in this step: a part of its prompt, or the token it generated last.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The sequence of these tokens.
    pub sequence: SequenceId,
    /// The tokens, at positions `start .. start + tokens.len()`.
    pub tokens: Vec<TokenId>,
    /// Position of the first token in its sequence.
    pub start: usize,
    /// The sequence's block table, in order of position; it covers at least the positions up to the end of this
    /// chunk.
    pub block_table: Vec<BlockId>,
    /// Visuals whose spans (in positions of the sequence) touch this chunk.
    pub visuals: Vec<Visual>,
    /// What the step returns for the last token.
    pub wants: Wants,
}

impl Chunk {
    /// One past the position of the last token.
    pub fn end(&self) -> usize {
        self.start + self.tokens.len()
    }
}

/// Everything that runs in one forward pass. Ragged: chunks have any lengths, and nothing is padded.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The chunks; no sequence appears twice.
    pub chunks: Vec<Chunk>,
}

impl Batch {
    /// Number of tokens in all chunks.
    pub fn token_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.tokens.len()).sum()
    }
}
