//! How a step's attention is shared out among the blocks of a GPU.

use std::{cmp::Reverse, sync::Arc};

use cudarc::driver::CudaSlice;

use crate::{
    cache::{BLOCK_SIZE, Heads},
    error::Result,
    families::{Family, families},
    gpu::Gpu,
    list::{List, Moved},
    step::Chunk,
};

/// Rows of queries in a tile of `attend_paged_*` and of `attend_dense_*`, and those that `attend_shared_*` takes together; a
/// row is one position and one head.
pub(crate) const LONG_ROWS: usize = 128;
/// The same of `attend_split_*`: `SPLIT_ROWS` in `cuda/attention_split.cu`.
const SHORT_ROWS: usize = 16;
/// Positions that `attend_split_*` sums up by themselves: `STRETCH` in `cuda/attention_paged.cuh`.
const STRETCH: usize = 512;
/// A chunk with at most so many rows for each head of keys goes to `attend_split_*`: with so few of them the tiles of the
/// other kernel would be less than half full.
const FEW_QUERIES: usize = 48;
/// So many times a stretch must be spared being read again for its tiles to go to `attend_shared_*`: starting one more kernel
/// takes about as long as reading a few stretches from the second-level cache. By reckoning, not measured.
const WORTH_SHARING: usize = 12;

/// How a step's attention is shared out, the same for all layers.
#[derive(Debug)]
pub(crate) struct Sharing {
    pub(crate) heads: Heads,
    multiprocessors: usize,
    /// Tiles of `attend_paged_*`, four numbers each: see there.
    pub(crate) long: List,
    /// Tiles of `attend_split_*`.
    pub(crate) short: List,
    /// Rows of the one of most positions.
    pub(crate) tile_rows: usize,
    /// Stretches of the longest context.
    pub(crate) stretches: usize,
    /// Short tiles that attend to a stretch together, in `attend_shared_*`: four numbers each, see there.
    pub(crate) families: List,
    /// The tiles of families, one family after the other.
    pub(crate) members: List,
    /// What rows of short tiles come to in each stretch: weighted values, `[tiles, K, stretches, tile_rows, D]`. One
    /// layer after the other writes and reads it; the stream keeps them apart.
    pub(crate) partial: CudaSlice<f32>,
    /// The same: highest score and sum of weights, `[tiles, K, stretches, tile_rows, 2]`.
    pub(crate) extremes: CudaSlice<f32>,
}

/// Queries of a chunk that one block attends with.
#[derive(Debug, Clone, Copy)]
struct Tile {
    chunk: usize,
    /// The first of its positions within the chunk.
    first: usize,
    positions: usize,
    /// Stretches from 0 on that it attends to with others.
    shared: usize,
}

impl Tile {
    /// Those of a chunk of `length` positions, at most `most` each.
    fn of(chunk: usize, length: usize, most: usize) -> impl Iterator<Item = Self> {
        (0..length).step_by(most).map(move |first| Self {
            chunk,
            first,
            positions: most.min(length - first),
            shared: 0,
        })
    }

    /// The blocks of the stretches of which all its queries see every position, unless one stretch is all they see: what
    /// comes of that goes straight to where it belongs.
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
    /// For nothing yet. There is room for `sequences` of up to `context` positions that go on by one token each.
    pub(crate) fn new(gpu: &Arc<Gpu>, heads: Heads, (sequences, context): (usize, usize)) -> Result<Self> {
        assert!(heads.kv_heads > 0 && heads.heads.is_multiple_of(heads.kv_heads), "{heads:?}");
        assert!(heads.group() <= SHORT_ROWS, "{heads:?}");
        let stretches = sequences * context.div_ceil(STRETCH);
        let rows = stretches * heads.heads;
        Ok(Self {
            heads,
            multiprocessors: gpu.multiprocessors()?,
            long: List::new(gpu, 0)?,
            short: List::new(gpu, sequences * 4)?,
            tile_rows: 0,
            stretches: 1,
            // A family has two members at least, and there may be nearly as many empty ones.
            families: List::new(gpu, stretches * 4)?,
            members: List::new(gpu, stretches)?,
            partial: gpu.memory_for(rows * heads.size)?,
            extremes: gpu.memory_for(rows * 2)?,
        })
    }

