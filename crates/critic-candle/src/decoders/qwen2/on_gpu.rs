//! Steps of a decoder on a GPU. Where each sequence has one token, the kernels of all layers are started as one graph.
//!
//! A step of single tokens is short: starting some ten kernels for each layer one by one would take the processor longer
//! than the GPU needs to run them.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use candle_core::Result;
use critic::Batch;
use kernels_cuda::{Gpu, Graph, Heads, Step};

use super::{Buffers, Layers};
use crate::{
    decoders::TextAnatomy,
    kv_cache::{LayerCache, Plan},
    layers::{Rope, Rows, SPARE_BYTES, gpu_result},
    parallel::Rank,
};

/// Steps of up to this many single tokens run as graphs. More are long enough to hide how they are started.
const GRAPH_ROWS: usize = 64;

/// Bytes of the GPU for graphs: what one takes, which no documentation tells, is measured with the first.
const GRAPH_BYTES: usize = SPARE_BYTES / 2;

/// Graphs that are kept at least and at most, whatever they take. Hardly so many classes come up.
const GRAPHS: RangeInclusive<usize> = 8..=512;

/// Classes that are remembered; more are forgotten all together.
const MOST_CLASSES: usize = 4096;

/// What a GPU keeps from one step to the next.
#[derive(Debug)]
pub(super) struct OnGpu {
    step: Step,
    /// What graphs work in: their memory never moves.
    fixed: (Rows, Buffers),
    /// What other steps work in.
    buffers: Buffers,
    /// Steps of up to this many single tokens run as graphs.
    graph_rows: usize,
    classes: HashMap<Class, Captured>,
    graphs: Graphs,
}

/// How many graphs there are.
#[derive(Debug, Default)]
struct Graphs {
    /// How many may be, once it is known what one takes.
    most: Option<usize>,
    count: usize,
    /// Counts the uses of all.
    uses: u64,
}

/// What two steps have in common that can be run by the same graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    tokens: usize,
    /// Up to which position attention looks at most.
    reach: usize,
    /// How many stretches of contexts sequences share.
    shared_stretches: usize,
}

/// A class of steps that came up.
#[derive(Debug)]
enum Captured {
    /// Once: all kernels have been loaded.
    Seen,
    /// Again, when the step's lists had moved so many times.
    Graph {
        graph: Graph,
        moves: usize,
        /// Which use of a graph was this one's last.
        used: u64,
    },
}

impl OnGpu {
    /// For steps of at most `tokens` tokens of the decoder that `anatomy` measures, or a rank's part of it.
    ///
    /// Several ranks run without graphs: that sums over GPUs are captured in one thread while others run has not been seen on
    /// any GPU. What of a decoder must be split takes a GPU longer for each layer than starting its kernels takes.
    pub(super) fn new(gpu: &Arc<Gpu>, rank: &Rank, anatomy: &TextAnatomy, tokens: usize) -> Result<Self> {
        let graph_rows = if rank.shard.is_whole() { GRAPH_ROWS } else { 0 };
        let anatomy = &anatomy.part(rank.shard);
        let chunks = tokens.min(GRAPH_ROWS);
        let blocks = chunks * anatomy.context_length.div_ceil(kernels_cuda::BLOCK_SIZE);
        let heads = Heads { heads: anatomy.heads, kv_heads: anatomy.kv_heads, size: anatomy.head_size };
        let mut x = Rows::new();
        gpu_result(x.on(gpu)?.room((graph_rows, anatomy.hidden_size)))?;
        Ok(Self {
            step: gpu_result(
                Step::new(gpu, (tokens, chunks, blocks)).and_then(|step| step.attending(heads)),
            )?,
            fixed: (x, Buffers::reserved(gpu, anatomy, graph_rows)?),
            buffers: Buffers::new(),
            graph_rows,
            classes: HashMap::new(),
            graphs: Graphs::default(),
        })
    }

