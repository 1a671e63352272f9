//! The cache as tensors, for devices and types that have no kernels of their own.

use candle_core::{DType, Device, Result, Tensor};
use critic::{BlockId, Chunk};
use kernels::Heads;

use crate::layers::softmax;

/// Query rows that attend at once: bounds the matrix of scores of a head to this times the context.
const QUERY_ROWS: usize = 256;

/// The causal masks of a chunk's pieces of at most [`QUERY_ROWS`] queries; `None` for a single query, which sees
/// every key.
pub(crate) struct Masks(Vec<Option<Tensor>>);

/// Keys and values of positions of one layer, `[K, positions, D]` each.
#[derive(Debug)]
pub(crate) struct KeysValues {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

/// The blocks of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    pub(crate) count: usize,
    /// Positions of a block.
    pub(crate) size: usize,
}

/// Keys and values of one layer in slots for positions; block `b` starts at slot `b * block_size`.
#[derive(Debug)]
pub(crate) struct TensorCache {
    slots: KeysValues,
    block_size: usize,
}

/// A run of adjacent slots of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    slot: usize,
    length: usize,
}

impl KeysValues {
    /// Those of `count` positions from the position `first` on.
    pub(crate) fn narrow(&self, first: usize, count: usize) -> Result<Self> {
        Ok(Self { keys: self.keys.narrow(1, first, count)?, values: self.values.narrow(1, first, count)? })
    }

    /// The same numbers without gaps in memory.
    fn contiguous(&self) -> Result<Self> {
        Ok(Self { keys: self.keys.contiguous()?, values: self.values.contiguous()? })
    }
}

impl TensorCache {
    /// An empty cache of `blocks` for these `heads`.
    pub(crate) fn new(heads: Heads, blocks: Blocks, device: &Device, dtype: DType) -> Result<Self> {
        let shape = (heads.kv_heads, blocks.count * blocks.size, heads.size);
        let [keys, values] = [Tensor::zeros(shape, dtype, device)?, Tensor::zeros(shape, dtype, device)?];
        Ok(Self { slots: KeysValues { keys, values }, block_size: blocks.size })
    }

    /// Makes the system allocate all memory of the cache now, and clears it.
    pub(crate) fn claim(&self) -> Result<()> {
        self.slots.keys.zero_set()?;
        self.slots.values.zero_set()
    }

    /// Writes the keys and values `[K, t, D]` of `chunk` into its blocks.
    pub(crate) fn write(&self, chunk: &Chunk, new: &KeysValues) -> Result<()> {
        let new = new.contiguous()?;
        let mut done = 0;
        for run in runs(&chunk.block_table, self.block_size, chunk.start, chunk.end()) {
            let piece = new.narrow(done, run.length)?.contiguous()?;
            self.slots.keys.slice_set(&piece.keys, 1, run.slot)?;
            self.slots.values.slice_set(&piece.values, 1, run.slot)?;
            done += run.length;
        }
        Ok(())
    }

    /// The keys and values `[K, end, D]` of positions `0..end` of the sequence with these blocks.
    pub(crate) fn read(&self, block_table: &[BlockId], end: usize) -> Result<KeysValues> {
        let runs: Vec<Run> = runs(block_table, self.block_size, 0, end).collect();
        let gather = |cache: &Tensor| {
            let pieces: Result<Vec<Tensor>> =
                runs.iter().map(|run| cache.narrow(1, run.slot, run.length)).collect();
            let pieces = pieces?;
            if let [piece] = pieces.as_slice() { Ok(piece.clone()) } else { Tensor::cat(&pieces, 1) }
        };
        Ok(KeysValues { keys: gather(&self.slots.keys)?, values: gather(&self.slots.values)? })
    }

    /// Attention of the queries `[t, H, D]` of one chunk over its sequence so far; returns `[t, H * D]`.
    pub(super) fn attend(&self, query: &Tensor, chunk: &Chunk, masks: &Masks) -> Result<Tensor> {
        let all = self.read(&chunk.block_table, chunk.end())?; // [K, S, D]
        let mut rows = Vec::with_capacity(masks.0.len());
        for ((first, length), mask) in pieces(chunk).zip(&masks.0) {
            let seen = chunk.start + first + length; // no query of this piece sees later keys
            let piece = query.narrow(0, first, length)?;
            rows.push(attend_piece(&piece, mask.as_ref(), &all.narrow(0, seen)?)?);
        }
        Tensor::cat(&rows, 0)
    }
}

impl Masks {
    /// The masks of the pieces of `chunk`.
    pub(super) fn new(chunk: &Chunk, device: &Device, dtype: DType) -> Result<Self> {
        let mask = |(first, length): (usize, usize)| {
            let start = chunk.start + first;
            causal_mask(length, start, start + length, device)?.to_dtype(dtype)
        };
        pieces(chunk)
            .map(|piece| (piece.1 > 1).then(|| mask(piece)).transpose())
            .collect::<Result<_>>()
            .map(Self)
    }
}

