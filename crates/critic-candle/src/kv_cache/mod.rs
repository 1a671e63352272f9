//! The paged cache of keys and values, and attention over it.

mod tensors;

use candle_core::{DType, Device, Result, Tensor};
use critic::Batch;
use kernels::{BLOCK_SIZE, Columns, Heads, PagedCache, Queries, Span};

use self::tensors::{Masks, TensorCache};
use crate::layers::{Rows, has_kernels};

/// Keys and values of one layer, in blocks.
#[derive(Debug)]
pub(crate) enum LayerCache {
    /// On the CPU in f32.
    Paged(PagedCache, Heads),
    /// Anywhere else.
    Tensors(TensorCache, Heads),
}

/// What attention needs to know of a step, worked out once for all layers.
pub(crate) struct Plan<'a> {
    batch: &'a Batch,
    /// The block tables of the chunks.
    tables: Vec<Vec<u32>>,
    /// The masks of the chunks, where they are asked for.
    masks: Vec<Masks>,
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
            return Ok(Self::Paged(PagedCache::new(heads, blocks), heads));
        }
        let cache = TensorCache::new((heads.kv_heads, heads.size), (blocks, BLOCK_SIZE), device, dtype)?;
        Ok(Self::Tensors(cache, heads))
    }

    /// Writes the keys and values of `projections` `[T, (H + 2 K) * D]`, in which a row is queries, keys and values, and
    /// attends with each query to its sequence up to its own position, to `attended` `[T, H * D]`.
    pub(crate) fn attend(&mut self, projections: &Rows, plan: &Plan<'_>, attended: &mut Rows) -> Result<()> {
        let tokens = projections.shape()?.0;
        match self {
            Self::Paged(cache, heads) => {
                let attended = attended.room((tokens, heads.heads * heads.size));
                attend_paged((cache, *heads), projections.floats()?, plan, attended);
            }
            Self::Tensors(cache, Heads { heads, kv_heads, size }) => {
                let projections = projections.tensor()?.reshape((tokens, *heads + 2 * *kv_heads, *size))?;
                let query = projections.narrow(1, 0, *heads)?; // [T, H, D]
                let part = |first| projections.narrow(1, first, *kv_heads)?.transpose(0, 1);
                let (key, value) = (part(*heads)?, part(*heads + *kv_heads)?); // [K, T, D]
                let mut all = Vec::with_capacity(plan.batch.chunks.len());
                let mut row = 0;
                for (chunk, masks) in plan.batch.chunks.iter().zip(&plan.masks) {
                    let count = chunk.tokens.len();
                    cache.write(chunk, &key.narrow(1, row, count)?, &value.narrow(1, row, count)?)?;
                    all.push(cache.attend(&query.narrow(0, row, count)?, chunk, masks)?);
                    row += count;
                }
                *attended = Rows::Tensor(Tensor::cat(&all, 0)?);
            }
        }
        Ok(())
    }
}

fn attend_paged(
    (cache, heads): (&mut PagedCache, Heads),
    projections: &[f32],
    plan: &Plan<'_>,
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
