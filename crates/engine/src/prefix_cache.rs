//! The prefix cache: blocks whose keys and values are kept after their sequence ends, looked up by their content.
//!
//! The cache is a tree: each node is one full block, and its parent is the block before it. The key of a node is a
//! digest of its content and its parent's key, so that the longest cached prefix of a prompt is found with one
//! look-up per block. Nodes in use by running sequences are leased. Among the others, the least recently used leaf
//! is evicted first, but a block that was found again counts as used later, by as many uses as there are blocks.
//! Blocks of a single prompt, which are the majority, therefore do not evict blocks that many prompts share, and
//! those are evicted too when they are no longer used.
//!
//! Blocks that may be wrong are withdrawn: no later prompt finds them, though sequences that lease them go on. The blocks
//! of a prompt are withdrawn from the first one on, with all that were computed after it. A sequence therefore leases
//! either blocks that can be found, or withdrawn ones, and never both.

use std::collections::{BTreeSet, HashMap};

use critic::{BlockId, Encoded};
use sha2::{Digest, Sha256};

use crate::request::{Tenant, Terms};

/// A digest of a full block's content and of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockKey([u8; 32]);

impl BlockKey {
    /// The first 64 bits of the key.
    pub(crate) fn bits(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The parent key of the first block of every prompt of `tenant` with its salt. The secret keeps clients from
/// computing keys of another tenant, and no salt leads to them.
pub(crate) fn root(secret: &[u8; 32], tenant: &Tenant, terms: &Terms) -> [u8; 32] {
    Sha256::new()
        .chain_update(secret)
        .chain_update((tenant.0.len() as u64).to_le_bytes())
        .chain_update(tenant.0.as_bytes())
        .chain_update(terms.cache_salt.as_bytes())
        .finalize()
        .into()
}

/// The keys of the shareable full blocks of `prompt`. The last token is never included, since it must be run for
/// its logits.
///
/// A position of an image is hashed as the image's 256-bit content hash and the offset in it, never as its
/// placeholder token, so that two images cannot be confused. `root` is the parent key of the first block.
pub(crate) fn block_keys(prompt: &Encoded, block_size: usize, root: [u8; 32]) -> Vec<BlockKey> {
    let shareable = prompt.tokens.len().saturating_sub(1) / block_size;
    let mut visuals = prompt.visuals.iter().peekable();
    let mut parent = root;
    (0..shareable)
        .map(|block| {
            let mut hasher = Sha256::new();
            hasher.update(parent);
            let mut position = block * block_size;
            let end = position + block_size;
            while position < end {
                while visuals.next_if(|visual| visual.start + visual.length <= position).is_some() {}
                match visuals.peek().filter(|visual| visual.start <= position) {
                    Some(visual) => {
                        let stop = end.min(visual.start + visual.length);
                        hasher.update([1]);
                        hasher.update(visual.hash);
                        hasher.update(((position - visual.start) as u64).to_le_bytes());
                        hasher.update(((stop - position) as u64).to_le_bytes());
                        position = stop;
                    }
                    None => {
                        hasher.update([0]);
                        hasher.update(prompt.tokens[position].0.to_le_bytes());
                        position += 1;
                    }
                }
            }
            parent = hasher.finalize().into();
            BlockKey(parent)
        })
        .collect()
}

#[derive(Debug)]
struct Node {
    block: BlockId,
    parent: Option<BlockKey>,
    children: usize,
    /// Number of running sequences that use this block. A lease on a node implies leases on all its ancestors.
    leases: usize,
    /// Eviction priority, as a time of use: the lowest is evicted first.
    worth: u64,
}

/// The tree of cached blocks.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    nodes: HashMap<BlockKey, Node>,
    /// Withdrawn blocks with leases, and the number of these.
    withdrawn: HashMap<BlockId, usize>,
    /// Leaves without leases, the next one to evict first.
    evictable: BTreeSet<(u64, BlockKey)>,
    /// Number of nodes without leases.
    idle: usize,
    /// Counts look-ups; only the order matters.
    clock: u64,
    /// The number of uses by which a block that was found again counts as used later.
    credit: u64,
}

impl PrefixCache {
    /// An empty cache for a memory of `blocks` blocks.
    pub(crate) fn new(blocks: usize) -> Self {
        Self {
            nodes: HashMap::new(),
            withdrawn: HashMap::new(),
            evictable: BTreeSet::new(),
            idle: 0,
            clock: 0,
            credit: blocks as u64,
        }
    }

    /// The number of leading `keys` that are cached.
    pub(crate) fn known(&self, keys: &[BlockKey]) -> usize {
        keys.iter().take_while(|key| self.nodes.contains_key(key)).count()
    }

    /// Leases the blocks of the longest cached prefix of `keys`.
    pub(crate) fn lease(&mut self, keys: &[BlockKey]) -> Vec<BlockId> {
        self.clock += 1;
        let known = self.known(keys);
        keys[..known].iter().map(|key| self.lease_node(key)).collect()
    }

