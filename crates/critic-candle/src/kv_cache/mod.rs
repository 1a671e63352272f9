//! The paged cache of keys and values, and attention over it.

mod tensors;

use candle_core::{Result, Tensor};
use critic::Batch;
use kernels::{BLOCK_SIZE, Columns, Heads, PagedCache, Queries, Span};
use kernels_cuda::{Chunk, RotaryTable, Step};

use self::tensors::{Masks, TensorCache};
use crate::layers::{ComputeDevice, Rope, Rotation, Rows, gpu_result};

/// Keys and values of one layer, in blocks.
#[derive(Debug)]
pub(crate) enum LayerCache {
    /// On the CPU in f32.
    Paged(PagedCache, Heads),
    /// On the CPU in another type.
    Tensors(TensorCache, Heads),
    /// On a GPU.
    Gpu(kernels_cuda::PagedCache),
}

/// What attention needs to know of a step, worked out once for all layers.
pub(crate) enum Plan<'a> {
    /// On the CPU.
    Host(Box<HostPlan<'a>>),
    /// On a GPU: the chunks are there.
    Gpu(&'a Step, &'a RotaryTable),
}

/// What attention on the CPU needs to know of a step.
pub(crate) struct HostPlan<'a> {
    batch: &'a Batch,
    /// The block tables of the chunks.
    tables: Vec<Vec<u32>>,
    /// The masks of the chunks, where they are asked for.
    masks: Vec<Masks>,
    /// By every token's position.
    rotation: Rotation,
}

impl<'a> Plan<'a> {
    /// For `batch`, with rotations from `rope`; on a GPU `step` becomes that of the batch.
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
    pub(crate) fn new(heads: Heads, blocks: usize, device: &ComputeDevice) -> Result<Self> {
        match device {
            ComputeDevice::Kernels => Ok(Self::Paged(PagedCache::new(heads, blocks), heads)),
            ComputeDevice::Tensors(dtype) => {
                let shape = (heads.kv_heads, heads.size);
                let cache = TensorCache::new(shape, (blocks, BLOCK_SIZE), &candle_core::Device::Cpu, *dtype)?;
                Ok(Self::Tensors(cache, heads))
            }
            ComputeDevice::Gpu(gpu) => {
                let heads =
                    kernels_cuda::Heads { heads: heads.heads, kv_heads: heads.kv_heads, size: heads.size };
                Ok(Self::Gpu(gpu_result(kernels_cuda::PagedCache::new(gpu, heads, blocks))?))
            }
        }
    }

    /// Takes all its memory from the system now, and forgets what it holds. On a GPU it is always so.
    pub(crate) fn claim(&mut self) -> Result<()> {
        match self {
            Self::Paged(cache, _) => cache.claim(),
            Self::Tensors(cache, _) => cache.claim()?,
            Self::Gpu(_) => {}
        }
        Ok(())
    }

    /// Turns the queries and keys of `projections` `[T, (H + 2 K) * D]`, in which a row is queries, keys and values, by their
    /// positions, writes keys and values to their places, and attends with each query to its sequence up to its own
    /// position, to `attended` `[T, H * D]`.
    pub(crate) fn attend(
        &mut self,
        projections: &mut Rows,
        plan: &Plan<'_>,
        attended: &mut Rows,
    ) -> Result<()> {
        match (self, plan) {
            (Self::Paged(cache, heads), Plan::Host(plan)) => {
                plan.rotation.apply(projections, heads.heads + heads.kv_heads)?;
                let attended = attended.room((projections.shape()?.0, heads.heads * heads.size));
                attend_paged((cache, *heads), projections.floats()?, plan, attended);
                Ok(())
            }
            (Self::Tensors(cache, heads), Plan::Host(plan)) => {
                plan.rotation.apply(projections, heads.heads + heads.kv_heads)?;
                *attended = Rows::Tensor(attend_tensors((cache, *heads), projections.tensor()?, plan)?);
                Ok(())
            }
            (Self::Gpu(cache), Plan::Gpu(step, rotations)) => {
                let Rows::Gpu(projections) = projections else {
                    candle_core::bail!("rows that are not on the GPU came to its cache")
                };
                gpu_result(cache.rotate_and_store(projections, rotations, step))?;
                gpu_result(cache.attend(projections, step, attended.on(projections.gpu())?))
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
    let (key, value) = (part(heads)?, part(heads + kv_heads)?); // [K, T, D]
    let mut all = Vec::with_capacity(plan.batch.chunks.len());
    let mut row = 0;
    for (chunk, masks) in plan.batch.chunks.iter().zip(&plan.masks) {
        let count = chunk.tokens.len();
        cache.write(chunk, &key.narrow(1, row, count)?, &value.narrow(1, row, count)?)?;
        all.push(cache.attend(&query.narrow(0, row, count)?, chunk, masks)?);
        row += count;
    }
    Tensor::cat(&all, 0)
}

fn attend_paged(
    (cache, heads): (&mut PagedCache, Heads),
    projections: &[f32],
    plan: &HostPlan<'_>,
    attended: &mut [f32],
) {
    let (queries, keys) = (heads.heads * heads.size, heads.kv_heads * heads.size);
    let row = queries + 2 * keys;
    let part = |first, count| Columns::new(projections, row, first..first + count);
    let (query, key, value) = (part(0, queries), part(queries, keys), part(queries + keys, keys));
    for (span, rows) in plan.spans() {
        cache.write(span, key.part(rows.clone()), value.part(rows));
    }
    let chunk = |(span, rows)| Queries { span, queries: query.part(rows) };
    cache.attend(&plan.spans().map(chunk).collect::<Vec<_>>(), attended);
}
