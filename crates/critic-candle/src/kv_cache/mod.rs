//! The paged cache of keys and values, and attention over it.

mod tensors;

use candle_core::{DType, Device, Result, Tensor};
use critic::Batch;
use kernels::{BLOCK_SIZE, Heads, PagedCache, Queries, Span};

use self::tensors::{Masks, TensorCache};
use crate::layers::{has_kernels, with_floats};

/// Keys and values of one layer, in blocks.
#[derive(Debug)]
pub(crate) enum LayerCache {
    /// On the CPU in f32.
    Paged(PagedCache),
    /// Anywhere else.
    Tensors(TensorCache),
}

/// What attention needs to know of a step, worked out once for all layers.
pub(crate) struct Plan<'a> {
    batch: &'a Batch,
    /// The block tables of the chunks.
    tables: Vec<Vec<u32>>,
    /// The masks of the chunks, where they are asked for.
    masks: Vec<Masks>,
}

/// Queries `[T, H, D]`, keys and values `[T, K, D]` of a step.
pub(crate) struct Projections {
    pub(crate) query: Tensor,
    pub(crate) key: Tensor,
    pub(crate) value: Tensor,
}

impl<'a> Plan<'a> {
    /// For `batch`, with tensors of `dtype` on `device`.
    pub(crate) fn new(batch: &'a Batch, device: &Device, dtype: DType) -> Result<Self> {
        let table = |chunk: &critic::Chunk| chunk.block_table.iter().map(|block| block.0).collect();
        let masks: Result<Vec<Masks>> = match has_kernels(device, dtype) {
            true => Ok(Vec::new()),
            false => batch.chunks.iter().map(|chunk| Masks::new(chunk, device, dtype)).collect(),
        };
        Ok(Self { batch, tables: batch.chunks.iter().map(table).collect(), masks: masks? })
    }

    /// For each chunk where it stands and which rows of the step it has.
    fn spans(&self) -> impl Iterator<Item = (Span<'_>, std::ops::Range<usize>)> {
        let mut row = 0;
        self.batch.chunks.iter().zip(&self.tables).map(move |(chunk, table)| {
            let rows = row..row + chunk.tokens.len();
            row = rows.end;
            (Span { start: chunk.start, block_table: table }, rows)
        })
    }
}

impl LayerCache {
    /// An empty cache of `blocks` blocks.
    pub(crate) fn new(heads: Heads, blocks: usize, device: &Device, dtype: DType) -> Result<Self> {
        if has_kernels(device, dtype) {
            return Ok(Self::Paged(PagedCache::new(heads, blocks)));
        }
        let cache = TensorCache::new((heads.kv_heads, heads.size), (blocks, BLOCK_SIZE), device, dtype)?;
        Ok(Self::Tensors(cache))
    }

    /// Writes keys and values, and attends with each query to its sequence up to its own position, to `[T, H * D]`.
    pub(crate) fn attend(&mut self, projections: &Projections, plan: &Plan<'_>) -> Result<Tensor> {
        match self {
            Self::Paged(cache) => attend_paged(cache, projections, plan),
            Self::Tensors(cache) => {
                let mut attended = Vec::with_capacity(plan.batch.chunks.len());
                let Projections { query, key, value } = projections;
                let (key, value) = (key.transpose(0, 1)?, value.transpose(0, 1)?); // [K, T, D]
                let mut row = 0;
                for (chunk, masks) in plan.batch.chunks.iter().zip(&plan.masks) {
                    let count = chunk.tokens.len();
                    cache.write(chunk, &key.narrow(1, row, count)?, &value.narrow(1, row, count)?)?;
                    attended.push(cache.attend(&query.narrow(0, row, count)?, chunk, masks)?);
                    row += count;
                }
                Tensor::cat(&attended, 0)
            }
        }
    }
}

fn attend_paged(cache: &mut PagedCache, projections: &Projections, plan: &Plan<'_>) -> Result<Tensor> {
    let Projections { query, key, value } = projections;
    let (tokens, heads, size) = query.dims3()?;
    let (row, kv_row) = (heads * size, key.dim(1)? * size);
    let mut attended = vec![0.0; tokens * row];
    with_floats(key, |keys| {
        with_floats(value, |values| {
            for (span, rows) in plan.spans() {
                let own = rows.start * kv_row..rows.end * kv_row;
                cache.write(span, &keys[own.clone()], &values[own]);
            }
        })
    })??;
    with_floats(query, |queries| {
        let chunk = |(span, rows): (_, std::ops::Range<usize>)| Queries {
            span,
            queries: &queries[rows.start * row..rows.end * row],
        };
        cache.attend(&plan.spans().map(chunk).collect::<Vec<_>>(), &mut attended);
    })?;
    Tensor::from_vec(attended, (tokens, row), query.device())
}