    /// Adds `block`, whose key is `keys[index]`, as a child of `keys[index - 1]`, leased by the caller.
    pub(crate) fn insert(&mut self, keys: &[BlockKey], index: usize, block: BlockId) {
        let parent = index.checked_sub(1).map(|parent| keys[parent]);
        if let Some(parent) = &parent {
            self.nodes.get_mut(parent).expect("the parent is leased by the caller").children += 1;
        }
        let node = Node { block, parent, children: 0, leases: 1, worth: self.clock };
        let previous = self.nodes.insert(keys[index], node);
        assert!(previous.is_none(), "no two sequences compute one block");
    }

    /// Releases the leases on `keys`, which are not withdrawn.
    pub(crate) fn release(&mut self, keys: &[BlockKey]) {
        for key in keys {
            let node = self.nodes.get_mut(key).expect("a leased node is kept");
            node.leases -= 1;
            if node.leases == 0 {
                self.idle += 1;
                if node.children == 0 {
                    self.evictable.insert((node.worth, *key));
                }
            }
        }
    }

    /// Releases leases on withdrawn blocks; returns those that have no leases any more.
    pub(crate) fn release_withdrawn(&mut self, mut blocks: Vec<BlockId>) -> Vec<BlockId> {
        blocks.retain(|block| {
            let leases = self.withdrawn.get_mut(block).expect("a leased block is kept");
            *leases -= 1;
            *leases == 0
        });
        for block in &blocks {
            self.withdrawn.remove(block);
        }
        blocks
    }

    /// Whether a block is withdrawn.
    pub(crate) fn is_withdrawn(&self, block: BlockId) -> bool {
        self.withdrawn.contains_key(&block)
    }

    /// The number of withdrawn blocks, all of which have leases.
    pub(crate) fn withdrawn_count(&self) -> usize {
        self.withdrawn.len()
    }

    /// The number of running sequences that use the block of `key`.
    pub(crate) fn leases(&self, key: &BlockKey) -> usize {
        self.nodes.get(key).map_or(0, |node| node.leases)
    }

    /// The number of blocks without leases among `keys`, which must all be cached.
    pub(crate) fn idle_among(&self, keys: &[BlockKey]) -> usize {
        keys.iter().filter(|key| self.leases(key) == 0).count()
    }

    /// The number of cached blocks without leases.
    pub(crate) fn idle_count(&self) -> usize {
        self.idle
    }

    /// The number of cached blocks, without withdrawn ones.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Evicts the leaf without leases that has the lowest priority; returns its key and block.
    pub(crate) fn evict(&mut self) -> Option<(BlockKey, BlockId)> {
        let (_, key) = *self.evictable.first()?;
        Some((key, self.remove(&key).block))
    }

    /// Withdraws the block of `first`, which is the first one of a prompt, and all blocks computed after it. Returns
    /// their keys, and those blocks that have no leases.
    pub(crate) fn withdraw(&mut self, first: &BlockKey) -> Vec<(BlockKey, Option<BlockId>)> {
        if !self.nodes.contains_key(first) {
            return Vec::new();
        }
        // This is rare, so that nodes need not store their children.
        let mut after: HashMap<BlockKey, Vec<BlockKey>> = HashMap::new();
        for (key, node) in &self.nodes {
            if let Some(parent) = node.parent {
                after.entry(parent).or_default().push(*key);
            }
        }
        let mut doomed = vec![*first];
        let mut next = 0;
        while let Some(key) = doomed.get(next) {
            doomed.extend(after.remove(key).unwrap_or_default());
            next += 1;
        }
        let withdraw = |key: &BlockKey| {
            let Node { block, leases, .. } = self.remove(key);
            if leases == 0 {
                return (*key, Some(block));
            }
            self.withdrawn.insert(block, leases);
            (*key, None)
        };
        // Leaves first, as in eviction.
        doomed.iter().rev().map(withdraw).collect()
    }

    /// Removes a node without children.
    fn remove(&mut self, key: &BlockKey) -> Node {
        let node = self.nodes.remove(key).expect("the caller found it");
        if node.leases == 0 {
            self.evictable.remove(&(node.worth, *key));
            self.idle -= 1;
        }
        if let Some(above) = node.parent {
            let parent = self.nodes.get_mut(&above).expect("the parent of a node is kept");
            parent.children -= 1;
            if parent.children == 0 && parent.leases == 0 {
                self.evictable.insert((parent.worth, above));
            }
        }
        node
    }

    fn lease_node(&mut self, key: &BlockKey) -> BlockId {
        let node = self.nodes.get_mut(key).expect("the caller looked it up");
        if node.leases == 0 {
            self.idle -= 1;
            self.evictable.remove(&(node.worth, *key));
        }
        node.leases += 1;
        node.worth = self.clock + self.credit;
        node.block
    }
}

#[cfg(test)]
mod tests;
