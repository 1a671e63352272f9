//! Attention: correct, and with the same bits alone, in chunks, in any blocks, and in every instruction set.

mod numbers;

use kernels::{BLOCK_SIZE, Columns, Dense, Heads, Isa, PagedCache, Queries, Span, attend_all};
use numbers::{bits, floats};
use proptest::prelude::*;

/// Queries, keys and values of one sequence.
#[derive(Clone)]
struct Sequence {
    heads: Heads,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    table: Vec<u32>,
}

impl Sequence {
    /// Creates a sequence whose blocks are `first`, `first + stride` and so on.
    fn new(seed: u32, heads: Heads, length: usize, (first, stride): (u32, u32)) -> Self {
        let size = length * heads.kv_heads * heads.size;
        let queries = floats(seed, length * heads.heads * heads.size);
        Self {
            heads,
            queries: queries.iter().map(|query| query * 8.0).collect(),
            keys: floats(seed + 1, size),
            values: floats(seed + 2, size),
            table: (0..length.div_ceil(BLOCK_SIZE) as u32).map(|index| first + index * stride).collect(),
        }
    }

    fn length(&self) -> usize {
        self.keys.len() / (self.heads.kv_heads * self.heads.size)
    }

    fn span(&self, start: usize) -> Span<'_> {
        Span { start, block_table: &self.table }
    }

    fn write(&self, cache: &mut PagedCache, start: usize, end: usize) {
        let row = self.heads.kv_heads * self.heads.size;
        let (keys, values) = (&self.keys[start * row..end * row], &self.values[start * row..end * row]);
        cache.write(self.span(start), Columns::all(keys, row), Columns::all(values, row));
    }

    fn queries(&self, start: usize, end: usize) -> Queries<'_> {
        let row = self.heads.heads * self.heads.size;
        let queries = Columns::all(&self.queries[start * row..end * row], row);
        Queries { span: self.span(start), queries }
    }

    /// Runs the sequence in chunks that end at `ends`, on a cache full of NaN.
    fn run(&self, isa: Isa, ends: &[usize]) -> Vec<f32> {
        let mut cache = dirty(self.heads, isa);
        let mut attended = Vec::new();
        let mut start = 0;
        for end in ends {
            self.write(&mut cache, start, *end);
            attended.extend(attend(&cache, &[self.queries(start, *end)]));
            start = *end;
        }
        attended
    }

    /// Computes attention by its definition, in f64; `visible` returns how many keys a query sees.
    fn reference(&self, visible: impl Fn(usize) -> usize) -> Vec<f64> {
        let Heads { heads, kv_heads, size } = self.heads;
        let float = |floats: &[f32], row, head, heads, d| f64::from(floats[(row * heads + head) * size + d]);
        let mut attended = Vec::new();
        for query in 0..self.length() {
            for head in 0..heads {
                let kv_head = head / (heads / kv_heads);
                let score = |key: usize| -> f64 {
                    let product = |d| {
                        float(&self.queries, query, head, heads, d)
                            * float(&self.keys, key, kv_head, kv_heads, d)
                    };
                    (0..size).map(product).sum::<f64>() / (size as f64).sqrt()
                };
                let weights: Vec<f64> = (0..visible(query)).map(|key| score(key).exp()).collect();
                let total: f64 = weights.iter().sum();
                let value = |d| {
                    let value = |(key, weight): (usize, &f64)| {
                        weight * float(&self.values, key, kv_head, kv_heads, d)
                    };
                    weights.iter().enumerate().map(value).sum::<f64>() / total
                };
                attended.extend((0..size).map(value));
            }
        }
        attended
    }
}

const BLOCKS: usize = 64;

/// Creates a cache whose blocks hold NaN, as after a computation that went wrong.
fn dirty(heads: Heads, isa: Isa) -> PagedCache {
    filled((heads, isa), |count| vec![f32::NAN; count])
}

