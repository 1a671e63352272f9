//! One step of work for a model: chunks of several sequences, as plain data.

use crate::Visual;

/// A token of the checkpoint's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub u32);

/// A block of the paged key/value cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// A sequence, for the life of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What is wanted of the last token of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: more of the sequence follows.
    Nothing,
    /// Its logits.
    Logits,
    /// What the checkpoint's reward head makes of it: one number.
    Reward,
}

/// Consecutive tokens of one sequence to run in this step: a piece of its prompt, or the one token it just wrote.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Whose tokens these are.
    pub sequence: SequenceId,
    /// The tokens, at positions `start .. start + tokens.len()`.
    pub tokens: Vec<TokenId>,
    /// Position of the first token in its sequence.
    pub start: usize,
    /// The sequence's blocks, in order of position; they cover at least the end of this chunk.
    pub block_table: Vec<BlockId>,
    /// Visuals whose spans (in positions of the sequence) touch this chunk.
    pub visuals: Vec<Visual>,
    /// What is wanted of the last token.
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
