//! Tests of block keys and of the tree of cached blocks.

use std::sync::Arc;

use critic::{Medium, Tiles, TokenId, Visual};
use proptest::prelude::*;

use super::*;

/// The size of the cache, and the number of uses by which a block that was found again counts as younger.
const BLOCKS: usize = 8;

fn prompt(tokens: &[u32]) -> Encoded {
    Encoded { tokens: tokens.iter().map(|id| TokenId(*id)).collect(), visuals: Vec::new() }
}

fn names(prompt: &Encoded) -> Vec<BlockKey> {
    block_keys(prompt, 4, root(&[0; 32], &Tenant::default(), &Terms::default()))
}

fn block(evicted: Option<(BlockKey, BlockId)>) -> Option<u32> {
    evicted.map(|(_, block)| block.0)
}

fn with_image(start: usize, length: usize, hash: u8) -> Encoded {
    let tiles = Arc::new(Tiles { size: 1, pixels: vec![0; 3] });
    let medium = Medium::Image { height: 1, width: 1 };
    let visual = Visual { start, length, tiles, medium, hash: [hash; 32] };
    Encoded { visuals: vec![visual], ..prompt(&[5; 13]) }
}

#[test]
fn a_name_covers_everything_before_it_and_never_the_last_token() {
    let keys = |tokens: &[u32]| names(&prompt(tokens));
    assert_eq!(keys(&[1; 4]).len(), 0);
    assert_eq!(keys(&[1; 5]).len(), 1);
    let (a, b) = (keys(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), keys(&[1, 2, 3, 4, 5, 6, 7, 0, 9]));
    assert_eq!(a[0], b[0]);
    assert_ne!(a[1], b[1]);
    assert_ne!(keys(&[0, 2, 3, 4, 5, 6, 7, 8, 9])[1], a[1]);
}

#[test]
fn images_are_told_apart_by_what_they_show_and_where_they_stand() {
    let keys = |start, length, hash| names(&with_image(start, length, hash));
    let same = keys(2, 7, 1);
    assert_eq!(same, keys(2, 7, 1));
    assert!(same.iter().zip(keys(2, 7, 2)).all(|(a, b)| *a != b));
    assert_ne!(same[0], keys(3, 7, 1)[0]);
    assert_eq!(same[0], keys(2, 6, 1)[0], "the first block does not see where the image ends");
    assert_ne!(same[2], keys(2, 6, 1)[2]);
    assert_ne!(same[0], names(&prompt(&[5; 13]))[0]);
}

#[test]
fn tenants_have_names_of_their_own() {
    let names = |secret: u8, tenant: &str, salt: &str| {
        let terms = Terms { cache_salt: salt.into(), ..Terms::default() };
        block_keys(&prompt(&[1; 9]), 4, root(&[secret; 32], &Tenant(tenant.into()), &terms))
    };
    assert_eq!(names(0, "a", ""), names(0, "a", ""));
    for (tenant, salt) in [("b", ""), ("a", "b"), ("b", "a"), ("ab", "")] {
        let other = names(0, tenant, salt);
        assert!(names(0, "a", "").iter().zip(other).all(|(one, other)| *one != other));
    }
    assert_ne!(names(0, "a", "bc"), names(0, "ab", "c"), "a salt does not lead to another tenant");
    assert_ne!(names(0, "a", ""), names(1, "a", ""));
}