/// Creates a cache whose blocks all hold keys and values that `floats` returns for their number.
fn filled((heads, isa): (Heads, Isa), floats: impl Fn(usize) -> Vec<f32>) -> PagedCache {
    let mut cache = PagedCache::new(heads, BLOCKS).with_isa(isa);
    let table: Vec<u32> = (0..BLOCKS as u32).collect();
    let floats = floats(BLOCKS * BLOCK_SIZE * heads.kv_heads * heads.size);
    let floats = Columns::all(&floats, heads.kv_heads * heads.size);
    cache.write(Span { start: 0, block_table: &table }, floats, floats);
    cache
}

fn attend(cache: &PagedCache, chunks: &[Queries<'_>]) -> Vec<f32> {
    let numbers = chunks.iter().map(|chunk| chunk.queries.rows() * chunk.queries.count()).sum();
    let mut attended = vec![f32::NAN; numbers];
    cache.attend(chunks, &mut attended);
    attended
}

fn assert_close(what: &str, found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let worst = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst < 5e-6 && !found.iter().any(|float| float.is_nan()), "{what}: {worst:e}");
}

/// Various ratios and sizes of heads.
const HEADS: [Heads; 8] = [
    Heads { heads: 1, kv_heads: 1, size: 1 },
    Heads { heads: 3, kv_heads: 1, size: 5 },
    Heads { heads: 4, kv_heads: 4, size: 16 },
    Heads { heads: 14, kv_heads: 2, size: 64 },
    Heads { heads: 3, kv_heads: 3, size: 72 },
    Heads { heads: 4, kv_heads: 2, size: 80 },
    Heads { heads: 20, kv_heads: 1, size: 20 },
    Heads { heads: 57, kv_heads: 1, size: 128 },
];

#[test]
fn it_is_the_softmax_times_the_values_in_every_instruction_set() {
    for heads in HEADS {
        let sequence = Sequence::new(7, heads, 101, (3, 5));
        let wanted = sequence.reference(|query| query + 1);
        let whole = sequence.run(Isa::best(), &[101]);
        assert_close(&format!("{heads:?}"), &whole, &wanted);
        for isa in Isa::available() {
            let other = sequence.run(isa, &[1, 32, 33, 64, 100, 101]);
            assert_eq!(bits(&other), bits(&whole), "{heads:?} {}", isa.name());
        }
    }
}

#[test]
fn sequences_in_one_step_do_not_know_each_other() {
    let heads = Heads { heads: 6, kv_heads: 2, size: 24 };
    let sequences: Vec<Sequence> = (0..4).map(|index| Sequence::new(index, heads, 90, (index, 4))).collect();
    let starts = [0, 89, 40, 64];
    let mut cache = dirty(heads, Isa::best());
    for sequence in &sequences {
        sequence.write(&mut cache, 0, 90);
    }
    let chunks: Vec<Queries<'_>> =
        sequences.iter().zip(starts).map(|(sequence, start)| sequence.queries(start, 90)).collect();
    let together = attend(&cache, &chunks);
    let alone: Vec<f32> = sequences
        .iter()
        .zip(starts)
        .flat_map(|(sequence, start)| sequence.run(Isa::best(), &[90])[start * 6 * 24..].to_vec())
        .collect();
    assert_eq!(bits(&together), bits(&alone));
    assert!(attend(&cache, &[]).is_empty());
    assert!(attend(&cache, &[sequences[0].queries(5, 5)]).is_empty());
}

#[test]
fn scores_far_apart_neither_overflow_nor_vanish() {
    let heads = Heads { heads: 2, kv_heads: 1, size: 8 };
    let mut sequence = Sequence::new(11, heads, 70, (0, 1));
    sequence.queries.iter_mut().for_each(|query| *query *= 30.0);
    let wanted = sequence.reference(|query| query + 1);
    let found = sequence.run(Isa::best(), &[70]);
    // Exponents of this size have few fractional digits in f32.
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((f64::from(*found) - wanted).abs() < 1e-3);
    }
}

