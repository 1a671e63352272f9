//! Attention of chunks of several sequences to their own beginnings, through block tables.

use rayon::prelude::*;

use crate::{
    ONE_THREAD,
    cache::{Heads, PagedCache, Span},
    columns::Columns,
    isa::{Kernel, Simd},
    tile::{Sight, Tile},
};

/// Rows, each one query of one head, that share a block of keys and values while it is in the first-level cache.
const TILE_ROWS: usize = 56;

/// The queries of a chunk, whose keys and values are written already.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// Where the chunk stands.
    pub span: Span<'a>,
    /// `[t, H * D]`.
    pub queries: Columns<'a>,
}

impl PagedCache {
    /// Writes to `attended` `[sum of t, H * D]`, chunk after chunk, what each query gets from the positions of its
    /// sequence up to its own: the softmax over keys of `query * key / sqrt(D)`, times the values.
    ///
    /// # Panics
    /// When the lengths do not fit or a table is too short.
    pub fn attend(&self, chunks: &[Queries<'_>], attended: &mut [f32]) {
        let row = self.heads.heads * self.heads.size;
        let total: usize = chunks.iter().map(|chunk| chunk.queries.rows()).sum();
        assert_eq!(total * row, attended.len(), "the length of what is attended to");
        let mut tiles = Vec::new();
        let mut rest = attended;
        let mut work = 0;
        for chunk in chunks {
            assert_eq!(chunk.queries.count(), row, "the length of a position's queries");
            let (own, after) = rest.split_at_mut(chunk.queries.rows() * row);
            rest = after;
            let Span { start, block_table } = chunk.span;
            work += own.len() * (start + own.len() / row);
            tiles.extend(self.tiles(block_table, Sight::Causal(start), chunk.queries, own));
        }
        self.isa.run(RunAll { tiles, work });
    }

    /// Cuts the queries of one chunk up by positions and heads of keys; every tile has its own part of `attended`.
    pub(crate) fn tiles<'a>(
        &'a self,
        block_table: &'a [u32],
        sight: Sight,
        queries: Columns<'a>,
        attended: &'a mut [f32],
    ) -> Vec<Tile<'a>> {
        let Heads { heads, kv_heads, size } = self.heads;
        let row = heads * size;
        let positions = (TILE_ROWS / self.heads.group().max(1)).max(1);
        let mut tiles = Vec::new();
        for (index, attended) in attended.chunks_mut(positions * row).enumerate() {
            let position = index * positions;
            let queries = queries.part(position..position + attended.len() / row);
            let first = tiles.len();
            tiles.extend((0..kv_heads).map(|head| Tile {
                cache: self,
                block_table,
                head,
                sight: sight.after(position),
                queries,
                outputs: Vec::with_capacity(positions),
            }));
            for position in attended.chunks_mut(row) {
                let heads = position.chunks_mut(self.heads.group() * size);
                tiles[first..].iter_mut().zip(heads).for_each(|(tile, outputs)| tile.outputs.push(outputs));
            }
        }
        tiles
    }
}

/// Runs tiles that have `work` multiply-adds together.
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
            // The last queries see most; those tiles begin first, so that no thread has one left at the end.
            self.tiles.into_par_iter().rev().with_max_len(1).for_each(|tile| tile.run(simd));
        }
    }
}