    /// Becomes that of `chunks`, whose positions are all before `reach`.
    pub(crate) fn set(&mut self, gpu: &Arc<Gpu>, chunks: &[Chunk<'_>], reach: usize) -> Result<Moved> {
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
        // What sees most begins first, so that no block has it left at the end.
        long.sort_by_key(|tile| Reverse(chunks[tile.chunk].start + tile.first));
        let (tile_rows, rows) = self.rows_of_stretches(chunks, longest);
        self.tile_rows = tile_rows;
        let grows = self.extremes.len() < rows * 2;
        if grows {
            self.partial = gpu.memory_for(rows * self.heads.size)?;
            self.extremes = gpu.memory_for(rows * 2)?;
        }
        let (families, members) = self.put_together(&mut short, chunks);
        let moved = [
            self.long.set(gpu, &listed(&long))?,
            self.short.set(gpu, &listed(&short))?,
            self.families.set(gpu, &families)?,
            self.members.set(gpu, &members)?,
        ];
        Ok(if grows || moved.contains(&Moved::Yes) { Moved::Yes } else { Moved::No })
    }

    /// Finds out which of `tiles` share stretches, tells them, and lists families and members for the GPU: as many as are
    /// not too many for one block. Families of no members make the list longer, so that what is prepared for its length
    /// serves many steps.
    fn put_together(&self, tiles: &mut [Tile], chunks: &[Chunk<'_>]) -> (Vec<u32>, Vec<u32>) {
        let settled: Vec<&[u32]> = tiles.iter().map(|tile| tile.settled(chunks)).collect();
        let found = families(&settled, STRETCH / BLOCK_SIZE);
        let spared: usize = found.iter().map(|family| family.members.len() - 1).sum();
        let (mut list, mut all): (Vec<[u32; 4]>, Vec<u32>) = (Vec::new(), Vec::new());
        if spared < WORTH_SHARING {
            return (Vec::new(), all);
        }
        let most = LONG_ROWS / self.tile_rows;
        for Family { stretch, members } in found {
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

    /// Up to which length chunks go to `attend_split_*`. The results have the same bits wherever a chunk goes.
    fn longest_short(&self, chunks: &[Chunk<'_>]) -> usize {
        let few = (FEW_QUERIES / self.heads.group()).max(1);
        let positions = LONG_ROWS / self.heads.group();
        let tiles: usize = chunks
            .iter()
            .map(|chunk| chunk.length)
            .filter(|length| *length > few)
            .map(|length| length.div_ceil(positions))
            .sum();
        // Where long tiles would leave most of the GPU idle, sharing them out more finely costs more work, of which there
        // is little.
        let all_short = tiles * self.heads.kv_heads * 4 <= self.multiprocessors;
        let fits = |longest: &usize| self.rows_of_stretches(chunks, *longest).1 * 2 <= self.extremes.len();
        let choices = [if all_short { usize::MAX } else { few }, few];
        choices.into_iter().find(fits).unwrap_or(1)
    }

    /// Rows of a short tile and of `partial`, if chunks up to a length of `longest` are short.
    fn rows_of_stretches(&self, chunks: &[Chunk<'_>], longest: usize) -> (usize, usize) {
        let group = self.heads.group();
        let positions = SHORT_ROWS / group;
        let short = || chunks.iter().map(|chunk| chunk.length).filter(|length| *length <= longest);
        let tiles: usize = short().map(|length| length.div_ceil(positions)).sum();
        let tile_rows = short().map(|length| length.min(positions) * group).max().unwrap_or_default();
        match self.stretches {
            // It goes straight to where it belongs.
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

    /// How many families are listed, those without members too.
    pub(crate) fn families(&self) -> u32 {
        (self.families.len() / 4) as u32
    }
}
