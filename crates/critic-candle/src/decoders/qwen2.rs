//! The Qwen2 decoder over a paged cache: grouped-query attention, rotary positions, gated MLP.

use candle_core::{DType, Device, Result, Tensor};
use critic::{Batch, Chunk, TokenId};

use crate::{
    architectures::llava_onevision::TextAnatomy,
    error::LoadError,
    kv_cache::LayerCache,
    layers::{Activation, Linear, RmsNorm, Rope},
    weights::Weights,
};

/// Query rows that attend at once: bounds the matrix of scores to this times the context for each head.
const QUERY_ROWS: usize = 256;

/// A decoder.
#[derive(Debug)]
pub(crate) struct Qwen2 {
    embedding: Tensor, // [V, C]
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear, // [C] -> [V]
    rope: Rope,
}

/// What every layer needs to know of a step, worked out once for all of them.
struct Step<'a> {
    batch: &'a Batch,
    /// Cosines and sines of every token's position.
    rotation: (Tensor, Tensor),
    /// For each chunk the masks of its pieces of at most [`QUERY_ROWS`] queries; a single query sees everything.
    masks: Vec<Vec<Option<Tensor>>>,
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
        let embedding = weights.get(&format!("{prefix}embed_tokens.weight"), &[anatomy.vocabulary, size])?;
        let head =
            if anatomy.tied { embedding.clone() } else { weights.get(head, &[anatomy.vocabulary, size])? };
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..anatomy.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}layers.{index}."), anatomy))
            .collect();
        let positions = (anatomy.head_size, anatomy.context_length);
        Ok(Self {
            embedding,
            layers: layers?,
            norm: RmsNorm::load(weights, &format!("{prefix}norm.weight"), size, anatomy.norm_epsilon)?,
            head: Linear::new(head, None),
            rope: Rope::new(positions, anatomy.rope_theta, device, dtype)?,
        })
    }

    /// The vectors `[tokens, C]` of `tokens`.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Tensor> {
        let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
        self.embedding.index_select(&Tensor::new(ids, self.embedding.device())?, 0)
    }

    /// Runs the chunks of `batch` whose embedded tokens are the rows of `x` `[T, C]`, to the normalised hidden states
    /// `[T, C]`.
    pub(crate) fn forward(&self, x: &Tensor, batch: &Batch, caches: &[LayerCache]) -> Result<Tensor> {
        let positions: Vec<u32> =
            batch.chunks.iter().flat_map(|chunk| chunk.start as u32..chunk.end() as u32).collect();
        let rotation = self.rope.rows(&Tensor::new(positions, x.device())?)?;
        let masks: Result<Vec<_>> = batch.chunks.iter().map(|chunk| chunk_masks(chunk, x)).collect();
        let step = Step { batch, rotation, masks: masks? };
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
        let linear =
            |name: &str, shape, bias| Linear::load(weights, &format!("{prefix}{name}."), shape, bias);
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
    fn forward(&self, x: &Tensor, step: &Step<'_>, cache: &LayerCache) -> Result<Tensor> {
        let attended = self.attention.forward(&self.attention_norm.forward(x)?, step, cache)?;
        let x = (x + attended)?;
        let y = self.mlp_norm.forward(&x)?;
        let gated = (self.activation.forward(&self.gate.forward(&y)?)? * self.up.forward(&y)?)?; // [T, wide]
        &x + self.down.forward(&gated)?
    }
}

impl Attention {
    /// `x`: `[T, C]` to the same. Keys and values go into the cache, and each chunk attends to its own sequence.
    fn forward(&self, x: &Tensor, step: &Step<'_>, cache: &LayerCache) -> Result<Tensor> {
        let tokens = x.dim(0)?;
        let split = |y: Tensor, heads| y.reshape((tokens, heads, self.head_size));
        let query = Rope::apply(&split(self.query.forward(x)?, self.heads)?, &step.rotation)?; // [T, H, D]
        let key = Rope::apply(&split(self.key.forward(x)?, self.kv_heads)?, &step.rotation)?; // [T, K, D]
        let value = split(self.value.forward(x)?, self.kv_heads)?; // [T, K, D]
        let (key, value) = (key.transpose(0, 1)?, value.transpose(0, 1)?); // [K, T, D]
        let mut attended = Vec::with_capacity(step.batch.chunks.len());
        let mut row = 0;
        for (chunk, masks) in step.batch.chunks.iter().zip(&step.masks) {
            let count = chunk.tokens.len();
            cache.write(chunk, &key.narrow(1, row, count)?, &value.narrow(1, row, count)?)?;
            attended.push(self.attend(&query.narrow(0, row, count)?, (chunk, masks), cache)?);
            row += count;
        }
        self.output.forward(&Tensor::cat(&attended, 0)?)
    }

