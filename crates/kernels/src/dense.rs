//! Attention in which every position of a sequence sees every other, as between the patches of an image tile.

use crate::{
    attention::RunAll,
    cache::{BLOCK_SIZE, Heads, PagedCache},
    columns::Columns,
    isa::Isa,
    tile::{Sight, Tile},
};

/// The queries, keys and values of several sequences of equal length, `[sequences * t, H * D]` each.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// The number of heads, for keys and values as for queries.
    pub heads: usize,
    /// The size (D) of a head.
    pub head_size: usize,
    /// The number of positions (t) of a sequence.
    pub length: usize,
    /// Queries.
    pub queries: Columns<'a>,
    /// Keys.
    pub keys: Columns<'a>,
    /// Values.
    pub values: Columns<'a>,
}

/// Writes to `attended` `[sequences * t, H * D]` the attention of each query to all positions of its own sequence.
///
/// # Panics
/// If the shapes do not match or the sequences are not whole.
pub fn attend_all(dense: &Dense<'_>, isa: Isa, attended: &mut [f32]) {
    let Dense { queries, keys, values, .. } = *dense;
    let row = dense.heads * dense.head_size;
    let all = [queries, keys, values];
    assert!(all.iter().all(|columns| columns.count() == row), "the lengths of a position's numbers");
    assert!(all.iter().all(|columns| columns.rows() * row == attended.len()), "as many of each");
    if attended.is_empty() {
        return;
    }
    assert!(queries.rows().is_multiple_of(dense.length), "whole sequences");
    let heads = Heads { heads: dense.heads, kv_heads: dense.heads, size: dense.head_size };
    let blocks = dense.length.div_ceil(BLOCK_SIZE);
    let table: Vec<u32> = (0..blocks as u32).collect();
    // One sequence after another: the packed keys and values of one fit in the processor's cache.
    let mut cache = PagedCache::new(heads, blocks).with_isa(isa);
    for (index, attended) in attended.chunks_mut(dense.length * row).enumerate() {
        let own = index * dense.length..(index + 1) * dense.length;
        cache.fill(keys.part(own.clone()), values.part(own.clone()));
        let work = attended.len() * dense.length;
        let runs = cache.runs((&table, Sight::All(dense.length)), queries.part(own), attended);
        let tiles = runs.flat_map(|run| Tile::of_each_head(&cache, vec![run])).collect();
        isa.run(RunAll { tiles, work });
    }
}
