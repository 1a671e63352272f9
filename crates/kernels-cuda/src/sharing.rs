//! How a step's attention is divided among the blocks of a GPU.

use std::{cmp::Reverse, sync::Arc};

use cudarc::driver::CudaSlice;

use crate::{
    cache::{BLOCK_SIZE, Heads},
    error::Result,
    gpu::Gpu,
    list::List,
    prefix_groups::{PrefixGroup, prefix_groups},
    staging::Staging,
    step::Chunk,
};

/// Rows of queries in a tile of `attend_paged_*` and of `attend_dense_*`, and those that `attend_shared_*` takes
/// together; a row is one position and one head.
pub(crate) const LONG_ROWS: usize = 128;
/// Rows of queries in a tile of `attend_split_*`: `SPLIT_ROWS` in `cuda/attention_split.cu`.
const SHORT_ROWS: usize = 16;
/// The most query heads that share a KV head: a tile of `attend_split_*` has at least one position.
pub const MOST_GROUP: usize = SHORT_ROWS;
/// Positions to which `attend_split_*` sums attention separately: `STRETCH` in `cuda/attention_paged.cuh`.
const STRETCH: usize = 512;
/// A chunk with at most this many rows for each KV head goes to `attend_split_*`: with so few rows the tiles of the
/// other kernel would be less than half full.
const FEW_QUERIES: usize = 48;
/// The readings of stretches that a step must save for tiles to go to `attend_shared_*`: starting one more kernel
/// takes about as long as reading a few stretches from the L2 cache. Estimated, not measured.
const WORTH_SHARING: usize = 12;

/// How a step's attention is divided, the same for all layers.
#[derive(Debug)]
pub(crate) struct Sharing {
    pub(crate) heads: Heads,
    multiprocessors: usize,
    /// Bytes of shared memory of a multiprocessor.
    pub(crate) multiprocessor_bytes: usize,
    /// Tiles of `attend_paged_*`, four numbers each, as described there.
    pub(crate) long: List,
    /// Tiles of `attend_split_*`.
    pub(crate) short: List,
    /// Rows of the short tile with the most positions.
    pub(crate) tile_rows: usize,
    /// The number of stretches that the longest context may have.
    pub(crate) stretches: usize,
    /// Prefix groups of short tiles that attend to a stretch together in `attend_shared_*`: four numbers each, as
    /// described there.
    pub(crate) prefix_groups: List,
    /// The tiles of prefix groups, one group after the other.
    pub(crate) members: List,
    /// The sums of weighted values of short tiles' rows in each stretch, `[tiles, K, stretches, tile_rows, D]`.
    /// Layers write and read it one after the other, in the order of the stream.
    pub(crate) partial: CudaSlice<f32>,
    /// The highest scores and the sums of weights of these rows, `[tiles, K, stretches, tile_rows, 2]`.
    pub(crate) extremes: CudaSlice<f32>,
    /// How often `partial` or `extremes` was replaced by a larger buffer.
    buffer_moves: usize,
}

/// Queries of a chunk that one block processes.
#[derive(Debug, Clone, Copy)]
struct Tile {
    chunk: usize,
    /// The first of its positions within the chunk.
    first: usize,
    positions: usize,
    /// The number of stretches, from 0 on, to which it attends together with others.
    shared: usize,
}

impl Tile {
    /// Splits a chunk of `length` positions into tiles of at most `most` positions.
    fn of(chunk: usize, length: usize, most: usize) -> impl Iterator<Item = Self> {
        (0..length).step_by(most).map(move |first| Self {
            chunk,
            first,
            positions: most.min(length - first),
            shared: 0,
        })
    }

    /// Returns the blocks of the stretches in which all its queries see every position; none if the queries see one
    /// stretch only, whose result is written directly to the output.
    fn settled<'a>(&self, chunks: &[Chunk<'a>]) -> &'a [u32] {
        let Chunk { start, block_table, .. } = chunks[self.chunk];
        let first = start + self.first;
        let stretches = if first + self.positions > STRETCH { (first + 1) / STRETCH } else { 0 };
        &block_table[..stretches * (STRETCH / BLOCK_SIZE)]
    }
}

fn listed(tiles: &[Tile]) -> Vec<u32> {
    let numbers = |tile: &Tile| [tile.chunk, tile.first, tile.positions, tile.shared];
    tiles.iter().flat_map(numbers).map(|number| number as u32).collect()
}

impl Sharing {
    /// Creates an empty division. There is room for `sequences` of up to `context` positions that decode one token
    /// each, and for the tiles of any chunks of `tokens` tokens in all.
    pub(crate) fn new(
        gpu: &Arc<Gpu>,
        heads: Heads,
        (tokens, sequences, context): (usize, usize, usize),
    ) -> Result<Self> {
        assert!(heads.kv_heads > 0 && heads.heads.is_multiple_of(heads.kv_heads), "{heads:?}");
        assert!(heads.group() <= MOST_GROUP, "{heads:?}");
        let stretches = sequences * context.div_ceil(STRETCH);
        let rows = stretches * heads.heads;
        Ok(Self {
            heads,
            multiprocessors: gpu.multiprocessors()?,
            multiprocessor_bytes: gpu.shared_bytes()?,
            // A list that grew with a prompt would move, and graphs of decoding steps would be discarded. A long tile
            // has at least two tokens, a short one has at least one.
            long: List::new(gpu, tokens / 2 * 4)?,
            short: List::new(gpu, tokens.max(sequences) * 4)?,
            tile_rows: 0,
            stretches: 1,
            // A prefix group has at least two members, and there may be nearly as many empty ones.
            prefix_groups: List::new(gpu, stretches * 4)?,
            members: List::new(gpu, stretches)?,
            partial: gpu.memory_for(rows * heads.size)?,
            extremes: gpu.memory_for(rows * 2)?,
            buffer_moves: 0,
        })
    }

