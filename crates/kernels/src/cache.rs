//! Keys and values of one layer in blocks, laid out as the kernels read them.

use rayon::prelude::*;

use crate::{
    aligned::Aligned,
    columns::Columns,
    isa::{Isa, LANES},
    micro::PANEL,
};

/// Positions in a block: as many as a panel has columns, so that the keys of a block are one panel.
pub const BLOCK_SIZE: usize = PANEL;

/// The attention heads of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads: a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// The size (D) of a head.
    pub size: usize,
}

/// The start of a run of positions of one sequence, and the sequence's block table.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The first position.
    pub start: usize,
    /// The blocks of the sequence: entry `i` holds the positions from `i * BLOCK_SIZE` on.
    pub block_table: &'a [u32],
}

/// The keys and values of many sequences in one layer.
#[derive(Debug)]
pub struct PagedCache {
    keys: Aligned<f32>,   // [blocks][K][D][BLOCK_SIZE]
    values: Aligned<f32>, // [blocks][K][panels of D][BLOCK_SIZE][columns of the panel]
    pub(crate) heads: Heads,
    pub(crate) isa: Isa,
}

impl Heads {
    /// Returns the number of query heads that share a KV head.
    pub(crate) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the size of a value head, padded to whole vectors.
    pub(crate) fn wide(&self) -> usize {
        self.size.next_multiple_of(LANES)
    }
}

/// Returns the first column and the width of each panel of a value head with `wide` columns. The last panel is half
/// as wide as the others where that suffices.
pub(crate) fn panels(wide: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..wide).step_by(PANEL).map(move |first| (first, PANEL.min(wide - first)))
}

impl PagedCache {
    /// Creates an empty cache of `blocks` blocks.
    ///
    /// # Panics
    /// If `kv_heads` or `size` is 0, or `heads` is not a multiple of `kv_heads`.
    pub fn new(heads: Heads, blocks: usize) -> Self {
        assert!(heads.kv_heads > 0 && heads.size > 0, "{heads:?}");
        assert!(heads.heads.is_multiple_of(heads.kv_heads), "{heads:?}");
        let positions = blocks * heads.kv_heads * BLOCK_SIZE;
        Self {
            keys: Aligned::zeros(positions * heads.size),
            values: Aligned::zeros(positions * heads.wide()),
            heads,
            isa: Isa::best(),
        }
    }

    /// Commits all memory of the cache now and clears its contents. Without this call the system commits memory only
    /// as the cache fills, so a lack of memory would show in the middle of a step.
    pub fn claim(&mut self) {
        // The compiler may drop writes of zeros that it can see to be zeros.
        let zero = std::hint::black_box(0.0);
        self.keys.fill(zero);
        self.values.fill(zero);
    }

    /// Uses the instructions of `isa`; the results have the same bits.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Writes `keys` and `values`, `[t, K * D]` each, at the positions of `span`.
    ///
    /// # Panics
    /// If the shapes do not match the heads or each other, or the block table is too short or names a block beyond
    /// the cache.
    pub fn write(&mut self, span: Span<'_>, keys: Columns<'_>, values: Columns<'_>) {
        let heads = self.heads;
        let row = heads.kv_heads * heads.size;
        assert_eq!([keys.count(), values.count()], [row; 2], "the lengths of a position's keys and values");
        assert_eq!(keys.rows(), values.rows(), "as many keys as values");
        let (mut position, mut done) = (span.start, 0);
        while done < keys.rows() {
            let slot = position % BLOCK_SIZE;
            let block = span.block_table[position / BLOCK_SIZE] as usize;
            let end = keys.rows().min(done + BLOCK_SIZE - slot);
            let own_keys = &mut self.keys[block * row * BLOCK_SIZE..][..row * BLOCK_SIZE];
            let wide = heads.kv_heads * heads.wide() * BLOCK_SIZE;
            let own_values = &mut self.values[block * wide..][..wide];
            let own = (keys.part(done..end), values.part(done..end));
            write_slots(heads, (own_keys, own_values), slot, own);
            position += end - done;
            done = end;
        }
    }

    /// Writes the keys and values of one sequence, `[t, K * D]` each, into the blocks from 0 on.
    pub(crate) fn fill(&mut self, keys: Columns<'_>, values: Columns<'_>) {
        let heads = self.heads;
        let blocks = self.keys.par_chunks_mut(heads.kv_heads * heads.size * BLOCK_SIZE);
        let blocks = blocks.zip(self.values.par_chunks_mut(heads.kv_heads * heads.wide() * BLOCK_SIZE));
        blocks.enumerate().for_each(|(index, block)| {
            let positions = index * BLOCK_SIZE..keys.rows().min((index + 1) * BLOCK_SIZE);
            write_slots(heads, block, 0, (keys.part(positions.clone()), values.part(positions)));
        });
    }

    /// Returns the keys and values of head `head` in block `block`.
    pub(crate) fn head(&self, block: usize, head: usize) -> (&[f32], &[f32]) {
        let head = block * self.heads.kv_heads + head;
        let (size, wide) = (self.heads.size * BLOCK_SIZE, self.heads.wide() * BLOCK_SIZE);
        (&self.keys[head * size..][..size], &self.values[head * wide..][..wide])
    }
}

/// Writes keys and values `[t, K * D]` into one block, from slot `first` on.
fn write_slots(
    heads: Heads,
    (own_keys, own_values): (&mut [f32], &mut [f32]),
    first: usize,
    (keys, values): (Columns<'_>, Columns<'_>),
) {
    for (index, (keys, values)) in keys.iter().zip(values.iter()).enumerate() {
        let slot = first + index;
        // The heads are contiguous, so the keys of all heads are one run of dimensions.
        for (place, key) in own_keys[slot..].iter_mut().step_by(BLOCK_SIZE).zip(keys) {
            *place = *key;
        }
        let own_values = own_values.chunks_exact_mut(heads.wide() * BLOCK_SIZE);
        for (own, values) in own_values.zip(values.chunks_exact(heads.size)) {
            for (first, width) in panels(heads.wide()) {
                let values = &values[first..heads.size.min(first + width)];
                own[first * BLOCK_SIZE + slot * width..][..values.len()].copy_from_slice(values);
            }
        }
    }
}
