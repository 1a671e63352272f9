//! The Qwen2 decoder over a paged cache: grouped-query attention, rotary positions, gated MLP.

use candle_core::{DType, Device, Result, Tensor};
use critic::{Batch, TokenId};

use crate::{
    architectures::llava_onevision::TextAnatomy,
    error::LoadError,
    kv_cache::{LayerCache, Plan, Projections},
    layers::{Activation, Linear, RmsNorm, Rope, look_up},
    weights::Weights,
};

/// A decoder.
#[derive(Debug)]
pub(crate) struct Qwen2 {
    embedding: Option<Tensor>, // [V, C], unless it is the head's weight as it is
    dtype: DType,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear, // [C] -> [V]
    rope: Rope,
}

/// What every layer needs to know of a step, worked out once for all of them.
struct Step<'a> {
    plan: Plan<'a>,
    /// Cosines and sines of every token's position.
    rotation: (Tensor, Tensor),
}

#[derive(Debug)]
struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    query: Linear,  // [C] -> [H * D]
    key: Linear,    // [C] -> [K * D]
    value: Linear,  // [C] -> [K * D]
    output: Linear, // [H * D] -> [C]
    heads: usize,
    kv_heads: usize,
    head_size: usize,
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
            false => Some(weights.table(&table, &shape)?),
        };
        let head = Linear::read((weights, form), if anatomy.tied { &table } else { head }, &shape, None)?;
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..anatomy.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}layers.{index}."), anatomy))
            .collect();
        let positions = (anatomy.head_size, anatomy.context_length);
        Ok(Self {
            embedding,
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
            Some(table) => look_up((table, self.dtype), tokens),
            None => self.head.embed(tokens),
        }
    }

    /// Runs the chunks of `batch` whose embedded tokens are the rows of `x` `[T, C]`, to the normalised hidden states
    /// `[T, C]`.
    pub(crate) fn forward(&self, x: &Tensor, batch: &Batch, caches: &mut [LayerCache]) -> Result<Tensor> {
        let positions: Vec<u32> =
            batch.chunks.iter().flat_map(|chunk| chunk.start as u32..chunk.end() as u32).collect();
        let rotation = self.rope.rows(&Tensor::new(positions, x.device())?)?;
        let step = Step { plan: Plan::new(batch, x.device(), x.dtype())?, rotation };
        let mut x = x.clone();
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.forward(&x, &step, cache)?;
        }
        self.norm.forward(&x)
    }

    /// Hidden states `[rows, C]` to logits `[rows, V]`.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }
}

impl Layer {
    fn load(weights: &Weights, prefix: &str, anatomy: &TextAnatomy) -> std::result::Result<Self, LoadError> {
        let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
        let norm = |name: &str| {
            RmsNorm::load(weights, &format!("{prefix}{name}.weight"), size, anatomy.norm_epsilon)
        };
        let form = weights.form();
        let linear =
            |name: &str, shape, bias| Linear::load((weights, form), &format!("{prefix}{name}."), shape, bias);
        let (queries, keys) = (anatomy.heads * anatomy.head_size, anatomy.kv_heads * anatomy.head_size);
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention {
                query: linear("self_attn.q_proj", (size, queries), true)?,
                key: linear("self_attn.k_proj", (size, keys), true)?,
                value: linear("self_attn.v_proj", (size, keys), true)?,
                output: linear("self_attn.o_proj", (queries, size), false)?,
                heads: anatomy.heads,
                kv_heads: anatomy.kv_heads,
                head_size: anatomy.head_size,
            },
            mlp_norm: norm("post_attention_layernorm")?,
            gate: linear("mlp.gate_proj", (size, wide), false)?,
            up: linear("mlp.up_proj", (size, wide), false)?,
            down: linear("mlp.down_proj", (wide, size), false)?,
            activation: anatomy.activation,
        })
    }

    /// `[T, C]` to the same.
    fn forward(&self, x: &Tensor, step: &Step<'_>, cache: &mut LayerCache) -> Result<Tensor> {
        let attended = self.attention.forward(&self.attention_norm.forward(x)?, step, cache)?;
        let x = (x + attended)?;
        let y = self.mlp_norm.forward(&x)?;
        let gated = self.activation.gate(&self.gate.forward(&y)?, &self.up.forward(&y)?)?; // [T, wide]
        &x + self.down.forward(&gated)?
    }
}

impl Attention {
    /// `x`: `[T, C]` to the same. Keys and values go into the cache, and each chunk attends to its own sequence.
    fn forward(&self, x: &Tensor, step: &Step<'_>, cache: &mut LayerCache) -> Result<Tensor> {
        let tokens = x.dim(0)?;
        let split = |y: Tensor, heads| y.reshape((tokens, heads, self.head_size));
        let query = Rope::apply(&split(self.query.forward(x)?, self.heads)?, &step.rotation)?; // [T, H, D]
        let key = Rope::apply(&split(self.key.forward(x)?, self.kv_heads)?, &step.rotation)?; // [T, K, D]
        let value = split(self.value.forward(x)?, self.kv_heads)?; // [T, K, D]
        self.output.forward(&cache.attend(&Projections { query, key, value }, &step.plan)?)
    }
}