#[test]
fn all_see_all_and_tiles_do_not_know_each_other() {
    for (heads, size, length) in [(2, 72, 81), (3, 5, 32), (1, 64, 1), (2, 16, 130)] {
        let own = Heads { heads, kv_heads: heads, size };
        let tiles: Vec<Sequence> = (0..3).map(|index| Sequence::new(index, own, length, (0, 1))).collect();
        let all =
            |part: fn(&Sequence) -> &Vec<f32>| -> Vec<f32> { tiles.iter().flat_map(part).copied().collect() };
        let (queries, keys, values) =
            (all(|tile| &tile.queries), all(|tile| &tile.keys), all(|tile| &tile.values));
        let run = |isa, range: std::ops::Range<usize>| {
            let part = range.start * tiles[0].keys.len()..range.end * tiles[0].keys.len();
            let mut attended = vec![f32::NAN; part.len()];
            // As one product computes them: queries, keys and values side by side.
            let row = heads * size;
            let parts = [&queries, &keys, &values].map(|floats| floats[part.clone()].chunks_exact(row));
            let [queries, keys, values] = parts;
            let joined: Vec<f32> = queries
                .zip(keys)
                .zip(values)
                .flat_map(|((query, key), value)| [query, key, value].concat())
                .collect();
            let [queries, keys, values] =
                [0, 1, 2].map(|part| Columns::new(&joined, 3 * row, part * row..(part + 1) * row));
            let dense = Dense { heads, head_size: size, length, queries, keys, values };
            attend_all(&dense, isa, &mut attended);
            attended
        };
        let together = run(Isa::best(), 0..3);
        let wanted: Vec<f64> = tiles.iter().flat_map(|tile| tile.reference(|_| length)).collect();
        assert_close("tiles", &together, &wanted);
        for isa in Isa::available() {
            let alone: Vec<f32> = (0..3).flat_map(|index| run(isa, index..index + 1)).collect();
            assert_eq!(bits(&alone), bits(&together), "{}", isa.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn how_a_prompt_is_cut_and_where_it_lies_changes_nothing(
        heads in proptest::sample::select(HEADS.to_vec()),
        length in 1usize..200,
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        blocks in (0u32..8, 1u32..8),
    ) {
        let sequence = Sequence::new(13, heads, length, (0, 1));
        let whole = sequence.run(Isa::best(), &[length]);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(length)).chain([length]).collect();
        ends.sort_unstable();
        let elsewhere = Sequence::new(13, heads, length, blocks);
        prop_assert_eq!(bits(&elsewhere.run(Isa::best(), &ends)), bits(&whole));
    }

    /// Each sequence has one of two blocks at each index, so that sequences begin alike and diverge anywhere.
    #[test]
    fn what_sequences_share_changes_nothing(
        heads in proptest::sample::select(HEADS.to_vec()),
        chunks in proptest::collection::vec(
            (proptest::collection::vec(proptest::bool::weighted(0.8), 6), 0usize..150, 1usize..40),
            1..12,
        ),
    ) {
        let tables: Vec<Vec<u32>> = chunks
            .iter()
            .map(|(is_first, ..)| (0..).zip(is_first).map(|(at, first)| at * 2 + u32::from(!first)).collect())
            .collect();
        let row = heads.heads * heads.size;
        let all: Vec<Vec<f32>> = (20..).zip(&chunks).map(|(seed, (.., count))| floats(seed, count * row)).collect();
        let queries = |index: usize, positions: std::ops::Range<usize>| {
            let start = chunks[index].1 + positions.start;
            let queries = Columns::all(&all[index][positions.start * row..positions.end * row], row);
            Queries { span: Span { start, block_table: &tables[index] }, queries }
        };
        for isa in Isa::available() {
            let cache = filled((heads, isa), |count| floats(5, count));
            let whole: Vec<_> = (0..chunks.len()).map(|index| queries(index, 0..chunks[index].2)).collect();
            let together = attend(&cache, &whole);
            let alone: Vec<f32> = (0..chunks.len())
                .flat_map(|index| (0..chunks[index].2).map(move |at| (index, at..at + 1)))
                .flat_map(|(index, position)| attend(&cache, &[queries(index, position)]))
                .collect();
            prop_assert_eq!(bits(&together), bits(&alone), "{}", isa.name());
        }
    }
}