    /// Queries `[t, H, D]` of one chunk over its sequence so far, to `[t, H * D]`.
    fn attend(
        &self,
        query: &Tensor,
        (chunk, masks): (&Chunk, &[Option<Tensor>]),
        cache: &LayerCache,
    ) -> Result<Tensor> {
        let (keys, values) = cache.read(&chunk.block_table, chunk.end())?; // [K, S, D]
        let mut rows = Vec::with_capacity(masks.len());
        for ((first, length), mask) in pieces(chunk).zip(masks) {
            let seen = chunk.start + first + length; // no query of this piece sees further
            let piece = query.narrow(0, first, length)?;
            let (keys, values) = (keys.narrow(1, 0, seen)?, values.narrow(1, 0, seen)?);
            rows.push(self.attend_piece(&piece, mask.as_ref(), (&keys, &values))?);
        }
        Tensor::cat(&rows, 0)
    }

    /// Queries `[t, H, D]` over keys and values `[K, S, D]`, with a mask `[t, S]`, to `[t, H * D]`.
    fn attend_piece(
        &self,
        query: &Tensor,
        mask: Option<&Tensor>,
        (keys, values): (&Tensor, &Tensor),
    ) -> Result<Tensor> {
        let (count, seen) = (query.dim(0)?, keys.dim(1)?);
        let group = self.heads / self.kv_heads;
        let scale = 1.0 / (self.head_size as f64).sqrt();
        // Query heads that share a key head are rows of one product.
        let query = (query * scale)?
            .reshape((count, self.kv_heads, group, self.head_size))?
            .permute((1, 2, 0, 3))?
            .contiguous()?
            .reshape((self.kv_heads, group * count, self.head_size))?;
        let mut scores = query.matmul(&keys.t()?)?; // [K, group * t, S]
        if let Some(mask) = mask {
            let grouped = scores.reshape((self.kv_heads, group, count, seen))?;
            scores = grouped.broadcast_add(mask)?.reshape((self.kv_heads, group * count, seen))?;
        }
        candle_nn::ops::softmax_last_dim(&scores)?
            .matmul(values)? // [K, group * t, D]
            .reshape((self.kv_heads, group, count, self.head_size))?
            .permute((2, 0, 1, 3))? // [t, K, group, D]
            .contiguous()?
            .reshape((count, self.heads * self.head_size))
    }
}

/// The pieces in which the queries of a chunk attend: index of the first and how many.
fn pieces(chunk: &Chunk) -> impl Iterator<Item = (usize, usize)> {
    let count = chunk.tokens.len();
    (0..count).step_by(QUERY_ROWS).map(move |first| (first, QUERY_ROWS.min(count - first)))
}

/// The masks of the pieces of `chunk`, where and as what `x` is stored.
fn chunk_masks(chunk: &Chunk, x: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let mask = |(first, length): (usize, usize)| {
        let start = chunk.start + first;
        causal_mask(length, start, start + length, x.device())?.to_dtype(x.dtype())
    };
    pieces(chunk).map(|piece| (piece.1 > 1).then(|| mask(piece)).transpose()).collect()
}

/// 0 where the query at `start + row` may see the key at `column`, minus infinity elsewhere: `[rows, columns]`.
fn causal_mask(rows: usize, start: usize, columns: usize, device: &Device) -> Result<Tensor> {
    let value = |row: usize, column: usize| if column <= start + row { 0.0 } else { f32::NEG_INFINITY };
    let mask: Vec<f32> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect();
    Tensor::from_vec(mask, (rows, columns), device)
}
