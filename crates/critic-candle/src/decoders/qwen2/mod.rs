//! The Qwen2 decoder over a paged cache: grouped-query attention, rotary positions, gated MLP.

mod config;
mod inventory;
mod kind;
mod names;
mod on_gpu;

use std::sync::Arc;

use candle_core::Result;
use critic::{Batch, TokenId};
use kernels_cuda::Gpu;

use self::on_gpu::OnGpu;
pub(crate) use self::{config::Qwen2Config, kind::QWEN2};
use super::{DecoderConfig, DecoderNames};
use crate::{
    device::{ComputeDevice, gpu_result},
    error::LoadError,
    kv_cache::{AttentionBuffers, LayerCache, Plan, TokensOf},
    layers::{Activation, Bias, Embedding, Linear, Norm, Normed, Rope, SummedLinear},
    rows::Rows,
    weights::{MatrixShape, Weights},
};

/// A decoder.
#[derive(Debug)]
pub(crate) struct Qwen2 {
    embedding: Option<Embedding>, // [V, C]; `None` where the head's weight serves as the table
    layers: Layers,
    norm: Norm,
    head: Linear, // [C] -> [V], or a rank's part of the vocabulary
    rope: Rope,
    /// The state of a decoder on a GPU.
    on_gpu: Option<OnGpu>,
}

/// The layers, in order.
#[derive(Debug)]
struct Layers(Vec<Layer>);

/// The inputs of a step that all layers share.
#[derive(Clone, Copy)]
struct DecoderStep<'a> {
    plan: &'a Plan<'a>,
    wanted: TokensOf<'a>,
}

/// Working memory of a layer, shared by all layers.
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
    gates: Linear, // [C] -> [2 * wide]: gate, which is activated, then up, which it is multiplied with
    down: SummedLinear, // [wide] -> [C]
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    projections: Linear,  // [C] -> [(H + 2 K) * D]: queries, keys and values
    output: SummedLinear, // [H * D] -> [C]
}

impl Qwen2 {
    /// Loads the decoder whose tensors have these `names`. Where the head is tied or missing, the embedding's
    /// weight is the head. On one of several ranks, loads only the rank's part of `H`, `K`, the MLP and the head's
    /// vocabulary.
    ///
    /// # Errors
    /// [`LoadError::MoreLayers`] when the checkpoint has a layer after the last one of `config`.
    pub(crate) fn load(
        weights: &Weights,
        names: DecoderNames,
        config: &DecoderConfig,
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let (DecoderNames { prefix, head }, size) = (names, config.hidden_size);
        let tensor = format!("{prefix}layers.{}.input_layernorm.weight", config.layers);
        if let Some(file) = weights.file_of(&tensor) {
            return Err(LoadError::MoreLayers { tensor, file, layers: config.layers });
        }
        let (table, shape) = (names.embedding(), [config.vocabulary, size]);
        let form = weights.form().of_head();
        let gpu = match weights.device() {
            ComputeDevice::Gpu(gpu) => Some(gpu),
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let is_split = !weights.rank().shard.is_whole();
        let tied = config.ties_head(weights, names);
        let embedding = match tied && !form.is_quantised() && gpu.is_none() && !is_split {
            true => None,
            false => Some(Embedding::load(weights, &table, &shape)?),
        };
        let head = if tied { table.as_str() } else { head };
        let head =
            Linear::read(weights.products(form).split_by_outputs(), &[(head.into(), shape.to_vec())], None)?;
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..config.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}layers.{index}."), config))
            .collect();
        let positions = (config.head_size, config.context_length);
        Ok(Self {
            embedding,
            layers: Layers(layers?),
            norm: Norm::rms(weights, &format!("{prefix}norm.weight"), size, config.norm_epsilon)?,
            head,
            rope: Rope::new(positions, config.rope_theta, weights.device())?,
            on_gpu: gpu.map(|gpu| OnGpu::new(gpu, weights.rank(), config, max_step_tokens)).transpose()?,
        })
    }

