//! The Qwen2 decoder over a paged cache: grouped-query attention, rotary positions, gated MLP.

mod config;
mod names;
mod on_gpu;

use std::sync::Arc;

use candle_core::Result;
use critic::{Batch, TokenId};
use kernels_cuda::Gpu;

use self::on_gpu::OnGpu;
pub(crate) use self::{
    config::Qwen2Config,
    names::{HEAD_IN_GGUF, IN_GGUF, Names},
};

use super::TextAnatomy;
use crate::{
    error::LoadError,
    kv_cache::{LayerCache, Plan},
    layers::{
        Activation, Bias, ComputeDevice, Embedding, Linear, Norm, Rope, Rows, SummedLinear, gpu_result,
    },
    weights::Weights,
};

/// A decoder.
#[derive(Debug)]
pub(crate) struct Qwen2 {
    embedding: Option<Embedding>, // [V, C], unless it is the head's weight as it is
    layers: Layers,
    norm: Norm,
    head: Linear, // [C] -> [V], or a rank's part of the vocabulary
    rope: Rope,
    /// Where the model is on a GPU.
    on_gpu: Option<OnGpu>,
}

/// The layers, in order.
#[derive(Debug)]
struct Layers(Vec<Layer>);

/// What a layer works in, the same memory for all of them.
#[derive(Debug)]
struct Buffers {
    normed: Rows,      // [T, C]
    projections: Rows, // [T, (H + 2 K) * D]
    attended: Rows,    // [T, H * D]
    gates: Rows,       // [T, 2 * wide]
    gated: Rows,       // [T, wide]
    change: Rows,      // [T, C]
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    gates: Linear, // [C] -> [2 * wide], what is activated and then what that is multiplied with
    down: SummedLinear, // [wide] -> [C]
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    projections: Linear,  // [C] -> [(H + 2 K) * D]: queries, keys and values
    output: SummedLinear, // [H * D] -> [C]
}

impl Qwen2 {
    /// Reads the decoder whose tensors have these `names`; without a head, as where it is tied, the embeddings are the head. Of several ranks that of
    /// `weights`, whose parts of `H`, `K`, the MLP and the vocabulary it has.
    pub(crate) fn load(
        weights: &Weights,
        names: Names,
        anatomy: &TextAnatomy,
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let (Names { prefix, head }, size) = (names, anatomy.hidden_size);
        let (table, shape) = (names.embedding(), [anatomy.vocabulary, size]);
        let form = weights.form().of_head();
        let gpu = match weights.device() {
            ComputeDevice::Gpu(gpu) => Some(gpu),
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let is_split = !weights.rank().shard.is_whole();
        let tied = anatomy.ties_head(weights, names);
        let embedding = match tied && !form.is_quantised() && gpu.is_none() && !is_split {
            true => None,
            false => Some(Embedding::load(weights, &table, &shape)?),
        };
        let head = if tied { table.as_str() } else { head };
        let head =
            Linear::read(weights.products(form).split_by_outputs(), &[(head.into(), shape.to_vec())], None)?;
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..anatomy.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}layers.{index}."), anatomy))
            .collect();
        let positions = (anatomy.head_size, anatomy.context_length);
        Ok(Self {
            embedding,
            layers: Layers(layers?),
            norm: Norm::rms(weights, &format!("{prefix}norm.weight"), size, anatomy.norm_epsilon)?,
            head,
            rope: Rope::new(positions, anatomy.rope_theta, weights.device())?,
            on_gpu: gpu.map(|gpu| OnGpu::new(gpu, weights.rank(), anatomy, max_step_tokens)).transpose()?,
        })
    }

    /// The vectors `[tokens, C]` of `tokens`.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Rows> {
        match &self.embedding {
            Some(table) => table.forward(tokens),
            None => self.head.embed(tokens),
        }
    }

    /// Runs the chunks of `batch` whose embedded tokens are the rows of `x` `[T, C]`, which become the hidden states.
    pub(crate) fn forward(&mut self, x: &mut Rows, batch: &Batch, caches: &mut [LayerCache]) -> Result<()> {
        if let Some(on_gpu) = &mut self.on_gpu {
            return on_gpu.forward((&self.layers, &self.rope), x, batch, caches);
        }
        let plan = Plan::new(batch, &self.rope, None)?;
        self.layers.forward(x, &plan, caches, &mut Buffers::new())
    }

    /// Hidden states `[rows, C]`, normalised.
    pub(crate) fn normalise(&self, hidden: &Rows) -> Result<Rows> {
        let mut normed = Rows::new();
        self.norm.forward(hidden, &mut normed)?;
        Ok(normed)
    }

    /// Normalised hidden states `[rows, C]` to the logits of each row, `[V]` or this rank's part of them.
    pub(crate) fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>> {
        self.head.floats(normed)
    }
}

