//! Times each kernel by itself, at the shapes of a 7B and a 72B critic, and prints a table with the rates of reading
//! and of arithmetic. Without `GAVEL_REAL_GPU` the shapes are tiny, which shows that every kernel can be timed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod attention;
#[path = "../emulated/mod.rs"]
mod emulated;
mod products;
mod rows;

use std::sync::Arc;

use kernels_cuda::{Draw, Error, Gpu, Graph, Heads, Result, Rows};

/// Bytes that the launches of a graph read in all, so that none finds its operands in a cache (50 MiB on H100).
const MOST_CACHED: usize = 512 << 20;

/// The sizes of a decoder.
struct Model {
    name: &'static str,
    hidden: usize,
    intermediate: usize,
    vocabulary: usize,
    heads: Heads,
}

const MODELS: [Model; 2] = [
    Model {
        name: "7b",
        hidden: 3584,
        intermediate: 18_944,
        vocabulary: 152_064,
        heads: Heads { heads: 28, kv_heads: 4, size: 128 },
    },
    Model {
        name: "72b",
        hidden: 8192,
        intermediate: 29_568,
        vocabulary: 152_064,
        heads: Heads { heads: 64, kv_heads: 8, size: 128 },
    },
];

const TINY: Model = Model {
    name: "tiny",
    hidden: 128,
    intermediate: 160,
    vocabulary: 200,
    heads: Heads { heads: 4, kv_heads: 2, size: 32 },
};

/// How much is timed.
struct Extent {
    models: &'static [Model],
    /// Launches of each kernel in all, and those of a graph, by which the time of starting a graph is divided.
    launches: usize,
    of_graph: usize,
    /// Rows of products by our own kernels.
    few_rows: &'static [usize],
    /// Rows of products that layers compute by the library, or in parts.
    many_rows: &'static [usize],
    /// Tokens of a chunk of a prompt, and the positions at which it ends.
    chunk: usize,
    ends: &'static [usize],
    /// Sequences that decode a token, and the positions of each.
    decoding: &'static [(usize, usize)],
    /// Sequences that share positions, and these positions.
    sharing: (usize, usize),
    images: Images,
}

/// What a vision tower attends to.
#[derive(Clone, Copy)]
struct Images {
    tiles: usize,
    /// Patches of a tile.
    patches: usize,
    heads: usize,
    head_size: usize,
}

const FULL: Extent = Extent {
    models: &MODELS,
    launches: 200,
    of_graph: 20,
    few_rows: &[1, 8, 16, 32, 64],
    many_rows: &[65, 96, 128, 192, 512, 4096],
    chunk: 512,
    ends: &[1024, 4096, 8192],
    decoding: &[(1, 1024), (1, 8192), (64, 8192)],
    sharing: (20, 2048),
    images: Images { tiles: 7, patches: 729, heads: 16, head_size: 72 },
};

const QUICK: Extent = Extent {
    models: &[TINY],
    launches: 4,
    of_graph: 2,
    few_rows: &[1, 20],
    many_rows: &[65],
    chunk: 64,
    ends: &[96],
    decoding: &[(1, 64), (2, 600)],
    sharing: (16, 512),
    images: Images { tiles: 1, patches: 20, heads: 2, head_size: 8 },
};

/// What a launch costs at least.
struct Cost {
    /// Bytes that it reads and writes.
    bytes: f64,
    /// Operations of its products, where a multiply-add is two.
    operations: f64,
}

/// Times kernels on a GPU.
struct Bench {
    gpu: Arc<Gpu>,
    extent: Extent,
    /// The names of what was timed.
    timed: Vec<String>,
}

impl Bench {
    /// Times `launch`, which is passed the number of the launch in its graph.
    fn time(&mut self, name: String, cost: &Cost, mut launch: impl FnMut(usize) -> Result<()>) {
        let Extent { launches, of_graph, .. } = self.extent;
        // Kernels are loaded and memory is allocated before, since neither can be captured.
        (0..of_graph).try_for_each(&mut launch).unwrap();
        let graph = Graph::capture::<Error>(&self.gpu, || (0..of_graph).try_for_each(&mut launch)).unwrap();
        graph.run().unwrap();
        let graphs = launches / of_graph;
        let elapsed = self.gpu.elapsed(|| (0..graphs).try_for_each(|_| graph.run())).unwrap();
        let seconds = elapsed.as_secs_f64() / (graphs * of_graph) as f64;
        let (reading, arithmetic) = (cost.bytes / seconds / 1e9, cost.operations / seconds / 1e12);
        println!("{name:<44} {:>9.2} µs {reading:>8.1} GB/s {arithmetic:>7.2} TFLOP/s", seconds * 1e6);
        self.timed.push(name);
    }

    /// Returns the copies of an operand of `bytes` bytes that the launches of a graph take in turn.
    fn copies(&self, bytes: usize) -> usize {
        (MOST_CACHED / bytes.max(1)).clamp(1, self.extent.of_graph)
    }

    /// Returns rows of random numbers.
    fn random(&self, rows: usize, columns: usize) -> Rows {
        let mut random = Rows::empty(&self.gpu).unwrap();
        random.room((rows, columns)).unwrap();
        Draw { key: 1, centre: 0.0, spread: 1.0 }.fill(&mut random, 0..rows, 0).unwrap();
        random
    }

    fn empty(&self) -> Rows {
        Rows::empty(&self.gpu).unwrap()
    }
}

#[test]
fn every_kernel_is_timed_by_itself() {
    let is_real = std::env::var_os("GAVEL_REAL_GPU").is_some();
    let extent = if is_real { FULL } else { QUICK };
    let mut bench = Bench { gpu: emulated::gpu(), extent, timed: Vec::new() };
    for model in bench.extent.models {
        products::few(&mut bench, model);
        products::many(&mut bench, model);
        attention::steps(&mut bench, model);
        rows::of_decoder(&mut bench, model);
    }
    attention::images(&mut bench);
    rows::of_tower(&mut bench);
    for kind in [
        "bf16 gates",
        "q8 down",
        "q4 head",
        "many",
        "expand q4",
        "attend_paged",
        "attend_split",
        "attend_shared",
        "attend_dense",
        "rotate_and_store",
        "rms_norm,",
        "rms_norm_rounded",
        "layer_norm",
        "round_rows",
        "gate",
    ] {
        assert!(bench.timed.iter().any(|name| name.contains(kind)), "{kind}: {:?}", bench.timed);
    }
}
