//! Attention compared with its CPU counterpart, and the same bits however its work is divided.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::sync::Arc;

use half::bf16;
use kernels::{Columns, Dense, Isa, Queries, Span};
use kernels_cuda::{BLOCK_SIZE, Chunk, Gpu, Graph, Heads, PagedCache, RotaryTable, Rows, Step, attend_all};

const BLOCKS: usize = 160;

/// Returns pseudo-random numbers between -2 and 2, rounded to bf16.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bf16::from_f32((state >> 8) as f32 / (1 << 22) as f32 - 2.0).to_f32()
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn uploaded(gpu: &Arc<Gpu>, numbers: &[f32], columns: usize) -> Rows {
    let narrow: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
    Rows::upload(gpu, &narrow, columns).unwrap()
}

/// A sequence: queries, keys and values of each position, and its block table.
#[derive(Clone)]
struct Sequence {
    projections: Vec<f32>, // [length, (H + 2 K) * D]
    table: Vec<u32>,
}

impl Sequence {
    /// Creates a sequence whose blocks are `first`, `first - stride` and so on.
    fn new(heads: Heads, length: usize, (first, stride): (u32, u32)) -> Self {
        let table = (0..length.div_ceil(BLOCK_SIZE) as u32).map(|index| first - index * stride).collect();
        Self { projections: numbers(length * row(heads), first), table }
    }

    /// Returns a sequence of `length` positions that begins with the first `shared` blocks of this one; its other
    /// blocks are those from `first` on.
    fn branch(&self, heads: Heads, length: usize, (shared, first): (usize, u32)) -> Self {
        let own = first..first + (length.div_ceil(BLOCK_SIZE) - shared) as u32;
        let begin = &self.projections[..shared * BLOCK_SIZE * row(heads)];
        let rest = numbers(length * row(heads) - begin.len(), first);
        Self {
            projections: [begin, &rest].concat(),
            table: self.table[..shared].iter().copied().chain(own).collect(),
        }
    }

    fn rows(&self, heads: Heads, (start, end): (usize, usize)) -> &[f32] {
        &self.projections[start * row(heads)..end * row(heads)]
    }

    fn length(&self, heads: Heads) -> usize {
        self.projections.len() / row(heads)
    }
}

fn row(heads: Heads) -> usize {
    (heads.heads + 2 * heads.kv_heads) * heads.size
}

/// A GPU with a cache of one layer whose blocks all hold NaN, as after a computation that went wrong.
struct Layer {
    gpu: Arc<Gpu>,
    heads: Heads,
    cache: PagedCache,
    unturned: RotaryTable,
    step: Step,
    attended: Rows,
}

impl Layer {
    fn new(gpu: &Arc<Gpu>, heads: Heads) -> Self {
        let positions = BLOCKS * BLOCK_SIZE;
        let (ones, zeros) = (vec![1.0; positions * heads.size / 2], vec![0.0; positions * heads.size / 2]);
        let mut layer = Self {
            gpu: Arc::clone(gpu),
            heads,
            cache: PagedCache::new(gpu, heads, BLOCKS).unwrap(),
            unturned: RotaryTable::new(gpu, (&ones, &zeros), heads.size).unwrap(),
            step: Step::new(gpu, (8, 2, 8)).unwrap().attending(heads).unwrap(),
            attended: Rows::empty(gpu).unwrap(),
        };
        let table: Vec<u32> = (0..BLOCKS as u32).collect();
        layer.store(
            &vec![f32::NAN; positions * row(heads)],
            &[Chunk { start: 0, length: positions, block_table: &table }],
        );
        layer
    }