    /// The embeddings `[tokens, C]` of `tokens`.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Rows> {
        match &self.embedding {
            Some(table) => table.forward(tokens),
            None => self.head.embed(tokens),
        }
    }

    /// Runs the chunks of `batch`, whose embedded tokens are the rows of `x` `[T, C]`, through all layers. `x`
    /// becomes the hidden states of the `wanted` tokens, `[wanted, C]`.
    pub(crate) fn forward(
        &mut self,
        x: &mut Rows,
        wanted: TokensOf<'_>,
        batch: &Batch,
        caches: &mut [LayerCache],
    ) -> Result<()> {
        let wanted = wanted.of_step(x.shape()?.0);
        if let Some(on_gpu) = &mut self.on_gpu {
            return on_gpu.forward((&self.layers, &self.rope), (x, wanted), batch, caches);
        }
        let step = DecoderStep { plan: &Plan::new(batch, &self.rope, None)?, wanted };
        self.layers.forward(x, step, caches, &mut Buffers::new())
    }

    /// Applies the final norm to hidden states `[rows, C]`.
    pub(crate) fn normalise(&self, hidden: &Rows) -> Result<Rows> {
        let mut normed = Rows::new();
        self.norm.forward(hidden, &mut normed)?;
        Ok(normed)
    }

    /// The logits of each row of normalised hidden states `[rows, C]`: `[V]`, or this rank's part of the vocabulary.
    pub(crate) fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>> {
        self.head.floats(normed)
    }
}

impl Layers {
    /// Runs a step through all layers: `x` `[T, C]` becomes the hidden states of the wanted tokens, `[wanted, C]`.
    ///
    /// In the last layer, only keys and values are computed for the other tokens: later tokens attend to these, and
    /// nothing reads the rest.
    fn forward(
        &self,
        x: &mut Rows,
        DecoderStep { plan, wanted }: DecoderStep<'_>,
        caches: &mut [LayerCache],
        buffers: &mut Buffers,
    ) -> Result<()> {
        let last = self.0.len().saturating_sub(1);
        for (index, (layer, cache)) in self.0.iter().zip(caches).enumerate() {
            let wanted = if index == last { wanted } else { TokensOf::Every };
            layer.forward(x, DecoderStep { plan, wanted }, cache, buffers)?;
        }
        Ok(())
    }
}

impl Buffers {
    fn new() -> Self {
        let [normed, projections, attended, gates, gated, change] = std::array::from_fn(|_| Rows::new());
        Self { normed, projections, attended, gates, gated, change }
    }

    /// Buffers on a GPU, with memory for `rows` rows.
    fn reserved(gpu: &Arc<Gpu>, config: &DecoderConfig, rows: usize) -> Result<Self> {
        let mut buffers = Self::new();
        let DecoderConfig { hidden_size, intermediate_size, heads, kv_heads, head_size, .. } = config;
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
    fn load(weights: &Weights, prefix: &str, config: &DecoderConfig) -> std::result::Result<Self, LoadError> {
        let (size, wide) = (config.hidden_size, config.intermediate_size);
        let norm =
            |name: &str| Norm::rms(weights, &format!("{prefix}{name}.weight"), size, config.norm_epsilon);
        let own = weights.products(weights.form()).split_by_outputs();
        let joined = |parts: &[_], bias| Linear::load_joined(own, (prefix, parts), size, bias);
        let back = |name: &str, inputs| {
            let shape = MatrixShape { outputs: size, inputs };
            SummedLinear::load(weights, weights.form(), &format!("{prefix}{name}."), shape)
        };
        let (queries, keys) = (config.heads * config.head_size, config.kv_heads * config.head_size);
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
            activation: config.activation,
        })
    }

    /// Runs the layer on the residual stream `x` `[T, C]`, which keeps only the rows of the wanted tokens. Writes keys
    /// and values into the cache; each chunk attends to its own sequence.
    fn forward(
        &self,
        x: &mut Rows,
        step: DecoderStep<'_>,
        cache: &mut LayerCache,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let Self { attention_norm, attention, mlp_norm, gates, down, activation } = self;
        let normed = Normed { norm: attention_norm, x, normed: &mut buffers.normed };
        attention.projections.forward_normed(normed, &mut buffers.projections)?;
        // The normed rows have been used, and are as large as the attention of all tokens, or about so.
        let written = AttentionBuffers { attended: &mut buffers.attended, scratch: &mut buffers.normed };
        cache.attend(&mut buffers.projections, (step.plan, step.wanted), written)?;
        match step.wanted {
            TokensOf::Every => {}
            TokensOf::These([]) => return Ok(()),
            TokensOf::These(tokens) => *x = x.pick(tokens)?,
        }
        attention.output.add(&buffers.attended, x, &mut buffers.change)?;
        let normed = Normed { norm: mlp_norm, x, normed: &mut buffers.normed };
        gates.gated_normed(normed, *activation, (&mut buffers.gates, &mut buffers.gated))?;
        down.add(&buffers.gated, x, &mut buffers.change)
    }
}