/// Attention of queries `[t, H, D]` over keys and values `[K, S, D]`, with a mask `[t, S]`; returns `[t, H * D]`.
fn attend_piece(
    query: &Tensor,
    mask: Option<&Tensor>,
    KeysValues { keys, values }: &KeysValues,
) -> Result<Tensor> {
    let (count, heads, head_size) = query.dims3()?;
    let (kv_heads, seen, _) = keys.dims3()?;
    let group = heads / kv_heads;
    let scale = 1.0 / (head_size as f64).sqrt();
    // Query heads that share a key head become rows of one matrix product.
    let query = (query * scale)?
        .reshape((count, kv_heads, group, head_size))?
        .permute((1, 2, 0, 3))?
        .contiguous()?
        .reshape((kv_heads, group * count, head_size))?;
    let mut scores = query.matmul(&keys.t()?)?; // [K, group * t, S]
    if let Some(mask) = mask {
        let grouped = scores.reshape((kv_heads, group, count, seen))?;
        scores = grouped.broadcast_add(mask)?.reshape((kv_heads, group * count, seen))?;
    }
    softmax(&scores)?
        .matmul(values)? // [K, group * t, D]
        .reshape((kv_heads, group, count, head_size))?
        .permute((2, 0, 1, 3))? // [t, K, group, D]
        .contiguous()?
        .reshape((count, heads * head_size))
}

/// The pieces in which the queries of a chunk attend: index of the first query, and their number.
fn pieces(chunk: &Chunk) -> impl Iterator<Item = (usize, usize)> {
    let count = chunk.tokens.len();
    (0..count).step_by(QUERY_ROWS).map(move |first| (first, QUERY_ROWS.min(count - first)))
}

/// 0 where the query at `start + row` may see the key at `column`, minus infinity elsewhere: `[rows, columns]`.
fn causal_mask(rows: usize, start: usize, columns: usize, device: &Device) -> Result<Tensor> {
    let value = |row: usize, column: usize| if column <= start + row { 0.0 } else { f32::NEG_INFINITY };
    let mask: Vec<f32> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect();
    Tensor::from_vec(mask, (rows, columns), device)
}

/// The slots of positions `start..end`, with adjacent blocks joined to one run.
fn runs(table: &[BlockId], block_size: usize, start: usize, end: usize) -> impl Iterator<Item = Run> {
    let mut position = start;
    std::iter::from_fn(move || {
        if position >= end {
            return None;
        }
        let block = position / block_size;
        let slot = table[block].0 as usize * block_size + position % block_size;
        let mut last = block;
        while (last + 1) * block_size < end && table[last + 1].0 == table[last].0 + 1 {
            last += 1;
        }
        let length = end.min((last + 1) * block_size) - position;
        position += length;
        Some(Run { slot, length })
    })
}

#[cfg(test)]
mod tests {
    use critic::{BlockId, SequenceId, TokenId};

    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_the_blocks() {
        let heads = Heads { heads: 2, kv_heads: 2, size: 3 };
        let blocks = Blocks { count: 6, size: 4 };
        let cache = TensorCache::new(heads, blocks, &Device::Cpu, DType::F32).unwrap();
        let table = [5, 1, 2, 0].map(BlockId);
        let whole =
            Tensor::arange(0f32, 2.0 * 13.0 * 3.0, &Device::Cpu).unwrap().reshape((2, 13, 3)).unwrap();
        for (start, end) in [(0, 5), (5, 6), (6, 13)] {
            let chunk = Chunk {
                sequence: SequenceId(0),
                tokens: vec![TokenId(0); end - start],
                start,
                block_table: table.to_vec(),
                visuals: Vec::new(),
                wants: critic::Wants::Nothing,
            };
            let keys = whole.narrow(1, start, end - start).unwrap();
            let values = (&keys * 2.0).unwrap();
            cache.write(&chunk, &KeysValues { keys, values }).unwrap();
        }
        let KeysValues { keys, values } = cache.read(&table, 13).unwrap();
        assert_eq!(keys.to_vec3::<f32>().unwrap(), whole.to_vec3::<f32>().unwrap());
        assert_eq!(values.to_vec3::<f32>().unwrap(), (whole * 2.0).unwrap().to_vec3::<f32>().unwrap());
    }

    #[test]
    fn neighbouring_blocks_are_one_run() {
        let table = [3, 4, 5, 1].map(BlockId);
        let found: Vec<Run> = runs(&table, 4, 2, 15).collect();
        assert_eq!(found, [Run { slot: 14, length: 10 }, Run { slot: 4, length: 3 }]);
    }
}