    /// Sets the step to `chunks` and writes their keys and values to the cache.
    fn store(&mut self, projections: &[f32], chunks: &[Chunk<'_>]) -> Rows {
        let mut rows = uploaded(&self.gpu, projections, row(self.heads));
        self.step.set(chunks).unwrap();
        self.cache.rotate_and_store(&mut rows, &self.unturned, &self.step).unwrap();
        rows
    }

    /// Sets the step to positions `start` to `end` of some sequences, and returns their projections.
    fn begin(&mut self, parts: &[(&Sequence, usize, usize)]) -> Rows {
        let chunk = |(sequence, start, end): &(&'_ Sequence, usize, usize)| {
            (*start, end - start, sequence.table.clone())
        };
        let chunks: Vec<_> = parts.iter().map(chunk).collect();
        let chunks: Vec<_> = chunks
            .iter()
            .map(|(start, length, table)| Chunk { start: *start, length: *length, block_table: table })
            .collect();
        let rows = |(sequence, start, end): &(&'_ Sequence, usize, usize)| {
            sequence.rows(self.heads, (*start, *end)).to_vec()
        };
        let projections: Vec<f32> = parts.iter().flat_map(rows).collect();
        self.store(&projections, &chunks)
    }

    /// Returns the attention of each part.
    fn attended(&self, parts: &[(&Sequence, usize, usize)]) -> Vec<Vec<f32>> {
        let mut all = self.attended.download().unwrap();
        let count =
            |(_, start, end): &(&Sequence, usize, usize)| (end - start) * self.heads.heads * self.heads.size;
        parts.iter().map(|part| all.drain(..count(part)).collect()).collect()
    }

    /// Runs positions `start` to `end` of some sequences as one step.
    fn run(&mut self, parts: &[(&Sequence, usize, usize)]) -> Vec<Vec<f32>> {
        let rows = self.begin(parts);
        self.cache.attend(&rows, &self.step, &mut self.attended).unwrap();
        self.attended(parts)
    }

    /// Runs a whole sequence in chunks that end at `ends`.
    fn run_alone(&mut self, sequence: &Sequence, ends: &[usize]) -> Vec<f32> {
        let starts = std::iter::once(&0).chain(ends);
        starts.zip(ends).flat_map(|(start, end)| self.run(&[(sequence, *start, *end)]).remove(0)).collect()
    }
}

/// Computes the attention of a whole sequence on the CPU.
fn twin(heads: Heads, sequence: &Sequence) -> Vec<f32> {
    let Heads { heads: count, kv_heads, size } = heads;
    let mut cache = kernels::PagedCache::new(kernels::Heads { heads: count, kv_heads, size }, BLOCKS);
    let span = Span { start: 0, block_table: &sequence.table };
    let (keys, values) = (count * size, (count + kv_heads) * size);
    let part = |columns| Columns::new(&sequence.projections, row(heads), columns);
    cache.write(span, part(keys..values), part(values..row(heads)));
    let mut attended = vec![0.0; sequence.length(heads) * count * size];
    cache.attend(&[Queries { span, queries: part(0..keys) }], &mut attended);
    attended
}

/// Checks results within a bound for weights and results that are rounded to 8 bits, with values of up to 2.
fn assert_close(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let worst = found.iter().zip(wanted).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(worst < 0.012 && !found.iter().any(|number| number.is_nan()), "{what}: {worst}");
}

/// Returns whether the tests run on a real GPU.
fn is_real() -> bool {
    std::env::var_os("GAVEL_REAL_GPU").is_some()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

const HEADS: [Heads; 9] = [
    Heads { heads: 1, kv_heads: 1, size: 8 },
    Heads { heads: 4, kv_heads: 2, size: 16 },
    Heads { heads: 6, kv_heads: 2, size: 24 },
    Heads { heads: 16, kv_heads: 1, size: 32 },
    Heads { heads: 5, kv_heads: 1, size: 48 },
    Heads { heads: 14, kv_heads: 2, size: 64 },
    Heads { heads: 3, kv_heads: 3, size: 72 },
    Heads { heads: 8, kv_heads: 1, size: 96 },
    Heads { heads: 7, kv_heads: 1, size: 128 },
];

#[test]
fn chunks_of_several_sequences_attend_as_their_twins_do() {
    let gpu = emulated::gpu();
    // A GPU with many multiprocessors divides the attention of a short prompt like that of single tokens.
    let lengths: &[usize] = if is_real() { &[330, 600] } else { &[330] };
    let cases = HEADS.into_iter().flat_map(|heads| lengths.iter().map(move |length| (heads, *length)));
    for (heads, length) in cases {
        let mut layer = Layer::new(&gpu, heads);
        let (long, short) = (Sequence::new(heads, length, (159, 3)), Sequence::new(heads, 70, (16, 5)));
        let one = Sequence::new(heads, 1, (20, 1));
        // Enough rows in a step that each of the kernels for steps gets some.
        let mut found = layer.run(&[(&short, 0, 33), (&one, 0, 1), (&long, 0, length - 1)]);
        let rest = layer.run(&[(&long, length - 1, length), (&short, 33, 70)]);
        found[2].extend(&rest[0]);
        found[0].extend(&rest[1]);
        for (index, sequence) in [&short, &one, &long].into_iter().enumerate() {
            let what = format!("{heads:?}, {length} positions, sequence {index}");
            assert_close(&what, &found[index], &twin(heads, sequence));
        }
    }
}

/// Chunks that end at the boundaries of tiles, blocks and stretches and next to them, and a context of many
/// stretches.
#[test]
fn long_contexts_are_joined_as_if_they_had_been_one() {
    let gpu = emulated::gpu();
    for (heads, length) in [
        (Heads { heads: 4, kv_heads: 2, size: 16 }, 2600),
        (Heads { heads: 3, kv_heads: 1, size: 72 }, 580),
        (Heads { heads: 7, kv_heads: 1, size: 128 }, 580),
    ] {
        let mut layer = Layer::new(&gpu, heads);
        let sequence = Sequence::new(heads, length, (159, 1));
        let wanted = twin(heads, &sequence);
        let columns = heads.heads * heads.size;
        let whole = layer.run_alone(&sequence, &[length]);
        assert_close("as one chunk", &whole, &wanted);
        let ends = [64, 65, 129, 193, 511, 512, 513, 1024, 1025, 2047, 2049, length];
        for end in ends.into_iter().filter(|end| *end <= length) {
            for start in [end - 1, end - 3] {
                let found = layer.run(&[(&sequence, start, end)]).remove(0);
                let what = format!("{heads:?}, {start} to {end}");
                assert_close(&what, &found, &wanted[start * columns..end * columns]);
                assert_eq!(bits(&found), bits(&whole[start * columns..end * columns]), "{what}");
            }
        }
    }
}

#[test]
fn a_position_has_the_same_bits_in_any_chunk_and_in_any_company() {
    let gpu = emulated::gpu();
    for heads in [Heads { heads: 7, kv_heads: 1, size: 64 }, Heads { heads: 3, kv_heads: 3, size: 24 }] {
        let mut layer = Layer::new(&gpu, heads);
        let one = Sequence::new(heads, 700, (159, 2));
        let other = Sequence::new(heads, 600, (100, 5));
        let alone = layer.run_alone(&one, &[700]);
        assert_eq!(bits(&layer.run_alone(&one, &[13, 14, 399, 610, 640, 700])), bits(&alone), "in chunks");
        layer.run_alone(&other, &[600]);
        let together = layer.run(&[(&other, 11, 600), (&one, 300, 700), (&other, 0, 11)]);
        let columns = heads.heads * heads.size;
        assert_eq!(bits(&together[1]), bits(&alone[300 * columns..]), "in company");
        // In other blocks.
        let moved = Sequence { table: (0..22).map(|index| index * 7).collect(), ..one.clone() };
        assert_eq!(bits(&layer.run_alone(&moved, &[650, 700])), bits(&alone), "in other blocks");
    }
}

/// The multiprocessors of the second emulated GPU have as much shared memory as those of A100, where blocks take less
/// of it than on the first one. Real GPUs are compared where there are two.
#[test]
fn a_position_has_the_same_bits_on_gpus_of_other_shared_memory() {
    let (first, Ok(second)) = (emulated::gpu(), Gpu::open(1)) else { return };
    let heads = Heads { heads: 7, kv_heads: 1, size: 128 };
    let [one, other] = [first, second].map(|gpu| {
        let mut layer = Layer::new(&gpu, heads);
        let sequence = Sequence::new(heads, 700, (159, 2));
        layer.run_alone(&sequence, &[690]);
        // Of one tile, of one stretch, and of two.
        let mut steps = vec![layer.run(&[(&sequence, 690, 693), (&sequence, 690, 691)])];
        steps.extend([20, 63, 64, 65, 129, 300].map(|end| layer.run(&[(&sequence, end - 1, end)])));
        bits(&steps.into_iter().flatten().flatten().collect::<Vec<f32>>())
    });
    assert_eq!(one, other);
}

/// Sequences that diverge after one stretch, within one, and after three; some have more queries than others, one
/// sees just one stretch, and one shares nothing.
#[test]
fn stretches_that_sequences_share_are_read_once_and_give_the_same_bits() {
    let gpu = emulated::gpu();
    // Three stretches are shared, with many heads by more rows than one block takes; and some prefix groups are empty.
    for (heads, listed) in [
        (Heads { heads: 4, kv_heads: 2, size: 16 }, 4),
        (Heads { heads: 16, kv_heads: 1, size: 32 }, 8),
        (Heads { heads: 7, kv_heads: 1, size: 72 }, 4),
        (Heads { heads: 7, kv_heads: 1, size: 128 }, 4),
    ] {
        let mut layer = Layer::new(&gpu, heads);
        // Room for all sequences, with several queries each.
        layer.step = Step::new(&gpu, (32, 32, 32 * 52)).unwrap().attending(heads).unwrap();
        let root = Sequence::new(heads, 1550, (48, 1));
        layer.run_alone(&root, &[1550]);
        let branches =
            [(512, 16), (513, 16), (530, 16), (1100, 31), (1110, 32), (1600, 48), (1590, 48), (1601, 48)];
        let mut first = 49;
        let mut sequences: Vec<(Sequence, usize)> = Vec::new();
        for (index, (length, shared)) in branches.into_iter().enumerate() {
            let sequence = root.branch(heads, length, (shared, first));
            first = sequence.table.iter().max().unwrap().max(&first) + 1;
            let asked = length - 1 - if length > 513 { index % 2 } else { 0 };
            sequences.push((sequence, asked));
        }
        let alone = Sequence::new(heads, 600, (159, 1));
        assert!(first < 140, "blocks of their own: {first}");
        sequences.push((alone, 599));
        sequences.push((root, 1549));
        for (sequence, asked) in &sequences {
            layer.run(&[(sequence, 0, *asked)]);
        }
        let wanted: Vec<Vec<u32>> = sequences
            .iter()
            .map(|(sequence, asked)| bits(&layer.run(&[(sequence, *asked, sequence.length(heads))])[0]))
            .collect();
        assert_eq!(layer.step.shared_stretches(), 0, "nobody shares alone");
        let mut together: Vec<_> =
            sequences.iter().map(|(sequence, asked)| (sequence, *asked, sequence.length(heads))).collect();
        let found = layer.run(&together);
        assert_eq!(layer.step.shared_stretches(), listed, "{heads:?}");
        for (index, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            assert_eq!(&bits(found), wanted, "{heads:?}, sequence {index}");
        }
        // A graph that was captured in one order serves another, whose prefix groups have other members.
        let mut rows = layer.begin(&together);
        let attend = || layer.cache.attend(&rows, &layer.step, &mut layer.attended);
        let graph = Graph::capture::<kernels_cuda::Error>(&gpu, attend).unwrap();
        let moves = layer.step.moves();
        together.reverse();
        let turned = layer.begin(&together);
        rows.copy(0, &turned, 0..turned.shape().0).unwrap();
        graph.run().unwrap();
        assert_eq!(layer.step.moves(), moves, "lists stay in their places");
        for (index, (found, wanted)) in layer.attended(&together).iter().zip(wanted.iter().rev()).enumerate()
        {
            assert_eq!(&bits(found), wanted, "{heads:?}, turned round, sequence {index}");
        }
    }
}

/// A graph captured at one length serves all lengths up to the reach of its step.
#[test]
fn a_graph_serves_contexts_that_grow() {
    let gpu = emulated::gpu();
    let heads = Heads { heads: 4, kv_heads: 2, size: 32 };
    let mut layer = Layer::new(&gpu, heads);
    let sequence = Sequence::new(heads, 1024, (159, 2));
    let whole = layer.run_alone(&sequence, &[1024]);
    let columns = heads.heads * heads.size;
    let mut query = Rows::empty(&gpu).unwrap();
    let all = uploaded(&gpu, &sequence.projections, row(heads));
    let mut run = |layer: &mut Layer, position: usize, graph: Option<&Graph>| {
        layer.step.set(&[Chunk { start: position, length: 1, block_table: &sequence.table }]).unwrap();
        query.room((1, row(heads))).unwrap().copy(0, &all, position..position + 1).unwrap();
        let moves = layer.step.moves();
        let captured = match graph {
            Some(graph) => {
                graph.run().unwrap();
                None
            }
            None => {
                layer.cache.attend(&query, &layer.step, &mut layer.attended).unwrap();
                let attend = || layer.cache.attend(&query, &layer.step, &mut layer.attended);
                Some(Graph::capture::<kernels_cuda::Error>(&gpu, attend).unwrap())
            }
        };
        let found = layer.attended.download().unwrap();
        assert_eq!(bits(&found), bits(&whole[position * columns..][..columns]), "position {position}");
        (captured, moves)
    };
    let (graph, moves) = run(&mut layer, 520, None);
    for position in [521, 700, 1023] {
        let (_, moved) = run(&mut layer, position, graph.as_ref());
        assert_eq!(moved, moves, "lists stay in their places");
    }
}

#[test]
fn patches_attend_to_their_own_image_as_their_twins_do() {
    let gpu = emulated::gpu();
    let mut lengths = vec![(1, 3), (64, 1), (149, 2)];
    if is_real() {
        // Those of a real tower, for which an emulated GPU is too slow.
        lengths.push((729, 8));
    }
    for (heads, size) in [(2, 8), (1, 32), (3, 64), (2, 72), (2, 80), (2, 128)] {
        for (length, images) in lengths.iter().copied() {
            let columns = 3 * heads * size;
            let projections = numbers(images * length * columns, 9);
            let mut attended = Rows::empty(&gpu).unwrap();
            attend_all(&uploaded(&gpu, &projections, columns), (heads, length), &mut attended).unwrap();
            let part = |index: usize| {
                Columns::new(&projections, columns, index * heads * size..(index + 1) * heads * size)
            };
            let dense =
                Dense { heads, head_size: size, length, queries: part(0), keys: part(1), values: part(2) };
            let mut wanted = vec![0.0; images * length * heads * size];
            kernels::attend_all(&dense, Isa::best(), &mut wanted);
            let found = attended.download().unwrap();
            assert_close(&format!("{heads} heads of {size}, {images} of {length}"), &found, &wanted);

            // Each image alone has the same bits.
            let last = &projections[(images - 1) * length * columns..];
            attend_all(&uploaded(&gpu, last, columns), (heads, length), &mut attended).unwrap();
            let last = &found[(images - 1) * length * heads * size..];
            assert_eq!(bits(&attended.download().unwrap()), bits(last));
        }
    }
}
