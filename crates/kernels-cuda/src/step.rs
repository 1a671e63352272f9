//! What kernels need to know about a step: the positions of its tokens and their blocks.

use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::{
    cache::{BLOCK_SIZE, Heads},
    error::Result,
    gpu::Gpu,
    list::List,
    sharing::Sharing,
    staging::Staging,
};

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The position of the first token.
    pub start: usize,
    /// The number of tokens.
    pub length: usize,
    /// The sequence's blocks in order of position, at least up to the end of this chunk.
    pub block_table: &'a [u32],
}

/// The chunks of a step, on the GPU. It is reused from one step to the next, and its lists stay in their places.
#[derive(Debug)]
pub struct Step {
    /// The memory through which lists are copied.
    staging: Staging<u32>,
    /// The position of every token.
    positions: List,
    /// The place in the cache of every token: block * BLOCK_SIZE + offset.
    slots: List,
    /// The start and length of every chunk, its first row in the step, and where its block table begins in `tables`.
    chunks: List,
    /// The block tables, one after the other.
    tables: List,
    /// How attention is divided; `None` without [`attending`](Self::attending).
    sharing: Option<Sharing>,
    end: usize,
    last_block: usize,
}

impl Step {
    /// Creates an empty step with room for `tokens` tokens, `chunks` chunks and `blocks` entries of block tables in
    /// all.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if its lists cannot be allocated on the GPU.
    pub fn new(gpu: &Arc<Gpu>, (tokens, chunks, blocks): (usize, usize, usize)) -> Result<Self> {
        Ok(Self {
            // As many numbers as the lists have room for, or about so: then a step need not wait for its own copies.
            staging: Staging::new(gpu, 4 * (tokens + chunks) + blocks)?,
            positions: List::new(gpu, tokens)?,
            slots: List::new(gpu, tokens)?,
            chunks: List::new(gpu, 4 * chunks)?,
            tables: List::new(gpu, blocks)?,
            sharing: None,
            end: 0,
            last_block: 0,
        })
    }

    /// Lets the chunks attend with `heads`. There is room for contexts that fill the block tables evenly.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if its lists cannot be allocated on the GPU.
    ///
    /// # Panics
    /// If `heads` is not a multiple of `kv_heads`, or more than 16 query heads share a KV head.
    pub fn attending(self, heads: Heads) -> Result<Self> {
        let chunks = self.chunks().len() / 4;
        let context = self.tables().len().div_ceil(chunks.max(1)) * BLOCK_SIZE;
        let room = (self.positions().len(), chunks, context);
        Ok(Self { sharing: Some(Sharing::new(self.staging.gpu(), heads, room)?), ..self })
    }

    /// Replaces the chunks of the step.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if a list has to grow and the GPU has no memory; `Error::Driver` if a copy fails.
    ///
    /// # Panics
    /// If a block table is too short.
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
        self.positions.set(&mut self.staging, &positions)?;
        self.slots.set(&mut self.staging, &slots)?;
        self.chunks.set(&mut self.staging, &described)?;
        self.tables.set(&mut self.staging, &tables)?;
        let reach = self.reach();
        match &mut self.sharing {
            Some(sharing) => sharing.set(&mut self.staging, chunks, reach),
            None => Ok(()),
        }
    }

    /// Returns how often lists had to move: graphs captured before the last move cannot run again.
    pub fn moves(&self) -> usize {
        let lists = [&self.positions, &self.slots, &self.chunks, &self.tables];
        let sharing = self.sharing.as_ref().map_or(0, Sharing::moves);
        sharing + lists.map(List::moves).iter().sum::<usize>()
    }

    /// Returns the number of tokens.
    pub fn tokens(&self) -> usize {
        self.positions.len()
    }

    /// Returns one past the last position of all chunks.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Returns `end`, rounded up to a power of two so that it rarely changes while sequences grow: what is prepared
    /// for it serves all steps that end before.
    pub fn reach(&self) -> usize {
        self.end.next_power_of_two()
    }

    /// Returns the number of stretches of contexts that are read once for several sequences, rounded up likewise.
    pub fn shared_stretches(&self) -> usize {
        self.sharing.as_ref().map_or(0, |sharing| sharing.prefix_groups() as usize)
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
