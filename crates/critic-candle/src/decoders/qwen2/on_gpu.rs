//! Runs the steps of a decoder on a GPU. Where each sequence has one token, the kernels of all layers are launched
//! as one graph.
//!
//! A step of single tokens is short: launching some ten kernels per layer one by one would take the CPU longer than
//! the GPU needs to run them.

use std::{collections::HashSet, hash::RandomState, sync::Arc};

use candle_core::Result;
use critic::Batch;
use kernels_cuda::{Gpu, Graph, Heads, Step};
use lru::LruCache;

use super::{Buffers, DecoderStep, Layers};
use crate::{
    decoders::DecoderConfig,
    device::{SPARE_BYTES, gpu_error, gpu_result},
    kv_cache::{LayerCache, Plan, TokensOf},
    layers::Rope,
    parallel::Rank,
    rows::Rows,
};

/// Steps of up to this many single tokens run as graphs. Longer steps hide the time of their launches.
const GRAPH_ROWS: usize = 64;

/// Bytes of the GPU for graphs. The size of a graph is not documented, and is measured with the first one.
const GRAPH_BYTES: usize = SPARE_BYTES / 2;

/// The least bytes that a graph is assumed to take. The driver allocates in large units, so the first graph may fit
/// into one that exists already and appear to take nothing. Some 290 kernels of about 10 KiB each are 3 MiB.
const LEAST_GRAPH_BYTES: usize = 4 << 20;

/// Graphs that may always be kept, whatever their size.
const FEWEST_GRAPHS: usize = 8;

/// The most classes that are remembered; then all are forgotten together.
const MOST_CLASSES: usize = 4096;

/// The state of a decoder on a GPU that lasts from one step to the next.
#[derive(Debug)]
pub(super) struct OnGpu {
    step: Step,
    fixed: FixedMemory,
    /// Working memory of steps that run without a graph.
    buffers: Buffers,
    graphs: Graphs,
}

/// The memory of steps that run as graphs, whose addresses never change.
#[derive(Debug)]
struct FixedMemory {
    /// The residual stream `[T, C]`.
    x: Rows,
    /// Working memory of the layers.
    buffers: Buffers,
}

/// The graphs of steps of single tokens.
#[derive(Debug)]
struct Graphs {
    /// Steps of up to this many single tokens run as graphs; 0 for none.
    rows: usize,
    /// Classes of which a step has run, so that its kernels have been loaded.
    seen: HashSet<Class>,
    captured: LruCache<Class, Captured, RandomState>,
    /// The most graphs to keep; `None` until the first one has been measured.
    most: Option<usize>,
}

/// The properties in which steps must agree to run as the same graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    tokens: usize,
    /// Upper bound of the positions that attention reads, rounded up to a power of two.
    reach: usize,
    /// Number of stretches of contexts that sequences share, rounded up as well.
    shared_stretches: usize,
}

/// A graph, which is valid while the step's lists have moved exactly `moves` times.
#[derive(Debug)]
struct Captured {
    graph: Graph,
    moves: usize,
}

impl OnGpu {
    /// The state for steps of at most `tokens` tokens of the decoder with this `config`, or of a rank's part of it.
    ///
    /// Several ranks run without graphs: capturing sums over GPUs in one thread while others run has not been
    /// tested on any GPU. In a decoder that is large enough to be split, a layer takes the GPU longer than
    /// launching its kernels.
    pub(super) fn new(gpu: &Arc<Gpu>, rank: &Rank, config: &DecoderConfig, tokens: usize) -> Result<Self> {
        let graph_rows = if rank.shard.is_whole() { GRAPH_ROWS } else { 0 };
        let config = &config.part(rank.shard);
        let chunks = tokens.min(GRAPH_ROWS);
        let blocks = chunks * config.context_length.div_ceil(kernels_cuda::BLOCK_SIZE);
        let heads = Heads { heads: config.heads, kv_heads: config.kv_heads, size: config.head_size };
        let mut x = Rows::new();
        gpu_result(x.on(gpu)?.room((graph_rows, config.hidden_size)))?;
        Ok(Self {
            step: gpu_result(
                Step::new(gpu, (tokens, chunks, blocks)).and_then(|step| step.attending(heads)),
            )?,
            fixed: FixedMemory { x, buffers: Buffers::reserved(gpu, config, graph_rows)? },
            buffers: Buffers::new(),
            graphs: Graphs::new(graph_rows),
        })
    }

    /// Runs the chunks of `batch`, whose embedded tokens are the rows of `x` `[T, C]`, through all layers. `x`
    /// becomes the hidden states of the wanted tokens, `[wanted, C]`.
    pub(super) fn forward(
        &mut self,
        (layers, rope): (&Layers, &Rope),
        (x, wanted): (&mut Rows, TokensOf<'_>),
        batch: &Batch,
        caches: &mut [LayerCache],
    ) -> Result<()> {
        let plan = Plan::new(batch, rope, Some(&mut self.step))?;
        let Plan::Gpu(step, rotations) = &plan else {
            candle_core::bail!("a GPU's rotations are not on the GPU")
        };
        let class = Class::of(step);
        if class.tokens > self.graphs.rows || !has_single_tokens(batch) {
            return layers.forward(x, DecoderStep { plan: &plan, wanted }, caches, &mut self.buffers);
        }
        // Checked here, since running a captured graph repeats no checks.
        for cache in caches.iter() {
            if let LayerCache::Gpu(cache) = cache {
                cache.assert_has(step, rotations);
            }
        }
        let (gpu, moves) = (x.gpu()?.gpu().clone(), step.moves());
        self.fixed.take(x, class.tokens)?;
        let FixedMemory { x: own, buffers } = &mut self.fixed;
        // A graph computes all tokens, since all tokens of a short step are usually wanted: then one copy follows.
        let all = DecoderStep { plan: &plan, wanted: TokensOf::Every };
        let mut work = || layers.forward(own, all, caches, buffers);
        self.graphs.run(&gpu, (class, moves), &mut work)?;
        self.fixed.give(x, wanted, class.tokens)
    }
}

impl FixedMemory {
    /// Copies the `tokens` rows of `x` here.
    fn take(&mut self, x: &Rows, tokens: usize) -> Result<()> {
        let x = x.gpu()?;
        let own = gpu_result(self.x.on(x.gpu())?.room((tokens, x.shape().1)))?;
        gpu_result(own.copy(0, x, 0..tokens))
    }

