//! The paged cache of keys and values, and attention over it.

mod tensors;
mod tokens;

use candle_core::{Result, Tensor};
use critic::Batch;
use kernels::{BLOCK_SIZE, Columns, Heads, PagedCache, Queries, Span};
use kernels_cuda::{Chunk, RotaryTable, Step};

use self::tensors::{Blocks, KeysValues, Masks, TensorCache};
pub(crate) use self::tokens::TokensOf;
use crate::{
    device::{ComputeDevice, gpu_result},
    layers::{Rope, Rotation},
    rows::Rows,
};

/// The keys and values of one layer, in blocks.
#[derive(Debug)]
pub(crate) enum LayerCache {
    /// On the CPU in f32.
    Paged(PagedCache, Heads),
    /// On the CPU in another type.
    Tensors(TensorCache, Heads),
    /// On a GPU.
    Gpu(kernels_cuda::PagedCache),
}

/// The memory that attention writes to.
pub(crate) struct AttentionBuffers<'a> {
    /// Becomes the attention of the wanted tokens, `[wanted, H * D]`.
    pub(crate) attended: &'a mut Rows,
    /// Working memory.
    pub(crate) scratch: &'a mut Rows,
}

/// The inputs of attention that depend on the step, computed once for all layers.
pub(crate) enum Plan<'a> {
    /// On the CPU.
    Host(Box<HostPlan<'a>>),
    /// On a GPU, which holds the chunks.
    Gpu(&'a Step, &'a RotaryTable),
}

/// The inputs of attention on the CPU that depend on the step.
pub(crate) struct HostPlan<'a> {
    batch: &'a Batch,
    /// The block tables of the chunks.
    tables: Vec<Vec<u32>>,
    /// The masks of the chunks; empty in f32, whose kernels need none.
    masks: Vec<Masks>,
    /// The rotation of each token by its position.
    rotation: Rotation,
}

impl<'a> Plan<'a> {
    /// The plan of `batch`, with rotations from `rope`. On a GPU, `step` is required and set to the chunks of the
    /// batch.
    pub(crate) fn new(batch: &'a Batch, rope: &'a Rope, step: Option<&'a mut Step>) -> Result<Self> {
        let table = |chunk: &critic::Chunk| chunk.block_table.iter().map(|block| block.0).collect();
        let tables: Vec<Vec<u32>> = batch.chunks.iter().map(table).collect();
        match (rope, step) {
            (Rope::Gpu(rotations), Some(step)) => {
                let chunks: Vec<Chunk<'_>> = batch
                    .chunks
                    .iter()
                    .zip(&tables)
                    .map(|(chunk, block_table)| Chunk {
                        start: chunk.start,
                        length: chunk.tokens.len(),
                        block_table,
                    })
                    .collect();
                gpu_result(step.set(&chunks))?;
                Ok(Self::Gpu(step, rotations))
            }
            (Rope::Host { cos, sin, head_size }, _) => {
                let positions: Vec<u32> =
                    batch.chunks.iter().flat_map(|chunk| chunk.start as u32..chunk.end() as u32).collect();
                let masks: Result<Vec<Masks>> = match cos {
                    Rows::Tensor(table) => batch
                        .chunks
                        .iter()
                        .map(|chunk| Masks::new(chunk, table.device(), table.dtype()))
                        .collect(),
                    Rows::Floats { .. } | Rows::Gpu(_) => Ok(Vec::new()),
                };
                let rotation = Rotation::at(&positions, (cos, sin), *head_size)?;
                Ok(Self::Host(Box::new(HostPlan { batch, tables, masks: masks?, rotation })))
            }
            (Rope::Gpu(_), None) => candle_core::bail!("a GPU has a place for each step"),
        }
    }
}

impl HostPlan<'_> {
    /// For each chunk, its place in its sequence and its range of rows in the step.
    fn spans(&self) -> impl Iterator<Item = (Span<'_>, std::ops::Range<usize>)> {
        let mut row = 0;
        self.batch.chunks.iter().zip(&self.tables).map(move |(chunk, table)| {
            let rows = row..row + chunk.tokens.len();
            row = rows.end;
            (Span { start: chunk.start, block_table: table }, rows)
        })
    }
}

impl<'a> HostPlan<'a> {
    /// The position in its sequence of each of `tokens`, rows of the step in ascending order, and its row.
    fn tokens(&'a self, tokens: &'a [u32]) -> impl Iterator<Item = (Span<'a>, usize)> {
        let mut tokens = tokens.iter().map(|token| *token as usize).peekable();
        self.spans().flat_map(move |(Span { start, block_table }, rows)| {
            let own = std::iter::from_fn(|| tokens.next_if(|token| rows.contains(token)));
            own.map(|row| (Span { start: start + row - rows.start, block_table }, row)).collect::<Vec<_>>()
        })
    }
}

impl LayerCache {
    /// An empty cache of `blocks` blocks.
    pub(crate) fn new(heads: Heads, blocks: usize, device: &ComputeDevice) -> Result<Self> {
        match device {
            ComputeDevice::Kernels => Ok(Self::Paged(PagedCache::new(heads, blocks), heads)),
            ComputeDevice::Tensors(dtype) => {
                let blocks = Blocks { count: blocks, size: BLOCK_SIZE };
                let cache = TensorCache::new(heads, blocks, &candle_core::Device::Cpu, *dtype)?;
                Ok(Self::Tensors(cache, heads))
            }
            ComputeDevice::Gpu(gpu) => {
                let heads =
                    kernels_cuda::Heads { heads: heads.heads, kv_heads: heads.kv_heads, size: heads.size };
                Ok(Self::Gpu(gpu_result(kernels_cuda::PagedCache::new(gpu, heads, blocks))?))
            }
        }
    }

