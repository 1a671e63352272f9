//! Steps of a decoder on a card. Where each sequence has one token, the kernels of all layers are started as one graph.
//!
//! A step of single tokens is short: starting some ten kernels for each layer one by one would take the processor longer
//! than the card needs to run them.

use std::{collections::HashMap, sync::Arc};

use candle_core::Result;
use critic::Batch;
use kernels_cuda::{Gpu, Graph, Heads, Step};

use super::{Buffers, Layers};
use crate::{
    decoders::TextAnatomy,
    kv_cache::{LayerCache, Plan},
    layers::{Rope, Rows, on_card},
    parallel::Rank,
};

/// Steps of up to this many single tokens run as graphs. More are long enough to hide how they are started.
const GRAPH_ROWS: usize = 64;

/// Graphs that are kept. Each takes memory of the card; hardly so many classes come up.
const MOST_GRAPHS: usize = 512;

/// What a card keeps from one step to the next.
#[derive(Debug)]
pub(super) struct OnCard {
    step: Step,
    /// What graphs work in: their memory never moves.
    fixed: (Rows, Buffers),
    /// What other steps work in.
    buffers: Buffers,
    /// Steps of up to this many single tokens run as graphs.
    graph_rows: usize,
    graphs: HashMap<Class, Captured>,
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
    Graph { graph: Graph, moves: usize },
}

impl OnCard {
    /// For steps of at most `tokens` tokens of the decoder that `anatomy` measures, or a rank's part of it.
    ///
    /// Several ranks run without graphs: that sums over cards are captured in one thread while others run has not been seen on
    /// any card. What of a decoder must be split takes a card longer for each layer than starting its kernels takes.
    pub(super) fn new(gpu: &Arc<Gpu>, rank: &Rank, anatomy: &TextAnatomy, tokens: usize) -> Result<Self> {
        let graph_rows = if rank.shard.is_whole() { GRAPH_ROWS } else { 0 };
        let anatomy = &anatomy.part(rank.shard);
        let chunks = tokens.min(GRAPH_ROWS);
        let blocks = chunks * anatomy.context_length.div_ceil(kernels_cuda::BLOCK_SIZE);
        let heads = Heads { heads: anatomy.heads, kv_heads: anatomy.kv_heads, size: anatomy.head_size };
        let mut x = Rows::new();
        on_card(x.on(gpu)?.room((graph_rows, anatomy.hidden_size)))?;
        Ok(Self {
            step: on_card(Step::new(gpu, (tokens, chunks, blocks)).and_then(|step| step.attending(heads)))?,
            fixed: (x, Buffers::reserved(gpu, anatomy, graph_rows)?),
            buffers: Buffers::new(),
            graph_rows,
            graphs: HashMap::new(),
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
        let Plan::Card(step, _) = &plan else { candle_core::bail!("a card's rotations are not on the card") };
        let class =
            Class { tokens: step.tokens(), reach: step.reach(), shared_stretches: step.shared_stretches() };
        let is_short = class.tokens <= self.graph_rows && batch.chunks.len() == class.tokens;
        if !is_short {
            return layers.forward(x, &plan, caches, &mut self.buffers);
        }
        let moves = step.moves();
        let (own, buffers) = &mut self.fixed;
        let gpu = x.card()?.gpu().clone();
        let columns = x.shape()?.1;
        on_card(on_card(own.on(&gpu)?.room((class.tokens, columns)))?.copy(0, x.card()?, 0..class.tokens))?;
        match self.graphs.get(&class) {
            None => {
                // Kernels are loaded when they first run, which cannot be while a graph is captured.
                layers.forward(own, &plan, caches, buffers)?;
                if self.graphs.len() >= MOST_GRAPHS {
                    self.graphs.clear();
                }
                self.graphs.insert(class, Captured::Seen);
            }
            Some(Captured::Graph { graph, moves: then }) if *then == moves => on_card(graph.run())?,
            Some(Captured::Seen | Captured::Graph { .. }) => {
                let graph =
                    Graph::capture(&gpu, || layers.forward(own, &plan, caches, buffers).map_err(Failed))
                        .map_err(|Failed(error)| error)?;
                on_card(graph.run())?;
                self.graphs.insert(class, Captured::Graph { graph, moves });
            }
        }
        on_card(x.on(&gpu)?.copy(0, own.card()?, 0..class.tokens))
    }
}

/// Why a graph could not be captured.
struct Failed(candle_core::Error);

impl From<kernels_cuda::Error> for Failed {
    fn from(error: kernels_cuda::Error) -> Self {
        Self(candle_core::Error::wrap(error))
    }
}
