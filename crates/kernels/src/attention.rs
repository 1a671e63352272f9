//! Causal attention of chunks of several sequences, each to its own sequence, through block tables.

use rayon::prelude::*;

use crate::{
    ONE_THREAD,
    cache::{Heads, PagedCache, Span},
    columns::Columns,
    isa::{Kernel, Simd},
    tile::{Sight, Tile, common, settled},
};

/// Rows of a tile, each one query of one head, which share a block of keys and values while it is in the L1 cache.
const TILE_ROWS: usize = 56;

/// Tiles per thread when chunks of few positions are combined: with fewer tiles, some threads would wait for the
/// last; with more, each tile would read shared blocks again.
const TILES_PER_THREAD: usize = 2;

/// The queries of a chunk, whose keys and values are already in the cache.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// The chunk's first position and its sequence's block table.
    pub span: Span<'a>,
    /// `[t, H * D]`.
    pub queries: Columns<'a>,
}

/// The queries of some positions of one sequence.
pub(crate) struct Run<'a> {
    pub(crate) block_table: &'a [u32],
    pub(crate) sight: Sight,
    /// `[positions, H * D]`.
    pub(crate) queries: Columns<'a>,
    /// The attention output, `[positions, H * D]`.
    pub(crate) attended: &'a mut [f32],
}

impl PagedCache {
    /// Writes to `attended` `[sum of t, H * D]`, chunk by chunk, the attention of each query to the positions of its
    /// sequence up to its own: the softmax over keys of `query * key / sqrt(D)`, times the values.
    ///
    /// Blocks that several sequences begin with are read once for several of them.
    ///
    /// # Panics
    /// If the shapes do not match or a block table is too short.
    pub fn attend(&self, chunks: &[Queries<'_>], attended: &mut [f32]) {
        let row = self.heads.heads * self.heads.size;
        let total: usize = chunks.iter().map(|chunk| chunk.queries.rows()).sum();
        assert_eq!(total * row, attended.len(), "the length of what is attended to");
        let mut runs = Vec::new();
        let mut rest = attended;
        let mut work = 0;
        for chunk in chunks {
            assert_eq!(chunk.queries.count(), row, "the length of a position's queries");
            let (own, after) = rest.split_at_mut(chunk.queries.rows() * row);
            rest = after;
            let Span { start, block_table } = chunk.span;
            work += own.len() * (start + own.len() / row);
            runs.extend(self.runs((block_table, Sight::Causal(start)), chunk.queries, own));
        }
        let threads = rayon::current_num_threads() * TILES_PER_THREAD;
        let positions = (total * self.heads.kv_heads / threads).clamp(1, self.tile_positions());
        let tiles = together(runs, positions);
        let tiles = tiles.into_iter().flat_map(|runs| Tile::of_each_head(self, runs)).collect();
        self.isa.run(RunAll { tiles, work });
    }

    /// Splits the queries of one sequence into runs of at most as many positions as a tile has.
    pub(crate) fn runs<'a>(
        &self,
        (block_table, sight): (&'a [u32], Sight),
        queries: Columns<'a>,
        attended: &'a mut [f32],
    ) -> impl Iterator<Item = Run<'a>> {
        let Heads { heads, size, .. } = self.heads;
        let (row, positions) = (heads * size, self.tile_positions());
        attended.chunks_mut(positions * row).enumerate().map(move |(index, attended)| {
            let first = index * positions;
            let queries = queries.part(first..first + attended.len() / row);
            Run { block_table, sight: sight.after(first), queries, attended }
        })
    }

    /// Returns the number of positions of a tile.
    fn tile_positions(&self) -> usize {
        (TILE_ROWS / self.heads.group()).max(1)
    }
}

/// Combines runs whose sequences begin with the same blocks. The parts of such a group are about equally large and
/// have at most `most` positions, unless a single run has more. Parts that see fewer keys come first.
fn together(mut runs: Vec<Run<'_>>, most: usize) -> Vec<Vec<Run<'_>>> {
    runs.sort_by(|one, other| one.settled().cmp(other.settled()));
    let size = |runs: &[Run<'_>]| {
        let positions: usize = runs.iter().map(|run| run.queries.rows()).sum();
        (runs.len(), positions.div_ceil(positions.div_ceil(most)))
    };
    let related = |one: &Run<'_>, other: &Run<'_>| common(one.settled(), other.settled()) > 0;
    let prefix_groups: Vec<(usize, usize)> = runs.chunk_by(related).map(size).collect();
    let mut runs = runs.into_iter();
    let mut parts = Vec::with_capacity(runs.len());
    for (count, most) in prefix_groups {
        let (mut part, mut positions) = (Vec::new(), 0);
        for run in runs.by_ref().take(count) {
            if positions > 0 && positions + run.queries.rows() > most {
                parts.push(std::mem::take(&mut part));
                positions = 0;
            }
            positions += run.queries.rows();
            part.push(run);
        }
        parts.push(part);
    }
    parts.sort_by_key(|runs| runs.iter().map(Run::seen).sum::<usize>());
    parts
}

impl Run<'_> {
    /// Returns the blocks in which all its queries see every key.
    fn settled(&self) -> &[u32] {
        settled(self.block_table, self.sight)
    }

    /// Returns about how many keys its queries see in total.
    fn seen(&self) -> usize {
        self.queries.rows() * self.sight.visible(0)
    }
}

/// Runs tiles whose scores take about `work` multiply-adds in total.
pub(crate) struct RunAll<'a> {
    pub(crate) tiles: Vec<Tile<'a>>,
    pub(crate) work: usize,
}

impl Kernel for RunAll<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        if self.work < ONE_THREAD {
            self.tiles.into_iter().for_each(|tile| tile.run(simd));
        } else {
            // The last tiles see the most keys; they start first, so that no thread is left with one at the end.
            self.tiles.into_par_iter().rev().with_max_len(1).for_each(|tile| tile.run(simd));
        }
    }
}
