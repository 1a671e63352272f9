//! Attention in which every position of a sequence sees every other, as between the patches of a tile.

use crate::{
    attention::RunAll,
    cache::{BLOCK_SIZE, Heads, PagedCache},
    isa::Isa,
    tile::Sight,
};

/// The queries, keys and values of several sequences of equal length, `[sequences, t, H, D]` each.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// Heads of a position; keys and values have as many as queries.
    pub heads: usize,
    /// Numbers of a head.
    pub head_size: usize,
    /// Positions of a sequence.
    pub length: usize,
    /// Queries.
    pub queries: &'a [f32],
    /// Keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

/// Writes to `attended` `[sequences, t, H * D]` what each query gets from all positions of its own sequence.
///
/// # Panics
/// When the lengths do not fit.
pub fn attend_all(dense: &Dense<'_>, isa: Isa, attended: &mut [f32]) {
    let lengths = [dense.queries.len(), dense.keys.len(), dense.values.len()];
    assert_eq!(lengths, [attended.len(); 3], "the lengths of queries, keys and values");
    let sequence = dense.length * dense.heads * dense.head_size;
    if attended.is_empty() {
        return;
    }
    assert!(attended.len().is_multiple_of(sequence), "whole sequences");
    let heads = Heads { heads: dense.heads, kv_heads: dense.heads, size: dense.head_size };
    let blocks = dense.length.div_ceil(BLOCK_SIZE);
    let table: Vec<u32> = (0..blocks as u32).collect();
    // One sequence after another: the keys and values of one, as the kernels read them, fit in a cache.
    let mut cache = PagedCache::new(heads, blocks).with_isa(isa);
    for (index, attended) in attended.chunks_mut(sequence).enumerate() {
        let own = index * sequence..(index + 1) * sequence;
        cache.fill(&dense.keys[own.clone()], &dense.values[own.clone()]);
        let tiles = cache.tiles(&table, Sight::All(dense.length), &dense.queries[own], attended);
        isa.run(RunAll { tiles, work: sequence * dense.length });
    }
}
