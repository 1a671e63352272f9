//! The SigLIP vision tower up to the last layer that is run; its final norm and pooling head are never applied.

use candle_core::{Result, Tensor};
use kernels::{Dense, Isa};

use crate::{
    architectures::llava_onevision::VisionAnatomy,
    error::LoadError,
    layers::{Activation, LayerNorm, Linear, has_kernels, with_floats},
    weights::Weights,
};

/// A tower that turns tiles into one vector for each patch.
#[derive(Debug)]
pub(crate) struct Siglip {
    patches: Linear,   // [3 * patch * patch] -> [E], a convolution whose stride is its size
    positions: Tensor, // [P, E]
    layers: Vec<Layer>,
    side: usize,
    patch_size: usize,
}

#[derive(Debug)]
struct Layer {
    attention_norm: LayerNorm,
    attention: Attention,
    mlp_norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Siglip {
    /// Reads the tower whose tensors begin with `prefix`.
    pub(crate) fn load(
        weights: &Weights,
        prefix: &str,
        anatomy: &VisionAnatomy,
    ) -> std::result::Result<Self, LoadError> {
        let (size, patch, side) = (anatomy.hidden_size, anatomy.patch_size, anatomy.patches_per_side());
        let kernel = format!("{prefix}embeddings.patch_embedding.weight");
        let bias = weights.get(&format!("{prefix}embeddings.patch_embedding.bias"), &[size])?;
        let form = weights.form().of_the_rest();
        let positions = format!("{prefix}embeddings.position_embedding.weight");
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..anatomy.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}encoder.layers.{index}."), anatomy))
            .collect();
        Ok(Self {
            patches: Linear::read((weights, form), &kernel, &[size, 3, patch, patch], Some(bias))?,
            positions: weights.get(&positions, &[side * side, size])?,
            layers: layers?,
            side,
            patch_size: patch,
        })
    }

    /// `pixels`: `[N, 3, size, size]`, normalised, to features `[N, P, E]`.
    pub(crate) fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut x = self.embed(pixels)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        Ok(x)
    }

    /// The residual stream after the embedding and after each layer, `[N, P, E]` each.
    pub(crate) fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let mut states = vec![self.embed(pixels)?];
        for layer in &self.layers {
            states.push(layer.forward(&states[states.len() - 1])?);
        }
        Ok(states)
    }

    /// Cuts tiles into patches, row-major; pixels on the right and below that fill no patch are left out.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (tiles, channels, _, _) = pixels.dims4()?;
        let (side, patch) = (self.side, self.patch_size);
        let x = pixels
            .narrow(2, 0, side * patch)?
            .narrow(3, 0, side * patch)?
            .contiguous()?
            .reshape(vec![tiles, channels, side, patch, side, patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])? // [N, rows, columns, channel, y, x]
            .contiguous()?
            .reshape((tiles * side * side, channels * patch * patch))?;
        let x = self.patches.forward(&x)?; // [N * P, E]
        x.reshape((tiles, side * side, x.dim(1)?))?.broadcast_add(&self.positions)
    }
}

impl Layer {
    fn load(
        weights: &Weights,
        prefix: &str,
        anatomy: &VisionAnatomy,
    ) -> std::result::Result<Self, LoadError> {
        let (size, wide, epsilon) = (anatomy.hidden_size, anatomy.intermediate_size, anatomy.norm_epsilon);
        let linear = |name: &str, shape| {
            Linear::load((weights, weights.form()), &format!("{prefix}{name}."), shape, true)
        };
        let square = |name: &str| linear(&format!("self_attn.{name}"), (size, size));
        Ok(Self {
            attention_norm: LayerNorm::load(weights, &format!("{prefix}layer_norm1."), size, epsilon)?,
            attention: Attention {
                query: square("q_proj")?,
                key: square("k_proj")?,
                value: square("v_proj")?,
                output: square("out_proj")?,
                heads: anatomy.heads,
            },
            mlp_norm: LayerNorm::load(weights, &format!("{prefix}layer_norm2."), size, epsilon)?,
            expand: linear("mlp.fc1", (size, wide))?,
            contract: linear("mlp.fc2", (wide, size))?,
            activation: anatomy.activation,
        })
    }

    /// `[N, P, E]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (tiles, patches, size) = x.dims3()?;
        let rows = |x: Tensor| x.reshape((tiles * patches, size));
        let attended = self.attention.forward(&rows(self.attention_norm.forward(x)?)?, (tiles, patches))?;
        let x = (x + attended.reshape(x.shape())?)?;
        let wide = self.expand.forward(&rows(self.mlp_norm.forward(&x)?)?)?; // [N * P, wide]
        let narrow = self.contract.forward(&self.activation.forward(&wide)?)?;
        &x + narrow.reshape(x.shape())?
    }
}

impl Attention {
    /// Every patch of a tile sees every patch of it. `x`: `[N * P, E]` to the same.
    fn forward(&self, x: &Tensor, (tiles, patches): (usize, usize)) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?);
        let attended = if has_kernels(x.device(), x.dtype()) {
            self.attend_by_kernel([&query, &key, &value], patches)?
        } else {
            self.attend(&query, (&key, &value), (tiles, patches))?
        };
        self.output.forward(&attended)
    }

    fn attend_by_kernel(&self, [query, key, value]: [&Tensor; 3], patches: usize) -> Result<Tensor> {
        let mut attended = vec![0.0; query.elem_count()];
        let (heads, head_size) = (self.heads, query.dim(1)? / self.heads);
        with_floats(query, |queries| {
            with_floats(key, |keys| {
                with_floats(value, |values| {
                    let dense = Dense { heads, head_size, length: patches, queries, keys, values };
                    kernels::attend_all(&dense, Isa::best(), &mut attended);
                })
            })
        })???;
        Tensor::from_vec(attended, query.shape(), query.device())
    }

    /// The same by tensors.
    fn attend(
        &self,
        query: &Tensor,
        (key, value): (&Tensor, &Tensor),
        (tiles, patches): (usize, usize),
    ) -> Result<Tensor> {
        let size = query.dim(1)?;
        let head_size = size / self.heads;
        let heads = |x: &Tensor| {
            x.reshape((tiles, patches, self.heads, head_size))?.transpose(1, 2)?.contiguous()?.reshape((
                tiles * self.heads,
                patches,
                head_size,
            ))
        };
        let scale = 1.0 / (head_size as f64).sqrt();
        let (query, key, value) = (heads(&(query * scale)?)?, heads(key)?, heads(value)?);
        let weights = candle_nn::ops::softmax_last_dim(&query.matmul(&key.t()?)?)?; // [N * heads, P, P]
        weights
            .matmul(&value)? // [N * heads, P, head size]
            .reshape((tiles, self.heads, patches, head_size))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((tiles * patches, size))
    }
}