#[test]
fn leases_hold_and_the_oldest_leaf_goes_first() {
    let mut cache = PrefixCache::new(BLOCKS);
    let trunk = names(&prompt(&[1; 9]));
    let branch = names(&prompt(&[1, 1, 1, 1, 2, 2, 2, 2, 2]));
    cache.insert(&trunk, 0, BlockId(10));
    cache.insert(&trunk, 1, BlockId(11));
    assert_eq!(cache.lease(&branch), [BlockId(10)]);
    cache.insert(&branch, 1, BlockId(12));
    assert_eq!((block(cache.evict()), cache.idle_count()), (None, 0));
    cache.release(&trunk);
    assert_eq!((block(cache.evict()), cache.idle_count(), cache.len()), (Some(11), 0, 2));
    cache.release(&branch);
    assert_eq!(cache.idle_count(), 2);
    assert_eq!([cache.evict(), cache.evict(), cache.evict()].map(block), [Some(12), Some(10), None]);
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_use_makes_a_leaf_young() {
    let mut cache = PrefixCache::new(BLOCKS);
    let prompts = [1, 2, 3].map(|id| names(&prompt(&[id; 5])));
    for (index, keys) in prompts.iter().enumerate() {
        cache.lease(keys); // advances the clock
        cache.insert(keys, 0, BlockId(index as u32));
        cache.release(keys);
    }
    cache.lease(&prompts[0]);
    cache.release(&prompts[0]);
    assert_eq!([cache.evict(), cache.evict(), cache.evict()].map(block), [Some(1), Some(2), Some(0)]);
}

#[test]
fn what_was_found_again_outlives_what_was_not_and_goes_when_nobody_comes_for_it() {
    let mut cache = PrefixCache::new(BLOCKS);
    let once = |cache: &mut PrefixCache, id: u32| {
        let keys = names(&prompt(&[id; 5]));
        cache.lease(&keys);
        cache.insert(&keys, 0, BlockId(id));
        cache.release(&keys);
    };
    once(&mut cache, 0);
    let shared = names(&prompt(&[0; 5]));
    assert_eq!(cache.lease(&shared), [BlockId(0)]);
    cache.release(&shared);
    // Many prompts that are never repeated, in a cache of eight blocks.
    (1..8).for_each(|id| once(&mut cache, id));
    let mut given_up = Vec::new();
    while !given_up.contains(&0) && given_up.len() < 50 {
        given_up.extend(block(cache.evict()));
        once(&mut cache, 8 + given_up.len() as u32);
    }
    assert!((8..20).contains(&given_up.len()), "{given_up:?}");
    let mut cache = PrefixCache::new(BLOCKS);
    once(&mut cache, 0);
    (1..40).for_each(|id| {
        once(&mut cache, id);
        if id >= 8 {
            cache.evict();
        }
        // It is used less often than new blocks fill the whole cache.
        if id % 12 == 6 {
            assert_eq!(cache.lease(&shared), [BlockId(0)]);
            cache.release(&shared);
        }
    });
}

/// Tenant, salt and the image at the beginning of a prompt, if any: the differences between prompts with equal
/// tokens.
type Whose = (usize, usize, Option<u8>);

fn whose() -> impl Strategy<Value = Whose> {
    (0..2usize, 0..2usize, proptest::option::of(0..2u8))
}

/// The keys of a prompt's blocks.
fn names_of((tenant, salt, image): Whose, tokens: &[u32]) -> Vec<BlockKey> {
    let terms = Terms { cache_salt: ["", "salt"][salt].into(), ..Terms::default() };
    let tenant = Tenant(["a", "b"][tenant].into());
    let encoded = match image {
        None => prompt(tokens),
        // The image covers all positions of the blocks.
        Some(hash) => Encoded { visuals: with_image(0, 40, hash).visuals, ..prompt(tokens) },
    };
    block_keys(&encoded, 4, root(&[0; 32], &tenant, &terms))
}

/// The same tree as a plain list of nodes, identified by their prompts.
#[derive(Default)]
struct Plain {
    nodes: Vec<PlainNode>,
    clock: u64,
}

struct PlainNode {
    /// The owner, and all tokens up to the end of the block.
    path: (Whose, Vec<u32>),
    block: u32,
    leases: usize,
    worth: u64,
}

impl Plain {
    fn find(&mut self, path: &(Whose, Vec<u32>)) -> Option<&mut PlainNode> {
        self.nodes.iter_mut().find(|node| node.path == *path)
    }

    fn has_children(&self, path: &(Whose, Vec<u32>)) -> bool {
        let below = |node: &PlainNode| {
            node.path.0 == path.0 && node.path.1.len() > path.1.len() && node.path.1.starts_with(&path.1)
        };
        self.nodes.iter().any(below)
    }

    /// The paths of the shareable full blocks of a prompt.
    fn paths(whose: Whose, prompt: &[u32]) -> Vec<(Whose, Vec<u32>)> {
        let blocks = prompt.len().saturating_sub(1) / 4;
        (1..=blocks).map(|count| (whose, prompt[..count * 4].to_vec())).collect()
    }

    /// The leaves without leases that share the lowest priority; any of them may be evicted.
    fn least_leaves(&self) -> Vec<u32> {
        let free = |node: &&PlainNode| node.leases == 0 && !self.has_children(&node.path);
        let least = self.nodes.iter().filter(free).map(|node| node.worth).min();
        let lowly = self.nodes.iter().filter(free).filter(|node| Some(node.worth) == least);
        lowly.map(|node| node.block).collect()
    }
}

/// A running sequence: its keys and paths, and the blocks of the first of them, which it leases.
struct Lessee {
    keys: Vec<BlockKey>,
    paths: Vec<(Whose, Vec<u32>)>,
    leased: Vec<BlockId>,
    is_withdrawn: bool,
}

impl Lessee {
    /// Releases the blocks; returns those that can be allocated again.
    fn release(self, cache: &mut PrefixCache) -> Vec<BlockId> {
        if self.is_withdrawn {
            return cache.release_withdrawn(self.leased);
        }
        cache.release(&self.keys[..self.leased.len()]);
        Vec::new()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Prompts over few tokens, which share prefixes in many ways: sequences start, compute block by block and end,
    /// and blocks are evicted in between.
    #[test]
    fn the_cache_is_a_plain_tree_in_which_nothing_leased_is_allocated_again(
        actions in proptest::collection::vec((0..5usize, whose(), proptest::collection::vec(0..2u32, 0..18)), 1..60)
    ) {
        let (mut cache, mut plain) = (PrefixCache::new(BLOCKS), Plain::default());
        // Withdrawn blocks with the number of their leases.
        let mut withdrawn: HashMap<BlockId, usize> = HashMap::new();
        let mut running: Vec<Lessee> = Vec::new();
        let mut next_block = 0;
        for (what, whose, tokens) in actions {
            match what {
                0 => {
                    // All positions of an image have the same token.
                    let tokens = if whose.2.is_some() { vec![5; tokens.len()] } else { tokens };
                    let (keys, paths) = (names_of(whose, &tokens), Plain::paths(whose, &tokens));
                    prop_assert_eq!(keys.len(), paths.len());
                    plain.clock += 1;
                    let worth = plain.clock + BLOCKS as u64;
                    let mut wanted = Vec::new();
                    for path in &paths {
                        let Some(node) = plain.find(path) else { break };
                        node.leases += 1;
                        node.worth = worth;
                        wanted.push(node.block);
                    }
                    let leased = cache.lease(&keys);
                    prop_assert_eq!(leased.iter().map(|block| block.0).collect::<Vec<_>>(), wanted);
                    running.push(Lessee { keys, paths, leased, is_withdrawn: false });
                }
                1 => {
                    // A sequence computed its next block, unless another one has added it in the meantime.
                    let Some(index) = tokens.len().checked_rem(running.len()) else { continue };
                    let lessee = &mut running[index];
                    let Some(path) = lessee.paths.get(lessee.leased.len()) else { continue };
                    if !lessee.is_withdrawn && plain.find(path).is_none() {
                        cache.insert(&lessee.keys, lessee.leased.len(), BlockId(next_block));
                        let worth = plain.clock;
                        plain.nodes.push(PlainNode { path: path.clone(), block: next_block, leases: 1, worth });
                        lessee.leased.push(BlockId(next_block));
                        next_block += 1;
                    }
                }
                2 => {
                    let Some(index) = tokens.len().checked_rem(running.len()) else { continue };
                    let lessee = running.swap_remove(index);
                    let mut unused = Vec::new();
                    for (path, block) in lessee.paths.iter().zip(&lessee.leased) {
                        if !lessee.is_withdrawn {
                            plain.find(path).unwrap().leases -= 1;
                            continue;
                        }
                        let leases = withdrawn.get_mut(block).unwrap();
                        *leases -= 1;
                        if *leases == 0 {
                            withdrawn.remove(block);
                            unused.push(*block);
                        }
                    }
                    prop_assert_eq!(lessee.release(&mut cache), unused);
                }
                3 => {
                    // A sequence failed: its first block is withdrawn, with all its descendants.
                    let tokens = if whose.2.is_some() { vec![5; tokens.len()] } else { tokens };
                    let Some(first) = Plain::paths(whose, &tokens).into_iter().next() else { continue };
                    let gone = cache.withdraw(&names_of(whose, &tokens)[0]);
                    let below = |path: &(Whose, Vec<u32>)| path.0 == first.0 && path.1.starts_with(&first.1);
                    let (doomed, kept): (Vec<_>, Vec<_>) =
                        std::mem::take(&mut plain.nodes).into_iter().partition(|node| below(&node.path));
                    plain.nodes = kept;
                    prop_assert_eq!(gone.len(), doomed.len());
                    let (leased, idle): (Vec<_>, Vec<_>) = doomed.into_iter().partition(|node| node.leases > 0);
                    withdrawn.extend(leased.iter().map(|node| (BlockId(node.block), node.leases)));
                    let mut unused: Vec<BlockId> = gone.into_iter().filter_map(|(_, block)| block).collect();
                    let mut wanted: Vec<BlockId> = idle.iter().map(|node| BlockId(node.block)).collect();
                    unused.sort_unstable();
                    wanted.sort_unstable();
                    prop_assert_eq!(unused, wanted);
                    let lessees = running.iter_mut().filter(|lessee| !lessee.leased.is_empty());
                    lessees.filter(|lessee| below(&lessee.paths[0])).for_each(|lessee| lessee.is_withdrawn = true);
                }
                _ => {
                    let oldest = plain.least_leaves();
                    match block(cache.evict()) {
                        Some(gone) => {
                            prop_assert!(oldest.contains(&gone), "{gone} is not among {oldest:?}");
                            plain.nodes.retain(|node| node.block != gone);
                        }
                        None => prop_assert_eq!(oldest, Vec::<u32>::new()),
                    }
                }
            }
            prop_assert_eq!(cache.len(), plain.nodes.len());
            prop_assert_eq!(cache.idle_count(), plain.nodes.iter().filter(|node| node.leases == 0).count());
            prop_assert_eq!(cache.withdrawn_count(), withdrawn.len());
            prop_assert!(withdrawn.keys().all(|block| cache.is_withdrawn(*block)));
        }
        // Without leases, everything can be evicted, and nothing withdrawn is kept.
        running.into_iter().for_each(|lessee| drop(lessee.release(&mut cache)));
        prop_assert_eq!(cache.withdrawn_count(), 0);
        let count = cache.len();
        prop_assert_eq!(std::iter::from_fn(|| cache.evict()).count(), count);
    }
}