    /// Divides the attention of `chunks`, whose positions are all before `reach`.
    pub(crate) fn set(
        &mut self,
        staging: &mut Staging<u32>,
        chunks: &[Chunk<'_>],
        reach: usize,
    ) -> Result<()> {
        self.stretches = reach.div_ceil(STRETCH).max(1);
        let longest = self.longest_short(chunks);
        let group = self.heads.group();
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for (index, chunk) in chunks.iter().enumerate() {
            if chunk.length <= longest {
                short.extend(Tile::of(index, chunk.length, SHORT_ROWS / group));
            } else {
                long.extend(Tile::of(index, chunk.length, LONG_ROWS / group));
            }
        }
        // Tiles that see the most positions start first, so that no block is left with one at the end.
        long.sort_by_key(|tile| Reverse(chunks[tile.chunk].start + tile.first));
        let (tile_rows, rows) = self.rows_of_stretches(chunks, longest);
        self.tile_rows = tile_rows;
        if self.extremes.len() < rows * 2 {
            self.partial = staging.gpu().memory_for(rows * self.heads.size)?;
            self.buffer_moves += 1;
            self.extremes = staging.gpu().memory_for(rows * 2)?;
            self.buffer_moves += 1;
        }
        let (groups, members) = self.put_together(&mut short, chunks);
        self.long.set(staging, &listed(&long))?;
        self.short.set(staging, &listed(&short))?;
        self.prefix_groups.set(staging, &groups)?;
        self.members.set(staging, &members)
    }

    /// Returns how often a list or buffer has moved to another address.
    pub(crate) fn moves(&self) -> usize {
        let lists = [&self.long, &self.short, &self.prefix_groups, &self.members];
        self.buffer_moves + lists.map(List::moves).iter().sum::<usize>()
    }

    /// Finds which of `tiles` share stretches, marks these tiles, and returns prefix groups and members as lists for
    /// the GPU. A group has at most as many members as one block takes. Empty groups pad the list, so that what is
    /// prepared for its length serves many steps.
    fn put_together(&self, tiles: &mut [Tile], chunks: &[Chunk<'_>]) -> (Vec<u32>, Vec<u32>) {
        let settled: Vec<&[u32]> = tiles.iter().map(|tile| tile.settled(chunks)).collect();
        let found = prefix_groups(&settled, STRETCH / BLOCK_SIZE);
        let spared: usize = found.iter().map(|group| group.members.len() - 1).sum();
        let (mut list, mut all): (Vec<[u32; 4]>, Vec<u32>) = (Vec::new(), Vec::new());
        if spared < WORTH_SHARING {
            return (Vec::new(), all);
        }
        let most = LONG_ROWS / self.tile_rows;
        for PrefixGroup { stretch, members } in found {
            let parts = members.len().div_ceil(most);
            for part in 0..parts {
                let members = &members[part * members.len() / parts..(part + 1) * members.len() / parts];
                list.push([stretch, all.len(), members.len(), 0].map(|number| number as u32));
                for member in members {
                    tiles[*member].shared = stretch + 1;
                    all.push(*member as u32);
                }
            }
        }
        list.resize(list.len().next_power_of_two(), [0; 4]);
        (list.into_flattened(), all)
    }

    /// Returns the length up to which chunks go to `attend_split_*`. The results have the same bits in either kernel.
    fn longest_short(&self, chunks: &[Chunk<'_>]) -> usize {
        let few = (FEW_QUERIES / self.heads.group()).max(1);
        let positions = LONG_ROWS / self.heads.group();
        let tiles: usize = chunks
            .iter()
            .map(|chunk| chunk.length)
            .filter(|length| *length > few)
            .map(|length| length.div_ceil(positions))
            .sum();
        // Where long tiles would leave most of the GPU idle, dividing the work more finely costs additional work, but
        // there is little of it.
        let all_short = tiles * self.heads.kv_heads * 4 <= self.multiprocessors;
        let fits = |longest: &usize| self.rows_of_stretches(chunks, *longest).1 * 2 <= self.extremes.len();
        let choices = [if all_short { usize::MAX } else { few }, few];
        choices.into_iter().find(fits).unwrap_or(1)
    }

    /// Returns the rows of a short tile and of `partial`, if chunks of up to `longest` positions are short.
    fn rows_of_stretches(&self, chunks: &[Chunk<'_>], longest: usize) -> (usize, usize) {
        let group = self.heads.group();
        let positions = SHORT_ROWS / group;
        let short = || chunks.iter().map(|chunk| chunk.length).filter(|length| *length <= longest);
        let tiles: usize = short().map(|length| length.div_ceil(positions)).sum();
        let tile_rows = short().map(|length| length.min(positions) * group).max().unwrap_or_default();
        match self.stretches {
            // Results are written directly to the output.
            1 => (tile_rows, 0),
            stretches => (tile_rows, tiles * self.heads.kv_heads * stretches * tile_rows),
        }
    }

    pub(crate) fn long_tiles(&self) -> u32 {
        (self.long.len() / 4) as u32
    }

    pub(crate) fn short_tiles(&self) -> u32 {
        (self.short.len() / 4) as u32
    }

    /// Returns the number of prefix groups in the list, including empty ones.
    pub(crate) fn prefix_groups(&self) -> u32 {
        (self.prefix_groups.len() / 4) as u32
    }
}
