//! Attention of prompts, of single tokens, and of images.

use std::ops::Range;

use kernels_cuda::{BLOCK_SIZE, Chunk, Heads, PagedCache, RotaryTable, Rows, Step, attend_all};

use super::{Bench, Cost, Images, Model};

/// A layer's cache whose blocks are all filled.
struct Layer {
    heads: Heads,
    cache: PagedCache,
    rotations: RotaryTable,
}

/// A chunk, as [`Chunk`].
struct Part {
    start: usize,
    length: usize,
    block_table: Vec<u32>,
}

impl Layer {
    /// Creates a cache of `blocks` blocks for contexts of up to `positions` positions.
    fn new(bench: &Bench, heads: Heads, (blocks, positions): (usize, usize)) -> Self {
        let turns = |of: fn(f32) -> f32| -> Vec<f32> {
            (0..positions * heads.size / 2).map(|index| of(index as f32 * 1e-4)).collect()
        };
        let rotations =
            RotaryTable::new(&bench.gpu, (&turns(f32::cos), &turns(f32::sin)), heads.size).unwrap();
        let cache = PagedCache::new(&bench.gpu, heads, blocks).unwrap();
        let mut layer = Self { heads, cache, rotations };
        let at_once = positions.div_ceil(BLOCK_SIZE);
        for first in (0..blocks).step_by(at_once) {
            let block_table: Vec<u32> =
                (first..blocks.min(first + at_once)).map(|block| block as u32).collect();
            let length = (block_table.len() * BLOCK_SIZE).min(positions);
            let mut projections = layer.projections(bench, length);
            let step = layer.step(bench, &[Part { start: 0, length, block_table }]);
            layer.cache.rotate_and_store(&mut projections, &layer.rotations, &step).unwrap();
        }
        layer
    }

    fn projections(&self, bench: &Bench, rows: usize) -> Rows {
        bench.random(rows, (self.heads.heads + 2 * self.heads.kv_heads) * self.heads.size)
    }

    fn step(&self, bench: &Bench, parts: &[Part]) -> Step {
        let tokens = parts.iter().map(|part| part.length).sum();
        let blocks = parts.iter().map(|part| part.block_table.len()).sum();
        let step = Step::new(&bench.gpu, (tokens, parts.len(), blocks)).unwrap();
        let mut step = step.attending(self.heads).unwrap();
        let chunks: Vec<Chunk<'_>> = parts
            .iter()
            .map(|part| Chunk { start: part.start, length: part.length, block_table: &part.block_table })
            .collect();
        step.set(&chunks).unwrap();
        step
    }

    /// Times the attention of a step, which reads `read` positions of keys and values at least.
    fn time(&self, bench: &mut Bench, name: String, (parts, read): (&[Part], usize)) {
        let step = self.step(bench, parts);
        let (projections, mut attended) = (self.projections(bench, step.tokens()), bench.empty());
        let Heads { heads, kv_heads, size } = self.heads;
        let seen = |part: &Part| part.length * part.start + part.length * (part.length + 1) / 2;
        let seen: usize = parts.iter().map(seen).sum();
        let cost = Cost {
            bytes: (read * 2 * kv_heads * size * 2) as f64,
            operations: (4 * seen * heads * size) as f64,
        };
        bench.time(name, &cost, |_| self.cache.attend(&projections, &step, &mut attended));
    }
}

/// Times what a decoder does with its cache.
pub(super) fn steps(bench: &mut Bench, model: &Model) {
    let (sharers, shared) = bench.extent.sharing;
    let decoding = bench.extent.decoding.iter();
    let blocks = decoding.clone().map(|(sequences, positions)| sequences * blocks_of(*positions));
    let blocks = blocks.chain([blocks_of(shared) + sharers]).max().unwrap_or_default();
    let positions = decoding.map(|(_, positions)| *positions).chain(bench.extent.ends.iter().copied());
    let positions = positions.chain([shared + 1]).max().unwrap_or_default();
    let layer = Layer::new(bench, model.heads, (blocks.max(blocks_of(positions)), positions));
    prompts(bench, model, &layer);
    single_tokens(bench, model, &layer);
    shared_prefix(bench, model, &layer);
    store(bench, model, layer);
}

fn blocks_of(positions: usize) -> usize {
    positions.div_ceil(BLOCK_SIZE)
}

fn table(blocks: Range<usize>) -> Vec<u32> {
    blocks.map(|block| block as u32).collect()
}

fn prompts(bench: &mut Bench, model: &Model, layer: &Layer) {
    let length = bench.extent.chunk;
    for end in bench.extent.ends {
        let part = Part { start: end - length, length, block_table: table(0..blocks_of(*end)) };
        let name = format!("{} attend_paged, {length} tokens to {end}", model.name);
        layer.time(bench, name, (&[part], *end));
    }
}

fn single_tokens(bench: &mut Bench, model: &Model, layer: &Layer) {
    for (sequences, positions) in bench.extent.decoding {
        let own = blocks_of(*positions);
        let part = |index: usize| Part {
            start: positions - 1,
            length: 1,
            block_table: table(index * own..(index + 1) * own),
        };
        let parts: Vec<Part> = (0..*sequences).map(part).collect();
        let name = format!("{} attend_split, {sequences} x {positions}", model.name);
        layer.time(bench, name, (&parts, sequences * positions));
    }
}

/// Times single tokens of sequences that share all positions before them.
fn shared_prefix(bench: &mut Bench, model: &Model, layer: &Layer) {
    let (sharers, shared) = bench.extent.sharing;
    let common = blocks_of(shared);
    let part = |index: usize| {
        let mut block_table = table(0..common);
        block_table.push((common + index) as u32);
        Part { start: shared, length: 1, block_table }
    };
    let parts: Vec<Part> = (0..sharers).map(part).collect();
    assert!(layer.step(bench, &parts).shared_stretches() > 0, "the sequences share nothing");
    let name = format!("{} attend_shared, {sharers} x {shared}", model.name);
    layer.time(bench, name, (&parts, shared + sharers));
}

/// Times the rotation and storing of a chunk.
fn store(bench: &mut Bench, model: &Model, mut layer: Layer) {
    let length = bench.extent.chunk;
    let block_table = (0..length.div_ceil(BLOCK_SIZE) as u32).collect();
    let step = layer.step(bench, &[Part { start: 0, length, block_table }]);
    let mut projections = layer.projections(bench, length);
    let (rows, columns) = projections.shape();
    let cost = Cost { bytes: (4 * rows * columns) as f64, operations: 0.0 };
    bench.time(format!("{} rotate_and_store, {length} tokens", model.name), &cost, |_| {
        layer.cache.rotate_and_store(&mut projections, &layer.rotations, &step)
    });
}

/// Times attention within images.
pub(super) fn images(bench: &mut Bench) {
    let Images { tiles, patches, heads, head_size } = bench.extent.images;
    let (rows, columns) = (tiles * patches, heads * head_size);
    let (projections, mut attended) = (bench.random(rows, 3 * columns), bench.empty());
    let cost =
        Cost { bytes: (2 * rows * 4 * columns) as f64, operations: (4 * rows * patches * columns) as f64 };
    bench.time(format!("attend_dense, {tiles} x {patches}"), &cost, |_| {
        attend_all(&projections, (heads, patches), &mut attended)
    });
}
