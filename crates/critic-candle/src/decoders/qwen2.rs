//! The Qwen2 decoder over a paged cache: grouped-query attention, rotary positions, gated MLP.

use candle_core::{DType, Device, Result, Tensor};
use critic::{Batch, TokenId};
use kernels::Heads;

use crate::{
    architectures::llava_onevision::TextAnatomy,
    error::LoadError,
    kv_cache::{LayerCache, Plan},
    layers::{Activation, Embedding, Linear, RmsNorm, Rope, Rotation, Rows},
    weights::Weights,
};

/// A decoder.
#[derive(Debug)]
pub(crate) struct Qwen2 {
    embedding: Option<Embedding>, // [V, C], unless it is the head's weight as it is
    device: Device,
    dtype: DType,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear, // [C] -> [V]
    rope: Rope,
}

/// What every layer needs to know of a step, worked out once for all of them.
struct Step<'a> {
    plan: Plan<'a>,
    /// By every token's position.
    rotation: Rotation,
}

/// What a layer works in, the same memory for all of them.
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
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    gates: Linear, // [C] -> [2 * wide], what is activated and then what that is multiplied with
    down: Linear,  // [wide] -> [C]
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    projections: Linear, // [C] -> [(H + 2 K) * D]: queries, keys and values
    output: Linear,      // [H * D] -> [C]
    heads: Heads,
}

impl Qwen2 {
    /// Reads the decoder whose tensors begin with `prefix`, and the head `head` unless it is tied.
    pub(crate) fn load(
        weights: &Weights,
        (prefix, head): (&str, &str),
        anatomy: &TextAnatomy,
        (device, dtype): (&Device, DType),
    ) -> std::result::Result<Self, LoadError> {
        let size = anatomy.hidden_size;
        let (table, shape) = (format!("{prefix}embed_tokens.weight"), [anatomy.vocabulary, size]);
        let form = weights.form().of_head();
        let embedding = match anatomy.tied && !form.is_quantised() {
            true => None,
            false => Some(Embedding::load(weights, &table, &shape)?),
        };
        let head = if anatomy.tied { &table } else { head };
        let head = Linear::read((weights, form), &[(head.into(), shape.to_vec())], None)?;
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..anatomy.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}layers.{index}."), anatomy))
            .collect();
        let positions = (anatomy.head_size, anatomy.context_length);
        Ok(Self {
            embedding,
            device: device.clone(),
            dtype,
            layers: layers?,
            norm: RmsNorm::load(weights, &format!("{prefix}norm.weight"), size, anatomy.norm_epsilon)?,
            head,
            rope: Rope::new(positions, anatomy.rope_theta, device, dtype)?,
        })
    }

    /// The vectors `[tokens, C]` of `tokens`.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Tensor> {
        match &self.embedding {
            Some(table) => table.forward(tokens),
            None => self.head.embed(tokens),
        }
    }

    /// Runs the chunks of `batch` whose embedded tokens are the rows of `x` `[T, C]`, which become the hidden states.
    pub(crate) fn forward(&self, x: &mut Rows, batch: &Batch, caches: &mut [LayerCache]) -> Result<()> {
        let positions: Vec<u32> =
            batch.chunks.iter().flat_map(|chunk| chunk.start as u32..chunk.end() as u32).collect();
        let plan = Plan::new(batch, &self.device, self.dtype)?;
        let step = Step { plan, rotation: self.rope.at(&positions)? };
        let mut buffers = Buffers::new();
        for (layer, cache) in self.layers.iter().zip(caches) {
            layer.forward(x, &step, cache, &mut buffers)?;
        }
        Ok(())
    }

    /// Hidden states `[rows, C]`, normalised.
    pub(crate) fn normalise(&self, hidden: &Rows) -> Result<Rows> {
        let mut normed = Rows::new();
        self.norm.forward(hidden, &mut normed)?;
        Ok(normed)
    }

    /// Normalised hidden states `[rows, C]` to logits `[rows, V]`.
    pub(crate) fn logits(&self, normed: &Rows) -> Result<Rows> {
        let mut logits = Rows::new();
        self.head.forward(normed, &mut logits)?;
        Ok(logits)
    }
}

impl Buffers {
    fn new() -> Self {
        let [normed, projections, attended, gates, gated, change] = std::array::from_fn(|_| Rows::new());
        Self { normed, projections, attended, gates, gated, change }
    }
}

impl Layer {
    fn load(weights: &Weights, prefix: &str, anatomy: &TextAnatomy) -> std::result::Result<Self, LoadError> {
        let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
        let norm = |name: &str| {
            RmsNorm::load(weights, &format!("{prefix}{name}.weight"), size, anatomy.norm_epsilon)
        };
        let place = (weights, weights.form());
        let joined = |parts: &[_], has_bias| Linear::load_joined(place, (prefix, parts), size, has_bias);
        let back = |name: &str, input| Linear::load(place, &format!("{prefix}{name}."), (input, size), false);
        let heads = Heads { heads: anatomy.heads, kv_heads: anatomy.kv_heads, size: anatomy.head_size };
        let (queries, keys) = (heads.heads * heads.size, heads.kv_heads * heads.size);
        let projections =
            [("self_attn.q_proj.", queries), ("self_attn.k_proj.", keys), ("self_attn.v_proj.", keys)];
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention {
                projections: joined(&projections, true)?,
                output: back("self_attn.o_proj", queries)?,
                heads,
            },
            mlp_norm: norm("post_attention_layernorm")?,
            gates: joined(&[("mlp.gate_proj.", wide), ("mlp.up_proj.", wide)], false)?,
            down: back("mlp.down_proj", wide)?,
            activation: anatomy.activation,
        })
    }

    /// Adds to `x` `[T, C]` what the layer makes of it.
    fn forward(
        &self,
        x: &mut Rows,
        step: &Step<'_>,
        cache: &mut LayerCache,
        buffers: &mut Buffers,
    ) -> Result<()> {
        self.attention_norm.forward(x, &mut buffers.normed)?;
        self.attention.forward(step, cache, buffers)?;
        x.add(&buffers.change)?;
        self.mlp_norm.forward(x, &mut buffers.normed)?;
        self.gates.forward(&buffers.normed, &mut buffers.gates)?;
        self.activation.gate(&buffers.gates, &mut buffers.gated)?;
        self.down.forward(&buffers.gated, &mut buffers.change)?;
        x.add(&buffers.change)
    }
}

impl Attention {
    /// What is normed to the change. Keys and values go into the cache, and each chunk attends to its own sequence.
    fn forward(&self, step: &Step<'_>, cache: &mut LayerCache, buffers: &mut Buffers) -> Result<()> {
        self.projections.forward(&buffers.normed, &mut buffers.projections)?;
        step.rotation.apply(&mut buffers.projections, self.heads.heads + self.heads.kv_heads)?;
        cache.attend(&buffers.projections, &step.plan, &mut buffers.attended)?;
        self.output.forward(&buffers.attended, &mut buffers.change)
    }
}
