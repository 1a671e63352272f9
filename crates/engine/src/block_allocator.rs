//! Which blocks of the paged cache are free.

use critic::BlockId;

/// Hands out cache blocks, lowest number first, so that a fresh cache gives each sequence one contiguous run.
#[derive(Debug)]
pub(crate) struct BlockAllocator {
    /// Free blocks, the next one to hand out last.
    free: Vec<BlockId>,
    total: usize,
}

impl BlockAllocator {
    /// A cache of `total` free blocks.
    pub(crate) fn new(total: usize) -> Self {
        let free = (0..u32::try_from(total).expect("a cache has fewer than 2^32 blocks")).rev().map(BlockId);
        Self { free: free.collect(), total }
    }

    /// How many blocks are free.
    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// How many blocks there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Takes `count` blocks, or none when there are not enough.
    pub(crate) fn allocate(&mut self, count: usize) -> Option<Vec<BlockId>> {
        let rest = self.free.len().checked_sub(count)?;
        let mut blocks = self.free.split_off(rest);
        blocks.reverse();
        Some(blocks)
    }

    /// Takes back the blocks of a sequence that ended.
    pub(crate) fn release(&mut self, blocks: Vec<BlockId>) {
        self.free.extend(blocks.into_iter().rev());
        assert!(self.free.len() <= self.total, "a block was released twice");
    }
}

#[cfg(test)]
mod tests {
    use super::BlockAllocator;

    #[test]
    fn blocks_come_back() {
        let mut allocator = BlockAllocator::new(5);
        let first = allocator.allocate(3).unwrap();
        assert_eq!(first.iter().map(|block| block.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(allocator.allocate(3).is_none());
        assert_eq!(allocator.free_count(), 2);
        allocator.release(first);
        assert_eq!(allocator.free_count(), allocator.total());
        assert_eq!(allocator.allocate(5).unwrap().len(), 5);
    }
}