    /// Copies the rows of the wanted tokens, of `tokens`, to `x`.
    fn give(&self, x: &mut Rows, wanted: TokensOf<'_>, tokens: usize) -> Result<()> {
        match wanted {
            TokensOf::Every => {
                let own = self.x.gpu()?;
                gpu_result(x.on(own.gpu())?.copy(0, own, 0..tokens))?;
            }
            TokensOf::These([]) => {}
            TokensOf::These(rows) => *x = self.x.pick(rows)?,
        }
        Ok(())
    }
}

impl Class {
    /// The class of a step of single tokens.
    fn of(step: &Step) -> Self {
        Self { tokens: step.tokens(), reach: step.reach(), shared_stretches: step.shared_stretches() }
    }
}

impl Graphs {
    /// No graphs yet, of steps of up to `rows` single tokens.
    fn new(rows: usize) -> Self {
        let captured = LruCache::unbounded_with_hasher(RandomState::new());
        Self { rows, seen: HashSet::new(), captured, most: None }
    }

    /// Runs a step of a `class` whose lists have moved `moves` times: as a graph if one is there or can be captured
    /// now, and otherwise by `work`, which launches its kernels.
    fn run(
        &mut self,
        gpu: &Arc<Gpu>,
        (class, moves): (Class, usize),
        work: &mut impl FnMut() -> Result<()>,
    ) -> Result<()> {
        if let Some(captured) = self.captured.get(&class).filter(|captured| captured.moves == moves) {
            return gpu_result(captured.graph.run());
        }
        if !self.seen.contains(&class) {
            // Kernels are loaded at their first launch, which is not possible while a graph is captured.
            work()?;
            self.remember(class);
            return Ok(());
        }
        match self.capture(gpu, work) {
            Ok(graph) => {
                self.captured.put(class, Captured { graph, moves });
                self.make_room();
                Ok(())
            }
            Err(error) => {
                // Graphs are only an optimisation, so the step runs without one. If the GPU is lost, that fails as
                // well.
                tracing::warn!(%error, "no more steps are run as graphs");
                *self = Self::new(0);
                work()
            }
        }
    }

    /// Remembers a class of which a step has run.
    fn remember(&mut self, class: Class) {
        if self.seen.len() >= MOST_CLASSES {
            self.seen.clear();
            self.captured.clear();
        }
        self.seen.insert(class);
    }

    /// Captures the kernels that `work` launches as a graph, and runs it.
    fn capture(&mut self, gpu: &Arc<Gpu>, work: &mut impl FnMut() -> Result<()>) -> Result<Graph> {
        let before = gpu.memory();
        let graph = Graph::capture(gpu, || work().map_err(Failed)).map_err(|Failed(error)| error)?;
        gpu_result(graph.run())?;
        if let (None, Ok((before, _)), Ok((after, _))) = (self.most, before, gpu.memory()) {
            let bytes = before.saturating_sub(after);
            let most = most_graphs(bytes);
            tracing::info!(graph_kib = bytes >> 10, most, "captured the first step as a graph");
            self.most = Some(most);
        }
        Ok(graph)
    }

    /// Evicts the least recently used graphs while there are too many.
    fn make_room(&mut self) {
        while self.most.is_some_and(|most| self.captured.len() > most) {
            self.captured.pop_lru();
        }
    }
}

/// Why a graph could not be captured.
struct Failed(candle_core::Error);

impl From<kernels_cuda::Error> for Failed {
    fn from(error: kernels_cuda::Error) -> Self {
        Self(gpu_error(error))
    }
}

/// Whether each chunk of `batch` is one token. The total is not sufficient: one chunk may have two tokens, and
/// another none.
fn has_single_tokens(batch: &Batch) -> bool {
    batch.chunks.iter().all(|chunk| chunk.tokens.len() == 1)
}

/// The most graphs to keep if the first one took `bytes`.
fn most_graphs(bytes: usize) -> usize {
    (GRAPH_BYTES / bytes.max(LEAST_GRAPH_BYTES)).max(FEWEST_GRAPHS)
}

#[cfg(test)]
mod tests {
    use critic::{Chunk, SequenceId, TokenId, Wants};

    use super::*;

    #[test]
    fn steps_of_single_tokens_are_those_whose_every_chunk_is_one() {
        let has = |lengths: &[usize]| {
            let chunk = |length: &usize| Chunk {
                sequence: SequenceId(0),
                tokens: vec![TokenId(0); *length],
                start: 0,
                block_table: Vec::new(),
                visuals: Vec::new(),
                wants: Wants::Logits,
            };
            has_single_tokens(&Batch { chunks: lengths.iter().map(chunk).collect() })
        };
        assert!(has(&[1]) && has(&[1, 1, 1]));
        // As many tokens as chunks.
        assert!(!has(&[2, 0]) && !has(&[0, 1, 2]) && !has(&[3]));
    }

    #[test]
    fn graphs_are_as_many_as_fit_though_the_first_seems_to_take_nothing() {
        assert_eq!([0, 1 << 20, 8 << 20, 1 << 30].map(most_graphs), [64, 64, 32, 8]);
    }
}
