//! The paged cache of keys and values.

use candle_core::{DType, Device, Result, Tensor};
use critic::{BlockId, Chunk};

/// Keys and values of one layer, `[K, slots, D]` each: block `b` is slots `b * block_size ..`.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    block_size: usize,
}

/// A run of slots that lie side by side in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    slot: usize,
    length: usize,
}

impl LayerCache {
    /// An empty cache of `blocks` blocks of `block_size` positions.
    pub(crate) fn new(
        (kv_heads, head_size): (usize, usize),
        (blocks, block_size): (usize, usize),
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let shape = (kv_heads, blocks * block_size, head_size);
        let [keys, values] = [Tensor::zeros(shape, dtype, device)?, Tensor::zeros(shape, dtype, device)?];
        Ok(Self { keys, values, block_size })
    }

    /// Writes the keys and values `[K, t, D]` of `chunk` into its blocks.
    pub(crate) fn write(&self, chunk: &Chunk, keys: &Tensor, values: &Tensor) -> Result<()> {
        let (keys, values) = (keys.contiguous()?, values.contiguous()?);
        let mut done = 0;
        for run in runs(&chunk.block_table, self.block_size, chunk.start, chunk.end()) {
            self.keys.slice_set(&keys.narrow(1, done, run.length)?.contiguous()?, 1, run.slot)?;
            self.values.slice_set(&values.narrow(1, done, run.length)?.contiguous()?, 1, run.slot)?;
            done += run.length;
        }
        Ok(())
    }

    /// The keys and values `[K, end, D]` of positions `0..end` of the sequence with these blocks.
    pub(crate) fn read(&self, block_table: &[BlockId], end: usize) -> Result<(Tensor, Tensor)> {
        let runs: Vec<Run> = runs(block_table, self.block_size, 0, end).collect();
        let gather = |cache: &Tensor| {
            let pieces: Result<Vec<Tensor>> =
                runs.iter().map(|run| cache.narrow(1, run.slot, run.length)).collect();
            let pieces = pieces?;
            if let [piece] = pieces.as_slice() { Ok(piece.clone()) } else { Tensor::cat(&pieces, 1) }
        };
        Ok((gather(&self.keys)?, gather(&self.values)?))
    }
}

/// The slots of positions `start..end`, neighbouring blocks joined.
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
        let cache = LayerCache::new((2, 3), (6, 4), &Device::Cpu, DType::F32).unwrap();
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
                wants_logits: false,
            };
            let piece = whole.narrow(1, start, end - start).unwrap();
            cache.write(&chunk, &piece, &(&piece * 2.0).unwrap()).unwrap();
        }
        let (keys, values) = cache.read(&table, 13).unwrap();
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