    /// Makes the system allocate all memory of the cache now, and clears it. On a GPU, memory is always allocated
    /// already.
    pub(crate) fn claim(&mut self) -> Result<()> {
        match self {
            Self::Paged(cache, _) => cache.claim(),
            Self::Tensors(cache, _) => cache.claim()?,
            Self::Gpu(_) => {}
        }
        Ok(())
    }

    /// Causal attention of a step. Each row of `projections` `[T, (H + 2 K) * D]` holds queries, keys and values.
    /// Rotates queries and keys by their positions, writes keys and values to the cache, and attends with the
    /// queries of the `wanted` tokens to their sequences up to their own positions.
    pub(crate) fn attend(
        &mut self,
        projections: &mut Rows,
        (plan, wanted): (&Plan<'_>, TokensOf<'_>),
        AttentionBuffers { attended, scratch }: AttentionBuffers<'_>,
    ) -> Result<()> {
        match (self, plan) {
            (Self::Paged(cache, heads), Plan::Host(plan)) => {
                plan.rotation.apply(projections, heads.heads + heads.kv_heads)?;
                let tokens = match wanted {
                    TokensOf::Every => projections.shape()?.0,
                    TokensOf::These(tokens) => tokens.len(),
                };
                let attended = attended.room((tokens, heads.heads * heads.size));
                attend_paged((cache, *heads), projections.floats()?, (plan, wanted), attended);
                Ok(())
            }
            (Self::Tensors(cache, heads), Plan::Host(plan)) => {
                plan.rotation.apply(projections, heads.heads + heads.kv_heads)?;
                let all = Rows::Tensor(attend_tensors((cache, *heads), projections.tensor()?, plan)?);
                match wanted {
                    TokensOf::Every => *attended = all,
                    TokensOf::These([]) => {}
                    TokensOf::These(tokens) => *attended = all.pick(tokens)?,
                }
                Ok(())
            }
            (Self::Gpu(cache), Plan::Gpu(step, rotations)) => {
                let Rows::Gpu(projections) = projections else {
                    candle_core::bail!("rows that are not on the GPU came to its cache")
                };
                gpu_result(cache.rotate_and_store(projections, rotations, step))?;
                let attended = attended.on(projections.gpu())?;
                match wanted {
                    TokensOf::Every => gpu_result(cache.attend(projections, step, attended)),
                    TokensOf::These([]) => Ok(()),
                    TokensOf::These(tokens) => {
                        let all = scratch.on(projections.gpu())?;
                        gpu_result(cache.attend(projections, step, all))?;
                        gpu_result(attended.gather(all, tokens))
                    }
                }
            }
            (Self::Paged(..) | Self::Tensors(..), Plan::Gpu(..)) | (Self::Gpu(_), Plan::Host(_)) => {
                candle_core::bail!("a step and a cache are on different devices")
            }
        }
    }
}

fn attend_tensors(
    (cache, Heads { heads, kv_heads, size }): (&mut TensorCache, Heads),
    projections: &Tensor,
    plan: &HostPlan<'_>,
) -> Result<Tensor> {
    let projections = projections.reshape(((), heads + 2 * kv_heads, size))?;
    let query = projections.narrow(1, 0, heads)?; // [T, H, D]
    let part = |first| projections.narrow(1, first, kv_heads)?.transpose(0, 1);
    let new = KeysValues { keys: part(heads)?, values: part(heads + kv_heads)? }; // [K, T, D]
    let mut all = Vec::with_capacity(plan.batch.chunks.len());
    let mut row = 0;
    for (chunk, masks) in plan.batch.chunks.iter().zip(&plan.masks) {
        let count = chunk.tokens.len();
        cache.write(chunk, &new.narrow(row, count)?)?;
        all.push(cache.attend(&query.narrow(0, row, count)?, chunk, masks)?);
        row += count;
    }
    Tensor::cat(&all, 0)
}

fn attend_paged(
    (cache, heads): (&mut PagedCache, Heads),
    projections: &[f32],
    (plan, wanted): (&HostPlan<'_>, TokensOf<'_>),
    attended: &mut [f32],
) {
    let (queries, keys) = (heads.heads * heads.size, heads.kv_heads * heads.size);
    let row = queries + 2 * keys;
    let part = |first, count| Columns::new(projections, row, first..first + count);
    let (query, key, value) = (part(0, queries), part(queries, keys), part(queries + keys, keys));
    for (span, rows) in plan.spans() {
        cache.write(span, key.part(rows.clone()), value.part(rows));
    }
    let queries: Vec<Queries<'_>> = match wanted {
        TokensOf::Every => {
            plan.spans().map(|(span, rows)| Queries { span, queries: query.part(rows) }).collect()
        }
        TokensOf::These(tokens) => plan
            .tokens(tokens)
            .map(|(span, row)| Queries { span, queries: query.part(row..row + 1) })
            .collect(),
    };
    cache.attend(&queries, attended);
}
