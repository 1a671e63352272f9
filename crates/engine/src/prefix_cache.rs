//! Blocks whose keys and values are kept after their sequence ends, found again by what they hold.
//!
//! A tree: each node is one full block, its parent the block before it. A node is named by a digest of its own content
//! and its parent's name, so finding the longest known prefix of a prompt is one look-up for each block. Nodes that
//! running sequences read are leased. Of the others the leaf used longest ago is given up first; but what was found again counts as
//! used later than it was, by as many uses as there are blocks. So what one prompt alone has, and most have, does not push out
//! what many share, and that is given up too when nobody comes for it.

use std::collections::{BTreeSet, HashMap};

use critic::{BlockId, Encoded};
use sha2::{Digest, Sha256};

use crate::request::{Tenant, Terms};

/// Names the content of a full block and of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockKey([u8; 32]);

impl BlockKey {
    /// Its first 64 bits.
    pub(crate) fn bits(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Stands before the first block of every prompt of `tenant` with its salt. Without `secret` nobody can name another tenant's
/// blocks, and no salt leads to them.
pub(crate) fn root(secret: &[u8; 32], tenant: &Tenant, terms: &Terms) -> [u8; 32] {
    Sha256::new()
        .chain_update(secret)
        .chain_update((tenant.0.len() as u64).to_le_bytes())
        .chain_update(tenant.0.as_bytes())
        .chain_update(terms.cache_salt.as_bytes())
        .finalize()
        .into()
}

/// The names of the full blocks of `prompt` that may be shared. The last token is never in one, since it has to be run
/// for its logits.
///
/// A position of an image is named by the image's 256-bit content hash and the place in it, never by its
/// placeholder, so that two images cannot be taken for each other. `root` stands before the first block.
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
    /// Running sequences that read this block. Whoever leases a node leases its parents too.
    leases: usize,
    /// When it is given up, of those that can be: the one of the least goes first.
    worth: u64,
}

/// The tree of kept blocks.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    nodes: HashMap<BlockKey, Node>,
    /// Leaves that nobody leases, the one of the least worth first.
    evictable: BTreeSet<(u64, BlockKey)>,
    /// Nodes that nobody leases.
    idle: usize,
    /// Counts uses; only the order matters.
    clock: u64,
    /// How much later than it was what was found again counts as used.
    credit: u64,
}

impl PrefixCache {
    /// An empty tree in a memory of so many blocks.
    pub(crate) fn new(blocks: usize) -> Self {
        Self { nodes: HashMap::new(), evictable: BTreeSet::new(), idle: 0, clock: 0, credit: blocks as u64 }
    }

    /// How many of `keys`, from the first on, are kept.
    pub(crate) fn known(&self, keys: &[BlockKey]) -> usize {
        keys.iter().take_while(|key| self.nodes.contains_key(key)).count()
    }

    /// Leases the blocks of the longest kept prefix of `keys`.
    pub(crate) fn lease(&mut self, keys: &[BlockKey]) -> Vec<BlockId> {
        self.clock += 1;
        let known = self.known(keys);
        keys[..known].iter().map(|key| self.lease_node(key)).collect()
    }

    /// Keeps `block`, whose content `keys[index]` names, as a child of `keys[index - 1]`, leased by the caller.
    pub(crate) fn insert(&mut self, keys: &[BlockKey], index: usize, block: BlockId) {
        let parent = index.checked_sub(1).map(|parent| keys[parent]);
        if let Some(parent) = &parent {
            self.nodes.get_mut(parent).expect("the parent is leased by the caller").children += 1;
        }
        let node = Node { block, parent, children: 0, leases: 1, worth: self.clock };
        let previous = self.nodes.insert(keys[index], node);
        assert!(previous.is_none(), "no two sequences compute one block");
    }

    /// Gives back the leases on `keys`.
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

    /// How many running sequences read the block of `key`.
    pub(crate) fn leases(&self, key: &BlockKey) -> usize {
        self.nodes.get(key).map_or(0, |node| node.leases)
    }

    /// How many of `keys`, which are all kept, nobody leases.
    pub(crate) fn idle_among(&self, keys: &[BlockKey]) -> usize {
        keys.iter().filter(|key| self.leases(key) == 0).count()
    }

    /// How many blocks are kept that nobody leases.
    pub(crate) fn idle_count(&self) -> usize {
        self.idle
    }

    /// How many blocks are kept.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Gives up the leaf of the least worth of those that nobody leases: its name and block.
    pub(crate) fn evict(&mut self) -> Option<(BlockKey, BlockId)> {
        let (_, key) = *self.evictable.first()?;
        Some((key, self.remove_idle(&key)))
    }

    /// Gives up those blocks of `keys` that nobody leases, and all that was computed after them.
    pub(crate) fn give_up(&mut self, keys: &[BlockKey]) -> Vec<(BlockKey, BlockId)> {
        let idle = |key: &&BlockKey| self.nodes.get(key).is_some_and(|node| node.leases == 0);
        let Some(first) = keys.iter().find(idle) else { return Vec::new() };
        // It is rare, so that no node needs to know its children; nobody leases what comes after a block that nobody leases.
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
        // Leaves first, as they are evicted.
        doomed.iter().rev().map(|key| (*key, self.remove_idle(key))).collect()
    }

    /// Removes a node that nobody leases and that has no children.
    fn remove_idle(&mut self, key: &BlockKey) -> BlockId {
        let node = self.nodes.remove(key).expect("the caller found it");
        self.evictable.remove(&(node.worth, *key));
        self.idle -= 1;
        if let Some(above) = node.parent {
            let parent = self.nodes.get_mut(&above).expect("the parent of a node is kept");
            parent.children -= 1;
            if parent.children == 0 && parent.leases == 0 {
                self.evictable.insert((parent.worth, above));
            }
        }
        node.block
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
