//! The free list of the paged cache.

use critic::BlockId;

/// Allocates cache blocks, lowest number first, so that in a fresh cache each sequence gets a contiguous run.
#[derive(Debug)]
pub(crate) struct BlockAllocator {
    /// Free blocks; the next one to allocate is the last.
    free: Vec<BlockId>,
    total: usize,
}

impl BlockAllocator {
    /// An allocator of `total` free blocks.
    pub(crate) fn new(total: usize) -> Self {
        let free = (0..u32::try_from(total).expect("a cache has fewer than 2^32 blocks")).rev().map(BlockId);
        Self { free: free.collect(), total }
    }

    /// The number of free blocks.
    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// The total number of blocks.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Allocates `count` blocks; `None` if there are not enough.
    pub(crate) fn allocate(&mut self, count: usize) -> Option<Vec<BlockId>> {
        let rest = self.free.len().checked_sub(count)?;
        let mut blocks = self.free.split_off(rest);
        blocks.reverse();
        Some(blocks)
    }

    /// Frees the blocks of a sequence that ended.
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