    /// Runs the chunks of `batch` through all layers.
    pub(super) fn forward(
        &mut self,
        (layers, rope): (&Layers, &Rope),
        x: &mut Rows,
        batch: &Batch,
        caches: &mut [LayerCache],
    ) -> Result<()> {
        let plan = Plan::new(batch, rope, Some(&mut self.step))?;
        let Plan::Gpu(step, _) = &plan else { candle_core::bail!("a GPU's rotations are not on the GPU") };
        let class =
            Class { tokens: step.tokens(), reach: step.reach(), shared_stretches: step.shared_stretches() };
        let is_short = class.tokens <= self.graph_rows && batch.chunks.len() == class.tokens;
        if !is_short {
            return layers.forward(x, &plan, caches, &mut self.buffers);
        }
        let moves = step.moves();
        let (own, buffers) = &mut self.fixed;
        let gpu = x.gpu()?.gpu().clone();
        let columns = x.shape()?.1;
        gpu_result(gpu_result(own.on(&gpu)?.room((class.tokens, columns)))?.copy(
            0,
            x.gpu()?,
            0..class.tokens,
        ))?;
        let mut work = || layers.forward(own, &plan, caches, buffers);
        self.graphs.uses += 1;
        match self.classes.get_mut(&class) {
            None => {
                // Kernels are loaded when they first run, which cannot be while a graph is captured.
                work()?;
                if self.classes.len() >= MOST_CLASSES {
                    self.classes.clear();
                    self.graphs.count = 0;
                }
                self.classes.insert(class, Captured::Seen);
            }
            Some(Captured::Graph { graph, moves: then, used }) if *then == moves => {
                *used = self.graphs.uses;
                gpu_result(graph.run())?;
            }
            Some(Captured::Seen | Captured::Graph { .. }) => match self.graphs.capture(&gpu, &mut work) {
                Ok(graph) => {
                    let captured = Captured::Graph { graph, moves, used: self.graphs.uses };
                    if let Some(Captured::Seen) = self.classes.insert(class, captured) {
                        self.graphs.count += 1;
                    }
                    self.graphs.make_room(&mut self.classes);
                }
                Err(error) => {
                    // A graph is only faster. Where the GPU is lost the step fails, too.
                    tracing::warn!(%error, "no more steps are run as graphs");
                    self.graph_rows = 0;
                    self.classes.clear();
                    work()?;
                }
            },
        }
        gpu_result(x.on(&gpu)?.copy(0, own.gpu()?, 0..class.tokens))
    }
}

impl Graphs {
    /// Captures what `work` asks for, and runs it.
    fn capture(&mut self, gpu: &Arc<Gpu>, work: &mut impl FnMut() -> Result<()>) -> Result<Graph> {
        let before = gpu.memory();
        let graph = Graph::capture(gpu, || work().map_err(Failed)).map_err(|Failed(error)| error)?;
        gpu_result(graph.run())?;
        if let (None, Ok((before, _)), Ok((after, _))) = (self.most, before, gpu.memory()) {
            let bytes = before.saturating_sub(after).max(1);
            let most = (GRAPH_BYTES / bytes).clamp(*GRAPHS.start(), *GRAPHS.end());
            tracing::info!(graph_kib = bytes >> 10, most, "captured the first step as a graph");
            self.most = Some(most);
        }
        Ok(graph)
    }

    /// Forgets the graph used longest ago while there are too many.
    fn make_room(&mut self, classes: &mut HashMap<Class, Captured>) {
        while self.most.is_some_and(|most| self.count > most) {
            let used = |(class, captured): (&Class, &Captured)| match captured {
                Captured::Graph { used, .. } => Some((*used, *class)),
                Captured::Seen => None,
            };
            let Some((_, oldest)) = classes.iter().filter_map(used).min_by_key(|(used, _)| *used) else {
                return;
            };
            classes.insert(oldest, Captured::Seen);
            self.count -= 1;
        }
    }
}

/// Why a graph could not be captured.
struct Failed(candle_core::Error);

impl From<kernels_cuda::Error> for Failed {
    fn from(error: kernels_cuda::Error) -> Self {
        Self(candle_core::Error::wrap(error))
    }
}
