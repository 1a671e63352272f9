//! What a step's kernels need to know of it: where its tokens stand, and in which blocks.

use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::{
    cache::{BLOCK_SIZE, Heads},
    error::Result,
    gpu::Gpu,
    list::{List, Moved},
    sharing::Sharing,
};

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Position of the first token.
    pub start: usize,
    /// How many tokens.
    pub length: usize,
    /// The sequence's blocks, in order of position; they cover at least the end of this chunk.
    pub block_table: &'a [u32],
}

/// The chunks of a step, on the GPU. It stays from one step to the next, and its lists stay in their places.
#[derive(Debug)]
pub struct Step {
    pub(crate) gpu: Arc<Gpu>,
    /// Of every token: its position.
    positions: List,
    /// Of every token: its place in the cache, block * BLOCK_SIZE + offset.
    slots: List,
    /// Of every chunk: start, length, its first row in the step, and where its block table begins in `tables`.
    chunks: List,
    /// The block tables, one after the other.
    tables: List,
    /// How attention is shared out, for a step that was told of which heads.
    sharing: Option<Sharing>,
    end: usize,
    last_block: usize,
    moves: usize,
}

impl Step {
    /// None yet; with room for `tokens` tokens, `chunks` chunks and `blocks` entries of block tables in all.
    ///
    /// # Errors
    /// When the GPU has no room.
    pub fn new(gpu: &Arc<Gpu>, (tokens, chunks, blocks): (usize, usize, usize)) -> Result<Self> {
        Ok(Self {
            gpu: Arc::clone(gpu),
            positions: List::new(gpu, tokens)?,
            slots: List::new(gpu, tokens)?,
            chunks: List::new(gpu, 4 * chunks)?,
            tables: List::new(gpu, blocks)?,
            sharing: None,
            end: 0,
            last_block: 0,
            moves: 0,
        })
    }

    /// The same, whose chunks can attend with `heads`. There is room for contexts that fill the block tables evenly.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// When more than 16 heads of queries share one of keys, or they cannot be shared out.
    pub fn attending(self, heads: Heads) -> Result<Self> {
        let chunks = self.chunks().len() / 4;
        let context = self.tables().len().div_ceil(chunks.max(1)) * BLOCK_SIZE;
        Ok(Self { sharing: Some(Sharing::new(&self.gpu, heads, (chunks, context))?), ..self })
    }

    /// Becomes the step of `chunks`.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// When a block table is too short.
    pub fn set(&mut self, chunks: &[Chunk<'_>]) -> Result<()> {
        let (mut positions, mut slots) = (Vec::new(), Vec::new());
        let (mut described, mut tables) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let end = chunk.start + chunk.length;
            assert!(end <= chunk.block_table.len() * BLOCK_SIZE, "a block table that is too short");
            described.extend(
                [chunk.start, chunk.length, positions.len(), tables.len()].map(|number| number as u32),
            );
            positions.extend(chunk.start as u32..end as u32);
            slots.extend((chunk.start..end).map(|position| {
                chunk.block_table[position / BLOCK_SIZE] * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32
            }));
            tables.extend_from_slice(chunk.block_table);
        }
        self.end = chunks.iter().map(|chunk| chunk.start + chunk.length).max().unwrap_or_default();
        self.last_block = tables.iter().max().map_or(0, |block| *block as usize);
        let moved = [
            self.positions.set(&self.gpu, &positions)?,
            self.slots.set(&self.gpu, &slots)?,
            self.chunks.set(&self.gpu, &described)?,
            self.tables.set(&self.gpu, &tables)?,
        ];
        let reach = self.reach();
        let shared = match &mut self.sharing {
            Some(sharing) => sharing.set(&self.gpu, chunks, reach)?,
            None => Moved::No,
        };
        self.moves += usize::from(shared == Moved::Yes || moved.contains(&Moved::Yes));
        Ok(())
    }

    /// How often lists had to move: what was captured before the last time cannot run again.
    pub fn moves(&self) -> usize {
        self.moves
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.positions.len()
    }

    /// One past the last position of all chunks.
    pub fn end(&self) -> usize {
        self.end
    }

    /// `end`, rounded up so that it changes seldom while sequences grow: what is prepared for it serves all that end before.
    pub fn reach(&self) -> usize {
        self.end.next_power_of_two()
    }

    /// How many stretches of contexts are read once for several sequences, rounded up likewise.
    pub fn shared_stretches(&self) -> usize {
        self.sharing.as_ref().map_or(0, |sharing| sharing.families() as usize)
    }

    pub(crate) fn last_block(&self) -> usize {
        self.last_block
    }

    pub(crate) fn positions(&self) -> &CudaSlice<u32> {
        self.positions.numbers()
    }

    pub(crate) fn slots(&self) -> &CudaSlice<u32> {
        self.slots.numbers()
    }

    pub(crate) fn chunks(&self) -> &CudaSlice<u32> {
        self.chunks.numbers()
    }

    pub(crate) fn tables(&self) -> &CudaSlice<u32> {
        self.tables.numbers()
    }

    pub(crate) fn sharing(&self) -> Option<&Sharing> {
        self.sharing.as_ref()
    }
}