impl Layers {
    /// Runs a step through all layers: `x` `[T, C]` becomes the hidden states.
    fn forward(
        &self,
        x: &mut Rows,
        plan: &Plan<'_>,
        caches: &mut [LayerCache],
        buffers: &mut Buffers,
    ) -> Result<()> {
        self.0.iter().zip(caches).try_for_each(|(layer, cache)| layer.forward(x, plan, cache, buffers))
    }
}

impl Buffers {
    fn new() -> Self {
        let [normed, projections, attended, gates, gated, change] = std::array::from_fn(|_| Rows::new());
        Self { normed, projections, attended, gates, gated, change }
    }

    /// On a GPU, with memory for `rows` rows.
    fn reserved(gpu: &Arc<Gpu>, anatomy: &TextAnatomy, rows: usize) -> Result<Self> {
        let mut buffers = Self::new();
        let TextAnatomy { hidden_size, intermediate_size, heads, kv_heads, head_size, .. } = anatomy;
        let sizes = [
            (&mut buffers.normed, *hidden_size),
            (&mut buffers.projections, (heads + 2 * kv_heads) * head_size),
            (&mut buffers.attended, heads * head_size),
            (&mut buffers.gates, 2 * intermediate_size),
            (&mut buffers.gated, *intermediate_size),
        ];
        for (buffer, columns) in sizes {
            gpu_result(buffer.on(gpu)?.room((rows, columns)))?;
        }
        Ok(buffers)
    }
}

impl Layer {
    fn load(weights: &Weights, prefix: &str, anatomy: &TextAnatomy) -> std::result::Result<Self, LoadError> {
        let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
        let norm =
            |name: &str| Norm::rms(weights, &format!("{prefix}{name}.weight"), size, anatomy.norm_epsilon);
        let own = weights.products(weights.form()).split_by_outputs();
        let joined = |parts: &[_], bias| Linear::load_joined(own, (prefix, parts), size, bias);
        let back = |name: &str, input| {
            SummedLinear::load(weights, weights.form(), &format!("{prefix}{name}."), (input, size))
        };
        let (queries, keys) = (anatomy.heads * anatomy.head_size, anatomy.kv_heads * anatomy.head_size);
        let projections =
            [("self_attn.q_proj.", queries), ("self_attn.k_proj.", keys), ("self_attn.v_proj.", keys)];
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention {
                projections: joined(&projections, Bias::Present)?,
                output: back("self_attn.o_proj", queries)?,
            },
            mlp_norm: norm("post_attention_layernorm")?,
            gates: joined(&[("mlp.gate_proj.", wide), ("mlp.up_proj.", wide)], Bias::Absent)?,
            down: back("mlp.down_proj", wide)?,
            activation: anatomy.activation,
        })
    }

    /// Adds to `x` `[T, C]` what the layer makes of it.
    fn forward(
        &self,
        x: &mut Rows,
        plan: &Plan<'_>,
        cache: &mut LayerCache,
        buffers: &mut Buffers,
    ) -> Result<()> {
        self.attention_norm.forward(x, &mut buffers.normed)?;
        self.attention.forward(x, plan, cache, buffers)?;
        self.mlp_norm.forward(x, &mut buffers.normed)?;
        self.gates.forward(&buffers.normed, &mut buffers.gates)?;
        self.activation.gate(&buffers.gates, &mut buffers.gated)?;
        self.down.add(&buffers.gated, x, &mut buffers.change)
    }
}

impl Attention {
    /// Adds to `x` what comes of the normed rows. Keys and values go into the cache, and each chunk attends to its own
    /// sequence.
    fn forward(
        &self,
        x: &mut Rows,
        plan: &Plan<'_>,
        cache: &mut LayerCache,
        buffers: &mut Buffers,
    ) -> Result<()> {
        self.projections.forward(&buffers.normed, &mut buffers.projections)?;
        cache.attend(&mut buffers.projections, plan, &mut buffers.attended)?;
        self.output.add(&buffers.attended, x, &mut buffers.change)
    }
}
